"""Reserving one range at both ends: the owner's and the non-owner's part of the KRP (steps 4.1 to 4.9).

The owner sends Reserve and Grant at once when it allocates, so they arrive in the order of the ranges, and the
non-owner's head moves over them without a gap. Reserved says that the range is durable at its sender.

A master's request goes through the states of `AskPhase` (see `phases`). Any other way out gives the range up at this
end; the other end follows by Void or, when the connection is gone, by the next exchange of states (KRP 2.5). Bits
count as delivered from the first commit on: "delivered" means that they may have left.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import assert_never

from qss.core.reservation.answers import Answers
from qss.core.reservation.events import Reserve
from qss.core.reservation.ledger import Bucket, StreamLedger
from qss.core.reservation.phases import AskPhase, AskStep, ask_after
from qss.core.reservation.refusals import Refusals
from qss.core.reservation.state import LinkState, Pending
from qss.model.errors import (
    LimitReached,
    PeerUnavailable,
    QssError,
    RemoteProtocolError,
    Shortage,
    Unauthorised,
)
from qss.model.identifiers import (
    ReservationId,
    SaeId,
    StreamId,
    parse_sae_id,
)
from qss.model.ranges import Range
from qss.model.records import BurnReason, ReservationRecord, Side
from qss.wire.external import (
    Ask,
    Confirm,
    Gone,
    Grant,
    Reason,
    Refuse,
    Reserved,
    Void,
)
from qss.wire.external import (
    Reserve as ReserveMessage,
)


class Exchange:
    """Requests of masters at this end, and of masters at the peer's."""

    def __init__(self, state: LinkState, answers: Answers) -> None:
        self._state = state
        self._answers = answers
        self._refusals = Refusals()

    # --- a master at this end -------------------------------------------------------------------------------------

    def reserve(self, ask: Reserve) -> None:
        """Set keys aside for a master at this end, unless it repeats what it asked before."""
        state = self._state
        if not self._answers.is_new(ask.reservation, ask.name):
            return
        if not state.up:
            away = self._unreachable("cannot be reached now", "nothing was consumed")
            state.refuse(ask.reservation, state.trouble or away)
        elif self._full():
            state.refuse(
                ask.reservation,
                LimitReached(
                    f"this site holds {state.settings.max_reservations} reservations with {state.settings.peer}; "
                    "nothing was consumed; try again when some have been fetched or have expired"
                ),
            )
        elif (standing := self._refusals.standing(ask, state.now)) is not None:
            state.refuse(ask.reservation, self._refusal(ask, standing))
        elif state.settings.owner:
            self._allocate_own(ask)
        else:
            self._wait(ask, AskPhase.ASKED)
            state.count_outstanding(ask.master, ask.slaves, ask.count)
            state.send(  # KRP 4.3
                Ask(ask.reservation.value, ask.count, ask.key_bytes, ask.master, tuple(ask.slaves))
            )

    def _allocate_own(self, ask: Reserve) -> None:
        state = self._state
        length = ask.count * ask.key_bytes
        ledger = self._ledger_with(length)
        if ledger is None:
            state.refuse(ask.reservation, self._shortage(ask.count, ask.key_bytes))
            return
        pending = self._wait(ask, AskPhase.COMMITTING)
        part = ledger.allocate(length, Bucket.DELIVERED)
        self._commit_own(ask.reservation, pending, ledger, part)
        state.send(  # KRP 4.1
            ReserveMessage(
                ask.reservation.value,
                ledger.stream.value,
                part.start,
                ask.count,
                ask.key_bytes,
                ask.master,
                tuple(ask.slaves),
            )
        )

    def _wait(self, ask: Reserve, phase: AskPhase) -> Pending:
        deadline = self._state.now + self._state.settings.reply_timeout_s
        pending = Pending(deadline, ask.count, ask.key_bytes, ask.master, ask.slaves, phase, ask.name)
        self._state.pending[ask.reservation] = pending
        self._state.begin(ask.reservation, ask.name)
        return pending

    def reserved(self, message: Reserved) -> None:
        """The peer holds this range durably (KRP 4.2, 4.4)."""
        reservation = ReservationId(message.reservation)
        pending = self._state.pending.get(reservation)
        if pending is None:
            return  # given up in the meantime; the peer has been sent a Void
        self._advance(reservation, pending, AskStep.DURABLE_THERE)

    def granted(self, message: Grant) -> None:
        """The owner has allocated what was asked for (KRP 4.4)."""
        state = self._state
        if state.settings.owner:
            raise RemoteProtocolError("a Grant came to the owner")
        reservation = ReservationId(message.reservation)
        ledger = state.ledgers.get(StreamId(message.stream))
        pending = state.pending.get(reservation)
        part = Range(message.start, message.start + message.length)
        if pending is None or ledger is None:  # KRP 4.8: too late, or a stream that is gone here
            state.send(Void((message.reservation,)))
            if pending is not None:
                self._give_up(reservation, self._unreachable("allocated from a key stream that is gone here"))
            if ledger is not None:
                ledger.skip_to(part.stop, BurnReason.UNCONFIRMED)
                state.touch(ledger)
            return
        phase = ask_after(pending.phase, AskStep.ALLOCATED)
        if message.length != pending.count * pending.key_bytes:
            raise RemoteProtocolError("the owner granted another length than was asked for")
        if part.start < ledger.record.head or part.stop > min(ledger.end, ledger.durable_mark):
            raise RemoteProtocolError("the owner granted a range that is not available here")
        pending.phase = phase
        state.count_outstanding(pending.master, pending.slaves, -pending.count)  # its row counts from here on
        ledger.accept(part, Bucket.DELIVERED)
        self._commit_own(reservation, pending, ledger, part)

    def refused(self, message: Refuse) -> None:
        """The peer will not have this reservation (KRP 4.5)."""
        reservation = ReservationId(message.reservation)
        pending = self._state.pending.get(reservation)
        if pending is None:
            return
        self._refusals.note(pending, message.reason, self._state.now)
        self._give_up(reservation, self._refusal(pending, message.reason), BurnReason.REFUSED)

    def _refusal(self, pending: Pending | Reserve, reason: Reason) -> QssError:
        peer = self._state.settings.peer
        match reason:
            case Reason.SHORTAGE:
                return self._shortage(pending.count, pending.key_bytes)
            case Reason.UNAUTHORISED:
                return Unauthorised(f"site {peer} has no rule for this pair of SAEs: its operator must add one")
            case Reason.LIMIT:
                return LimitReached(
                    f"site {peer} holds as many reservations as it may; nothing was delivered; "
                    "try again when some have been fetched or have expired"
                )
            case Reason.SIZE:
                return LimitReached(
                    f"site {peer} does not take {pending.count} keys of {8 * pending.key_bytes} bits at once; "
                    "nothing was delivered; ask for fewer, or for another size"
                )
            case Reason.STREAM | Reason.BELOW_HEAD | Reason.BEYOND_MARK:
                return self._unreachable(f"refused the reservation ({reason})")
            case _:
                assert_never(reason)

    def gone(self, message: Gone) -> None:
        """The peer holds nothing of these any more: this end may forget them (KRP 4.7)."""
        for value in message.reservations:
            row = self._state.rows.get(ReservationId(value))
            if row is not None and row.side is Side.MASTER and row.id not in self._state.pending:
                self._state.drop_row(row)

    def expire_pending(self) -> None:
        """Give up requests whose deadline has passed, at both ends (KRP 4.8)."""
        state = self._state
        late = [reservation for reservation, pending in state.pending.items() if pending.deadline <= state.now]
        for reservation in late:
            self._give_up(reservation, self._unreachable("did not answer in time"))
        if late:
            state.send(Void(tuple(reservation.value for reservation in late)))

    def abandon_all(self, error: QssError) -> None:
        """The connection is gone: give up all that wait for it."""
        for reservation in list(self._state.pending):
            self._give_up(reservation, error)

    def _commit_own(self, reservation: ReservationId, pending: Pending, ledger: StreamLedger, part: Range) -> None:
        state = self._state
        row = ReservationRecord(
            reservation,
            ledger.stream,
            state.settings.peer,
            Side.MASTER,
            part.start,
            pending.count,
            pending.key_bytes,
            pending.master,
            pending.slaves,
            state.wall + state.settings.reserved_s,
        )
        state.put_row(row)
        self._answers.note(pending.name, (row.run,))
        state.when_durable(partial(self._durable_here, reservation))

    def _durable_here(self, reservation: ReservationId) -> None:
        pending = self._state.pending.get(reservation)
        if pending is not None:
            self._advance(reservation, pending, AskStep.DURABLE_HERE)

    def _advance(self, reservation: ReservationId, pending: Pending, step: AskStep) -> None:
        """Take a step; answer the master once the reservation is durable at both ends."""
        pending.phase = ask_after(pending.phase, step)
        if pending.phase is not AskPhase.BOTH:
            return
        state = self._state
        del state.pending[reservation]
        row = replace(state.rows[reservation], confirmed=True)
        state.put_row(row)
        state.deliver(reservation, (row.run,))
        state.free(row, [row.range])
        # Until then this end may forget that the master was answered, and the other end must still know of it.
        state.with_next_commit(partial(state.to_confirm.append, reservation))

    def _give_up(
        self, reservation: ReservationId, error: QssError, reason: BurnReason = BurnReason.UNCONFIRMED
    ) -> None:
        state = self._state
        pending = state.pending.pop(reservation)
        if pending.phase is AskPhase.ASKED:
            state.count_outstanding(pending.master, pending.slaves, -pending.count)
        row = state.rows.get(reservation)
        if row is not None:
            self.burn_delivered(row, reason)
        state.refuse(reservation, error)

    def burn_delivered(self, row: ReservationRecord, reason: BurnReason) -> None:
        """Give up the keys of a master at this end, whom they never reached; a repeat of its ask begins anew."""
        state = self._state
        self._answers.forget(row.id)
        state.ledgers[row.stream].burn([row.range], Bucket.DELIVERED, reason)
        state.free(row, [row.range])
        state.drop_row(row)

    # --- a master at the peer's end -------------------------------------------------------------------------------

    def peer_reserves(self, message: ReserveMessage) -> None:
        """The owner has allocated for one of its masters: hold the same range here (KRP 4.2)."""
        state = self._state
        if state.settings.owner:
            raise RemoteProtocolError("the non-owner allocated a range")
        row = self._row_for_peer(message, StreamId(message.stream), message.start)
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
        length = message.count * message.key_bytes
        ledger = self._ledger_with(length)
        reason = self._objection_to(message)
        if reason is None and ledger is not None and self._full():
            reason = Reason.LIMIT
        if reason is not None or ledger is None:
            state.send(Refuse(message.reservation, reason or Reason.SHORTAGE))
            return
        # Made before anything changes. Whom the policy admits has a well-formed name, and so has the reservation.
        row = self._row_for_peer(message, ledger.stream, ledger.record.head)
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
            elif row.side is Side.SLAVE:
                self.confirm(row)

    def confirm(self, row: ReservationRecord) -> None:
        """Note durably that both ends hold `row`; forget it if nobody has anything left to fetch."""
        if row.side is Side.SLAVE and row.complete:
            self._state.drop_row(row)
        elif not row.confirmed:
            self._state.put_row(replace(row, confirmed=True))

    def peer_voids(self, message: Void) -> None:
        """The master's site gave these up before anyone was answered (KRP 4.8)."""
        for value in message.reservations:
            row = self._state.rows.get(ReservationId(value))
            if row is not None and row.side is Side.SLAVE and not row.confirmed:
                self.burn_unfetched(row, BurnReason.UNCONFIRMED)

    def burn_unfetched(self, row: ReservationRecord, reason: BurnReason) -> None:
        """Give up what slaves at this end have not fetched of `row`, and forget it."""
        self.burn_keys(row, row.unfetched_mask(), reason)
        self._state.drop_row(self._state.rows[row.id])

    def burn_keys(self, row: ReservationRecord, mask: int, reason: BurnReason) -> None:
        """Give up those of the keys at the positions of `mask` that slaves at this end have not fetched."""
        state = self._state
        parts = row.ranges_of(mask & row.unfetched_mask())
        state.ledgers[row.stream].burn(parts, Bucket.RESERVED, reason)
        state.put_row(row.without(mask))
        state.free(row, parts)

    def _row_for_peer(self, message: ReserveMessage | Ask, stream: StreamId, start: int) -> ReservationRecord:
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
        )

    def _objection_to(self, message: ReserveMessage | Ask) -> Reason | None:
        """Why such a reservation is not taken here at all (KRP 4.5, 4.9), or None."""
        settings = self._state.settings
        if not settings.admits(SaeId(message.master), tuple(map(SaeId, message.slaves))):
            return Reason.UNAUTHORISED
        fits = settings.min_key_bytes <= message.key_bytes <= settings.max_key_bytes
        return None if fits and message.count <= settings.max_keys else Reason.SIZE

    def _objection(self, message: ReserveMessage, row: ReservationRecord) -> Reason | None:
        """Why the range that the owner allocated cannot be held here (KRP 4.5), or None."""
        ledger = self._state.ledgers.get(row.stream)
        reason = self._objection_to(message)
        if reason is not None:
            return reason
        if ledger is None:
            return Reason.STREAM
        if row.start < ledger.record.head:
            return Reason.BELOW_HEAD
        if row.range.stop > min(ledger.end, ledger.durable_mark):
            return Reason.BEYOND_MARK
        return Reason.LIMIT if self._full() else None

    # --- both -----------------------------------------------------------------------------------------------------

    def _full(self) -> bool:
        return len(self._state.rows) + len(self._state.pending) >= self._state.settings.max_reservations

    def _ledger_with(self, length: int) -> StreamLedger | None:
        """The stream to allocate from: closed ones first, so that they come to an end. What relaying needs is left."""
        state = self._state
        left = sum(ledger.allocatable for ledger in state.ledgers.values()) - length
        if left < state.settings.relay_reserve_bytes:
            return None
        fitting = [ledger for ledger in state.ledgers.values() if ledger.allocatable >= length]
        return next((ledger for ledger in fitting if ledger.record.closed), fitting[0] if fitting else None)

    def _shortage(self, count: int, key_bytes: int) -> Shortage:
        peer = self._state.settings.peer
        return Shortage(
            f"not enough key with site {peer} for {count} x {8 * key_bytes} bits; nothing was consumed; "
            "ask for less, or try again when more has gathered"
        )

    def _unreachable(self, what: str, so: str = "nothing was delivered") -> PeerUnavailable:
        return PeerUnavailable(f"site {self._state.settings.peer} {what}; {so}; try again later")


def _contents(row: ReservationRecord) -> tuple[object, ...]:
    return (row.side, row.stream, row.range, row.key_bytes, row.master, row.slaves)
