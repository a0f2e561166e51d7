"""Who hears what a site's links do for relays, and for tags of routing.

Calls come from within what a link does about an event, and before `LinkRunner.draw` returns if there is nothing to wait
for: they must not block. A listener may call the link in turn.
"""

from __future__ import annotations

from typing import Protocol

from qss.core.reservation.relay_events import DrawFailure
from qss.model.identifiers import PairId, QksId, StreamId, TransferId
from qss.model.ranges import Range


class DrawListener(Protocol):
    """Hears what is drawn for one purpose, on all links of a site; `peer` says on which."""

    def drawn(self, peer: QksId, draw: TransferId, stream: StreamId, part: Range, *, own: bool) -> None:
        """These bytes are there to be read and used, until `LinkRunner.end_draw` or 60 s have passed.

        If this end drew them (`own`), to seal with; else to open what the neighbour seals.
        """
        ...

    def undrawn(self, peer: QksId, draw: TransferId, reason: DrawFailure, *, own: bool) -> None:
        """The range is not had at both ends. It may follow `drawn`: then it is to be ended as ever."""
        ...


class RelayListener(DrawListener, Protocol):
    """Hears what is drawn for relays, and what else concerns them."""

    def wanted(self, peer: QksId, pair: PairId, policy: str, length: int, *, urgent: bool) -> None:
        """The peer wants so many bytes to be available on this end-to-end stream. Nothing of it was checked."""
        ...
