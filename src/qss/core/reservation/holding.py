"""Reservations for slaves at this end (KRP 4.2, 4.4 to 4.12): taken for the peer's masters, confirmed, given up.

The owner sends Reserve and Grant at once when it allocates, so they arrive in the order of the ranges, and the
non-owner's head moves over them without a gap. Reserved says that the range is durable at its sender.

Not here: what the master's end does (`asking`), and how slaves get their keys (`fetching`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from qss.core.reservation.allocation import is_full, ledger_with
from qss.core.reservation.forbidden import Forbidden
from qss.core.reservation.ledger import Bucket
from qss.core.reservation.state import LinkState
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import ReservationId, SaeId, StreamId, parse_sae_id
from qss.model.records import BurnReason, Part, ReservationRecord, Side, length_of
from qss.wire.external import MAX_COVERED, Ask, Confirm, Grant, Reason, Refuse, Reserved, Void
from qss.wire.external import Reserve as ReserveMessage

_EXPIRE_S = 1.0


class Holding:
    """What is held for slaves at this end, from the peer's word on until nothing of it is left."""

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self._forbidden = Forbidden(state)
        self._expire_at = 0.0

    # --- the peer -------------------------------------------------------------------------------------------------

    def peer_reserves(self, message: ReserveMessage) -> None:
        """The owner has allocated for one of its masters: hold the same range here (KRP 4.2)."""
        state = self._state
        if state.settings.owner:
            raise RemoteProtocolError("the non-owner allocated a range")
        row = self._row_for(message, StreamId(message.stream), message.start)
        if row.id in state.pending:
            raise RemoteProtocolError("the owner reserved under the name of a request of this end")
        held = state.rows.get(row.id)
        if held is not None:
            if _contents(held) != _contents(row):
                raise RemoteProtocolError("one reservation came with two contents")
            answer = partial(state.answer, state.epoch, Reserved(message.reservation))
            if held.id in state.undurable:
                state.when_durable(answer)
            else:
                answer()
            return
        reason = self._objection(message, row)
        if reason is not None:
            state.send(Refuse(message.reservation, reason))
            return
        state.ledgers[row.stream].accept(row.range, Bucket.RESERVED)
        state.put_row(row)
        state.when_durable(partial(state.answer, state.epoch, Reserved(message.reservation)))

    def peer_asks(self, message: Ask) -> None:
        """The non-owner wants a range for one of its masters: allocate and hold it here (KRP 4.4)."""
        state = self._state
        if not state.settings.owner:
            raise RemoteProtocolError("the owner asked the non-owner to allocate")
        if ReservationId(message.reservation) in state.rows:
            raise RemoteProtocolError("a reservation was asked for twice")
        length = length_of(message.count, message.key_bytes, _part(message))
        ledger = ledger_with(state, length, message.policy, message.priority)
        reason = self._objection_to(message, message.policy)
        if reason is None and ledger is not None and is_full(state):
            reason = Reason.LIMIT
        if reason is not None or ledger is None:
            state.send(Refuse(message.reservation, reason or Reason.SHORTAGE))
            return
        # Made before anything changes. Whom the policy admits has a well-formed name, and so has the reservation.
        row = self._row_for(message, ledger.stream, ledger.record.head)
        part = ledger.allocate(length, Bucket.RESERVED)
        state.put_row(row)
        state.send(Grant(message.reservation, ledger.stream.value, part.start, length))
        state.when_durable(partial(state.answer, state.epoch, Reserved(message.reservation)))

    def peer_confirms(self, message: Confirm) -> None:
        """The master has been answered: these reservations stand (KRP 4.6)."""
        state = self._state
        for value in message.reservations:
            row = state.rows.get(ReservationId(value))
            if row is None:
                state.dropped.append(ReservationId(value))
            elif row.awaits_cover and not row.complete:
                raise RemoteProtocolError("a reservation was confirmed whose keys have not come")
            elif row.side is Side.SLAVE:
                self.confirm(row)

    def peer_voids(self, message: Void) -> None:
        """The master's site gave these up before anyone was answered (KRP 4.8)."""
        for value in message.reservations:
            row = self._state.rows.get(ReservationId(value))
            if row is not None and row.side is Side.SLAVE and not row.confirmed:
                self.burn_unfetched(row, BurnReason.UNCONFIRMED)

    def _row_for(self, message: ReserveMessage | Ask, stream: StreamId, start: int) -> ReservationRecord:
        state = self._state
        return ReservationRecord(
            ReservationId(message.reservation),
            stream,
            state.settings.peer,
            Side.SLAVE,
            start,
            message.count,
            message.key_bytes,
            parse_sae_id(message.master),
            tuple(parse_sae_id(slave) for slave in message.slaves),
            state.wall + state.settings.reserved_s,
            fetched=(0,) * len(message.slaves),
            part=_part(message),
        )

    def _objection_to(self, message: ReserveMessage | Ask, policy: str) -> Reason | None:
        """Why such a reservation is not taken here at all (KRP 4.5, 4.9), or None."""
        settings = self._state.settings
        reason = settings.objection(SaeId(message.master), tuple(map(SaeId, message.slaves)), policy)
        if reason is not None:
            if reason is Reason.UNAUTHORISED:
                self._forbidden.tell(message)
            return reason
        fits = settings.min_key_bytes <= message.key_bytes <= settings.max_key_bytes
        if message.cover and message.count * message.key_bytes > MAX_COVERED:
            return Reason.SIZE
        return None if fits and message.count <= settings.max_keys else Reason.SIZE

    def _objection(self, message: ReserveMessage, row: ReservationRecord) -> Reason | None:
        """Why the range that the owner allocated cannot be held here (KRP 4.5), or None."""
        ledger = self._state.ledgers.get(row.stream)
        reason = self._objection_to(message, "" if ledger is None else ledger.record.policy)
        if reason is not None:
            return reason
        if ledger is None:
            return Reason.STREAM
        if row.start < ledger.record.head:
            return Reason.BELOW_HEAD
        if row.range.stop > min(ledger.end, ledger.durable_mark):
            return Reason.BEYOND_MARK
        return Reason.LIMIT if is_full(self._state) else None

    # --- until nothing is left ------------------------------------------------------------------------------------

    def confirm(self, row: ReservationRecord) -> None:
        """Note durably that both ends hold `row`; forget it if nobody has anything left to fetch."""
        if row.side is Side.SLAVE and row.complete:
            self._state.drop_row(row)
        elif not row.confirmed:
            self._state.put_row(replace(row, confirmed=True))

    def burn_unfetched(self, row: ReservationRecord, reason: BurnReason) -> None:
        """Give up what slaves at this end have not fetched of `row`, and forget it."""
        self.burn_keys(row, row.unfetched_mask(), reason)
        self._state.drop_row(self._state.rows[row.id])

    def burn_keys(self, row: ReservationRecord, mask: int, reason: BurnReason) -> None:
        """Give up those of the keys at the positions of `mask` that slaves at this end have not fetched.

        What is to cover keys is given up whole: a Cover of some of them cannot come.
        """
        state = self._state
        if row.awaits_cover and mask:
            mask = (1 << row.count) - 1
        parts = row.ranges_of(mask & row.unfetched_mask())
        state.ledgers[row.stream].burn(parts, Bucket.RESERVED, reason)
        state.put_row(row.without(mask))
        state.free(row, parts)

    def expire(self) -> None:
        """Burn what was not fetched in time; looks once a second."""
        state = self._state
        if state.now < self._expire_at:
            return
        self._expire_at = state.now + _EXPIRE_S
        for row in [row for row in state.rows.values() if row.expires_at <= state.wall]:
            if row.side is Side.MASTER:
                if row.id not in state.pending:
                    state.drop_row(row)
            elif row.confirmed:
                self.burn_unfetched(row, BurnReason.EXPIRED)
            elif not row.awaits_only_confirm:
                self.burn_keys(row, row.unfetched_mask(), BurnReason.EXPIRED)


def _part(message: ReserveMessage | Ask) -> Part:
    return Part.FURTHER if message.cover else Part.WHOLE


def _contents(row: ReservationRecord) -> tuple[object, ...]:
    return (row.side, row.stream, row.range, row.count, row.key_bytes, row.master, row.slaves, row.part)
