"""Which Begin a site takes: whether its path leads this way, and whether there is room (Relay 4.2 and 4.10)."""

from __future__ import annotations

from qss.core.relay.shared import Shared
from qss.model.identifiers import QksId
from qss.model.relay_policy import Hop
from qss.wire.relay import Begin, Reason

_HOPS = frozenset(Hop)


class Admission:
    """Says no; who is told, and what follows, is not decided here."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def objection(self, begin: Begin, sender: QksId | None) -> Reason | None:
        """Return why this Begin is not taken, or None. `sender` None: it is this site's own."""
        shared, path = self._shared, begin.path
        if shared.leaving:
            return Reason.STOPPED
        if len(set(path)) < len(path) or begin.share >= begin.shares or begin.hop not in _HOPS:
            return Reason.REFUSED
        place = self.place(begin)
        if place is None or (path[place - 1] if place else None) != sender:
            return Reason.REFUSED
        objection = self._onward(begin, place)
        if objection is None and shared.begun_by[sender or shared.here] >= shared.settings.max_transfers_of_neighbour:
            return Reason.LIMIT
        return objection

    def place(self, begin: Begin) -> int | None:
        """Return this site's place on the path, 0 for the source; None if it has none."""
        return begin.path.index(self._shared.here) if self._shared.here in begin.path else None

    def _onward(self, begin: Begin, place: int) -> Reason | None:
        """Return why the path cannot go on from here, or None."""
        shared = self._shared
        if place + 1 == len(begin.path):
            return None
        onward = QksId(begin.path[place + 1])
        if (place and not shared.settings.transit) or onward not in shared.neighbours:
            return Reason.REFUSED
        return None if onward in shared.connected else Reason.UNREACHABLE
