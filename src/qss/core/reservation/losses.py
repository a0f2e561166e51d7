"""Stored key that cannot be read any more: it is burned, at both ends, so that the link works on.

What lies before the head was allocated already: reserved keys that reach into it are out of everybody's reach, and
answers that hold any of it are forgotten. What was delivered before stays delivered.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qss.core.reservation import events as ev
from qss.core.reservation.answers import Answers
from qss.core.reservation.state import LinkState
from qss.model.ranges import Range
from qss.model.records import BurnReason, Part, ReservationRecord, Side
from qss.wire.external import Skip


class Losses:
    """What is done about key that is lost."""

    def __init__(
        self,
        state: LinkState,
        answers: Answers,
        burn_keys: Callable[[ReservationRecord, int, BurnReason], None],
    ) -> None:
        self._state = state
        self._answers = answers
        self._burn_keys = burn_keys

    def unreadable(self, event: ev.KeyUnreadable) -> None:
        """Burn what cannot be read: from the head on, and what is reserved of it."""
        state = self._state
        ledger = state.ledgers.get(event.stream)
        if ledger is None:
            return
        for row in state.rows_of(event.stream):
            mask = _reaching_into(row, event.part)
            if not mask:
                continue
            self._answers.forget(row.id)
            if row.side is Side.SLAVE:
                self._burn_keys(row, mask, BurnReason.UNREADABLE)
                row = state.rows[row.id]
                if row.complete and row.confirmed:
                    state.drop_row(row)
        if event.part.start <= ledger.record.head < event.beyond:
            ledger.skip_to(event.beyond, BurnReason.UNREADABLE)
            state.when_durable(
                partial(state.answer, state.epoch, Skip(event.stream.value, ledger.record.head))
            )  # KRP 3.8
        state.touch(ledger)


def _reaching_into(row: ReservationRecord, part: Range) -> int:
    """Return the positions of the keys of a reservation that have a byte in `part`, as a bit mask."""
    if row.part is Part.FURTHER and not row.covered:
        return (1 << row.count) - 1 if row.range.intersection(part) else 0
    common = row.keys.intersection(part)
    if common is None:
        return 0
    first = (common.start - row.keys.start) // row.key_bytes
    last = (common.stop - 1 - row.keys.start) // row.key_bytes
    return (1 << last + 1) - (1 << first)
