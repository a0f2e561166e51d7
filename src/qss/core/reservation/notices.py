"""Confirm and Gone, for which nobody waits: they travel with the next frame that leaves anyway, or soon (KRP 4.6, 4.7).

Not here: when a reservation is to be confirmed (`asking`, `parts`), and when nothing of one is held (`state`).
"""

from __future__ import annotations

from functools import partial

from qss.core.reservation.state import LinkState
from qss.model.identifiers import ReservationId
from qss.wire import external as wire


class Notices:
    """What is to be said of reservations when there is an occasion."""

    def __init__(self, state: LinkState) -> None:
        self._state = state

    def gather(self, *, due: bool) -> None:
        """Let Confirm and, once durable, Gone travel with the next frame, or by themselves if they are `due`."""
        state = self._state
        if not state.up:
            return
        if state.dropped:
            state.with_next_commit(partial(self._note_gone, state.epoch, tuple(state.dropped)))
            state.dropped.clear()
        if not (due or state.speaks):
            return
        for kind, reservations in ((wire.Confirm, state.to_confirm), (wire.Gone, state.gone)):
            for start in range(0, len(reservations), wire.MAX_LISTED):
                some = reservations[start : start + wire.MAX_LISTED]
                state.send(kind(tuple(reservation.value for reservation in some)))
            reservations.clear()

    def _note_gone(self, epoch: int, dropped: tuple[ReservationId, ...]) -> None:
        if epoch == self._state.epoch and self._state.up:
            self._state.gone.extend(dropped)
