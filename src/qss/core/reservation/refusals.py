"""What the peer has refused lately, so that it is not asked again at once; and what a master is told who gets no keys.

The owner allocates before it asks, so a refusal costs it the range: an application whose pair only the other site
forbids must not be able to burn a link's key request by request. Refused here: remembering for long, because the other
site may change its mind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import assert_never

from qss.core.reservation.events import Reserve
from qss.core.reservation.state import Pending
from qss.model.errors import LimitReached, PeerUnavailable, QssError, Shortage, Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.wire.external import Reason

REMEMBERED_S = {Reason.UNAUTHORISED: 60.0, Reason.SIZE: 60.0, Reason.LIMIT: 1.0, Reason.UNKNOWN: 1.0}
"""For how long a refusal stands; for other reasons not at all."""

_SHORTLY_S = 1.0
"""What stands no longer than this is the peer's state, and not the master's fault."""

MAX_REMEMBERED = 10_000
"""Refusals that are remembered; the oldest is forgotten for another."""

MOST_OF_ONE = 16
"""Different requests of one master that the peer may refuse within the time that a refusal stands.

Then it is refused here, whatever it asks for: by asking for ever other slaves, numbers and sizes it would burn a range
each time.
"""


class Refusals:
    """The peer's refusals, until they lapse."""

    def __init__(self) -> None:
        self._until: dict[tuple[Reason, Hashable], float] = {}
        self._of: dict[SaeId, deque[tuple[float, Reason]]] = {}
        """For each master the last refusals that stand, and until when."""

    def note(self, pending: Pending, reason: Reason, now: float) -> None:
        """Remember that the peer has refused this request."""
        if reason not in REMEMBERED_S:
            return
        refused, until = (reason, _what(pending, reason)), now + REMEMBERED_S[reason]
        again = self._until.pop(refused, None) is not None  # then it is the newest, and takes no further place
        if len(self._until) >= MAX_REMEMBERED:
            del self._until[next(iter(self._until))]
        self._until[refused] = until
        if REMEMBERED_S[reason] > _SHORTLY_S and not again:
            if len(self._of) >= MAX_REMEMBERED:
                del self._of[next(iter(self._of))]
            self._of.setdefault(pending.master, deque(maxlen=MOST_OF_ONE)).append((until, reason))

    def standing(self, ask: Reserve, now: float) -> Reason | None:
        """Return why the peer would refuse this request, as far as is known."""
        for reason in REMEMBERED_S:
            until = self._until.get((reason, _what(ask, reason)))
            if until is not None and until > now:
                return reason
        last = self._of.get(ask.master)
        return last[-1][1] if last and len(last) == MOST_OF_ONE and last[0][0] > now else None


def _what(request: Reserve | Pending, reason: Reason) -> Hashable:
    """Return what a refusal for this reason is about."""
    match reason:
        case Reason.UNAUTHORISED:
            return request.master, frozenset(request.slaves)
        case Reason.SIZE:
            return request.count, request.key_bytes
        case Reason.UNKNOWN:
            return request.master
        case _:
            return None


def refusal(peer: QksId, request: Reserve | Pending, reason: Reason) -> QssError:
    """Return what a master is told whom the peer refuses for this reason (KRP 4.5)."""
    match reason:
        case Reason.SHORTAGE:
            return shortage(peer, request)
        case Reason.UNAUTHORISED:
            return Unauthorised(
                f"site {peer} has no rule for this pair of SAEs, or one that demands another way for their keys: its "
                "operator must add one, or both sites' rules must demand the same way (`relay` of [[pairs]])"
            )
        case Reason.LIMIT:
            return LimitReached(
                f"site {peer} holds as many reservations as it may; nothing was delivered; "
                "try again when some have been fetched or have expired"
            )
        case Reason.SIZE:
            return LimitReached(
                f"site {peer} does not take {request.count} keys of {8 * request.key_bytes} bits at once; "
                "nothing was delivered; ask for fewer, or for another size"
            )
        case Reason.UNKNOWN:
            return PeerUnavailable(
                f"site {peer} does not know where {request.master} is at home; nothing was delivered; try again "
                "shortly, and if it stays so, have that home stated (qss pki home), or configured there"
            )
        case Reason.STREAM | Reason.BELOW_HEAD | Reason.BEYOND_MARK | Reason.COVER | Reason.LATE | Reason.TAKEN:
            return unreachable(peer, f"refused the reservation ({reason})")
        case _:
            assert_never(reason)


def shortage(peer: QksId, request: Reserve | Pending) -> Shortage:
    """Return what a master is told when there is not enough key."""
    return Shortage(
        f"not enough key with site {peer} for {request.count} x {8 * request.key_bytes} bits; nothing was consumed; "
        "ask for less, or try again when more has gathered"
    )


def unreachable(peer: QksId, what: str, so: str = "nothing was delivered") -> PeerUnavailable:
    """Return what a master is told when the peer does not play its part."""
    return PeerUnavailable(f"site {peer} {what}; {so}; try again later")
