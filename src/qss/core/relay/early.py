"""Key that is told of before its Begin has come, over another connection: kept for a while, and so much of it (4.10).

It waits for a Begin of the neighbour that drew it, under the same name. A draw that failed is noted as well: its Begin
is not taken.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from qss.core.relay import events as ev
from qss.core.relay.shared import Shared
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId, TransferId
from qss.wire.relay import Reason


@dataclass(frozen=True, slots=True)
class _Early:
    until: float
    failed: Reason | None


class EarlyKeys:
    """Draws of neighbours whose Begin has not come."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._draws: dict[tuple[QksId, TransferId], _Early] = {}  # in the order in which their time ends
        self._of_neighbour: Counter[QksId] = Counter()

    def __len__(self) -> int:
        return len(self._draws)

    def ready(self, peer: QksId, transfer: TransferId) -> None:
        """A draw is ready whose name is not known here."""
        before = self._pop(peer, transfer)
        if before is not None and before.failed is None:
            raise LocalProtocolError(f"a second draw with {peer} was told of before the first was ended")
        self._note(peer, transfer, None)

    def failed(self, peer: QksId, transfer: TransferId, reason: Reason) -> None:
        """A draw has failed whose name is not known here."""
        self.give_up(peer, transfer)
        self._note(peer, transfer, reason)

    def failure(self, peer: QksId, transfer: TransferId) -> Reason | None:
        """Return why the draw failed that was told of, if it was and did."""
        draw = self._draws.get((peer, transfer))
        return None if draw is None else draw.failed

    def claim(self, peer: QksId, transfer: TransferId) -> bool:
        """The Begin has come, and is taken: return whether its key is ready."""
        return self._pop(peer, transfer) is not None

    def give_up(self, peer: QksId, transfer: TransferId) -> None:
        """The Begin has come, and is not taken: its key, if it is there, is needed no more."""
        draw = self._pop(peer, transfer)
        if draw is not None and draw.failed is None:
            self._shared.effects.append(ev.EndDraw(peer, transfer, ours=False, used=False))

    def expire(self, now: float) -> None:
        """Give up what has waited long enough."""
        late = []
        for name, draw in self._draws.items():
            if draw.until > now:
                break
            late.append((name, draw))
        for (peer, transfer), draw in late:
            self._pop(peer, transfer)
            self._end(peer, transfer, draw.failed, ev.DropReason.UNCLAIMED)

    def give_up_all(self) -> None:
        """No Begin will be taken any more."""
        for peer, transfer in list(self._draws):
            self.give_up(peer, transfer)

    def _note(self, peer: QksId, transfer: TransferId, failed: Reason | None) -> None:
        shared = self._shared
        if shared.leaving or self._of_neighbour[peer] >= shared.settings.max_early_of_neighbour:
            self._end(peer, transfer, failed, ev.DropReason.LIMIT)
            return
        self._draws[peer, transfer] = _Early(shared.now + shared.settings.give_up_s, failed)
        self._of_neighbour[peer] += 1

    def _end(self, peer: QksId, transfer: TransferId, failed: Reason | None, reason: ev.DropReason) -> None:
        if failed is None:
            self._shared.effects.append(ev.EndDraw(peer, transfer, ours=False, used=False))
            self._shared.drop(peer, transfer, reason)

    def _pop(self, peer: QksId, transfer: TransferId) -> _Early | None:
        draw = self._draws.pop((peer, transfer), None)
        if draw is not None:
            self._of_neighbour[peer] -= 1
            if not self._of_neighbour[peer]:
                del self._of_neighbour[peer]
        return draw
