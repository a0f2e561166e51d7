"""Erasing what is used or burned: once that is durable, nobody needs it, and nobody is reading it."""

from __future__ import annotations

from qss.core.reservation.events import Erase, EraseFailed
from qss.core.reservation.state import LinkState

_AGAIN_S = 5.0


class Erasing:
    """Has bytes of all streams erased, and again if that fails."""

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self._at = 0.0

    def failed(self, event: EraseFailed) -> None:
        """An erasure failed: try again in a while."""
        ledger = self._state.ledgers.get(event.stream)
        if ledger is not None:
            ledger.erasable(event.parts)
            self._at = self._state.now + _AGAIN_S

    def erase(self) -> None:
        """Ask for the erasure of all that may be erased."""
        state = self._state
        if state.now < self._at:
            return
        for ledger in state.ledgers.values():
            reading = [run.range for keys in state.reading.values() for run in keys if run.stream == ledger.stream]
            parts = ledger.take_erasable(reading)
            if parts:
                state.effect(Erase(ledger.stream, parts))
