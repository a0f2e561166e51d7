"""Keys that come for slaves at this end under the range that was set aside for them (KRP 4.16 to 4.18).

A reservation that covers serves nobody before they came and are stored. They lie where nothing else of the stream ever
does (`COVERED_FROM`), and are durable in one commit with the row that says so; what covered them is erased.

Not here: opening what came, which takes key (the runtime), and what the master's end does (`parts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from qss.core.reservation import part_events as ev
from qss.core.reservation.events import Discard
from qss.core.reservation.state import LinkState
from qss.model.answers import KeyRun
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import ReservationId
from qss.model.records import TAG_KEY_BYTES, BurnReason, Part, ReservationRecord, Side
from qss.wire.external import Cover, Covered, Reason, Refuse


class Covers:
    """What comes for reservations at this end that wait for their keys."""

    def __init__(self, state: LinkState, burn_unfetched: Callable[[ReservationRecord, BurnReason], None]) -> None:
        self._state = state
        self._burn_unfetched = burn_unfetched
        self._opening: dict[ReservationId, int] = {}
        """The connections on which these came."""

    def peer_covers(self, message: Cover) -> None:
        """The keys of a reservation have come (KRP 4.16)."""
        state = self._state
        reservation = ReservationId(message.reservation)
        row = state.rows.get(reservation)
        if row is not None:
            self._check(message, row)
        if row is None or row.complete:  # given up on either side meanwhile, or recalled
            state.send(Refuse(message.reservation, Reason.COVER))
            return
        self._opening[reservation] = state.epoch
        state.reading[reservation] = (KeyRun(row.id, row.stream, row.start, len(row.range)),)
        state.effect(ev.OpenCover(row, message.sealed, message.tag))

    def _check(self, message: Cover, row: ReservationRecord) -> None:
        if row.side is not Side.SLAVE or row.part is not Part.FURTHER or row.id in self._state.undurable:
            raise RemoteProtocolError("keys came for a reservation that awaits none")
        if row.covered or row.id in self._opening:
            raise RemoteProtocolError("the keys of a reservation came twice")
        if len(message.sealed) != row.count * row.key_bytes:
            raise RemoteProtocolError("other keys came than were reserved for")

    def opened(self, event: ev.CoverOpened) -> None:
        """The keys are there: store them, and say so when they are durable (KRP 4.18)."""
        state = self._state
        epoch, row = self._closed(event.reservation)
        if row is None or epoch != state.epoch or not state.up:  # what came on another connection is given up (KRP 2.5)
            state.effect(Discard(event.handle))
            state.answer(epoch, Refuse(event.reservation.value, Reason.COVER))
            return
        state.ledgers[row.stream].deliver_reserved(TAG_KEY_BYTES)  # the tag has served
        state.free(row, [row.range])
        row = replace(row, covered=True)
        state.put_row(row)
        state.put_key(row.stream, row.keys.start, event.handle)
        state.when_durable(partial(state.answer, epoch, Covered(row.id.value)))

    def failed(self, event: ev.CoverFailed) -> None:
        """What came does not open: nobody gets anything (KRP 4.18)."""
        epoch, row = self._closed(event.reservation)
        if row is not None:
            self._burn_unfetched(row, BurnReason.UNCONFIRMED)
        self._state.answer(epoch, Refuse(event.reservation.value, Reason.COVER))

    def _closed(self, reservation: ReservationId) -> tuple[int, ReservationRecord | None]:
        """Return the connection on which the keys of a reservation came, and its row if it still waits for them.

        The connection is none where they came to a link that has started over since.
        """
        self._state.reading.pop(reservation, None)
        row = self._state.rows.get(reservation)
        waits = row is not None and row.awaits_cover and not row.complete
        return self._opening.pop(reservation, -1), row if waits else None
