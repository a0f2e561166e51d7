"""What was passed over of a neighbour's relay, in words for the log: what it was, how bad it is, what to do.

Where key runs short, or a site stops, transfers fail on one link while others are still at work for them: what comes of
these is passed over, and told as no more than that; so is what comes above limits, which many full streams through one
neighbour reach. Only what nobody honest needs to do is a warning.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from qss.core.relay.events import DropReason
from qss.model.identifiers import QksId
from qss.transport.telling import Telling

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Words:
    what: str
    remedy: str
    is_odd: bool = False


_SHORT_OR_DOWN = (
    "none if it is seldom: transfers fail where a link is short of key or down; if it goes on, see which one is "
    "(`qss route show`)"
)
_ITS_OPERATOR = "if it goes on, have the operator of that site look, and of those whose transfers it passes on"

_WORDS = {
    DropReason.UNKNOWN: _Words("a message of a transfer that has failed or ended here by now", _SHORT_OR_DOWN),
    DropReason.UNCLAIMED: _Words(
        "key that it drew for a transfer that came to nothing: that key is burned (abandoned)", _SHORT_OR_DOWN
    ),
    DropReason.REFUSED: _Words(
        "a transfer that cannot go on from here: no key was had for it, or its path does not lead on, or not through "
        "this site",
        _SHORT_OR_DOWN,
    ),
    DropReason.REPEATED: _Words("a transfer under a name that is in use here", _ITS_OPERATOR, is_odd=True),
    DropReason.LIMIT: _Words(
        "more transfers, or more bytes in them, at a time than one neighbour may begin here", _ITS_OPERATOR
    ),
}


def tell_passed_over(telling: Telling, peer: QksId, reason: DropReason) -> None:
    """Log it, unless the same was told of this neighbour within a minute."""
    unsaid = telling.unsaid(("passed over", peer, reason))
    if unsaid is None:
        return
    words = _WORDS[reason]
    tell = _log.warning if words.is_odd else _log.info
    tell(
        "something of a neighbour's relay was passed over",
        peer=peer,
        reason=str(reason),
        what=words.what,
        remedy=words.remedy,
        unsaid=unsaid,
    )
