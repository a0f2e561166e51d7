"""Reservations for masters at this end (KRP 4.1, 4.3 to 4.8): asking, waiting for both ends, giving up.

The owner allocates at once; the non-owner asks it to. A master's request goes through the states of `AskPhase` (see
`phases`; that of one of several sites goes on in `parts`). Any other way out gives the range up at this end; the other
end follows by Void or, when the connection is gone, by the next exchange of states (KRP 2.5). Bits count as delivered
from the first commit on: "delivered" means that they may have left.

Not here: what the peer's end does for these masters (`holding`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from qss.core.reservation.allocation import is_full, ledger_with
from qss.core.reservation.answers import Answers
from qss.core.reservation.events import Reserve
from qss.core.reservation.ledger import Bucket, StreamLedger
from qss.core.reservation.parts import Parts
from qss.core.reservation.phases import AskPhase, AskStep, ask_after
from qss.core.reservation.refusals import Refusals, refusal, shortage, unreachable
from qss.core.reservation.state import LinkState, Pending
from qss.model.errors import LimitReached, QssError, RemoteProtocolError
from qss.model.identifiers import ReservationId, StreamId
from qss.model.ranges import Range
from qss.model.records import BurnReason, Part, ReservationRecord, Side, length_of
from qss.wire.external import Ask, Gone, Grant, Refuse, Reserved, Void
from qss.wire.external import Reserve as ReserveMessage


class Asking:
    """Requests of masters at this end."""

    def __init__(self, state: LinkState, answers: Answers) -> None:
        self._state = state
        self._answers = answers
        self._refusals = Refusals()
        self.parts = Parts(state, answers, self._give_up)
        """Of requests for slaves at several sites."""

    # --- asks -----------------------------------------------------------------------------------------------------

    def reserve(self, ask: Reserve) -> None:
        """Set keys aside for a master at this end, unless it repeats what it asked before."""
        state = self._state
        if not self._answers.is_new(ask.reservation, ask.name):
            return
        objection = self._objection(ask)
        if objection is not None:
            state.refuse(ask.reservation, objection)
        elif state.settings.owner:
            self._allocate_own(ask)
        else:
            self._wait(ask, AskPhase.ASKED)
            state.count_outstanding(ask.master, ask.slaves, ask.count)
            state.send(  # KRP 4.3
                Ask(
                    ask.reservation.value,
                    ask.count,
                    ask.key_bytes,
                    ask.master,
                    tuple(ask.slaves),
                    ask.policy,
                    ask.part is Part.FURTHER,
                    ask.priority,
                )
            )

    def objection(self, ask: Reserve) -> QssError | None:
        """Return why an ask that is no repeat would get no keys now, as far as is known here."""
        length = length_of(ask.count, ask.key_bytes, ask.part)
        missing = ledger_with(self._state, length, ask.policy, ask.priority) is None
        return self._objection(ask) or (shortage(self._state.settings.peer, ask) if missing else None)

    def _objection(self, ask: Reserve) -> QssError | None:
        """Return why an ask is refused whatever key there is, or None."""
        state = self._state
        if not state.up:
            away = unreachable(state.settings.peer, "cannot be reached now", "nothing was consumed")
            return state.trouble or away
        if is_full(state):
            return LimitReached(
                f"this site holds {state.settings.max_reservations} reservations with {state.settings.peer}; "
                "nothing was consumed; try again when some have been fetched or have expired"
            )
        standing = self._refusals.standing(ask, state.now)
        return None if standing is None else refusal(state.settings.peer, ask, standing)

    def _allocate_own(self, ask: Reserve) -> None:
        state = self._state
        length = length_of(ask.count, ask.key_bytes, ask.part)
        ledger = ledger_with(state, length, ask.policy, ask.priority)
        if ledger is None:
            state.refuse(ask.reservation, shortage(state.settings.peer, ask))
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
                ask.part is Part.FURTHER,
            )
        )

    def _wait(self, ask: Reserve, phase: AskPhase) -> Pending:
        deadline = self._state.now + self._state.settings.reply_timeout_s
        pending = Pending(deadline, ask.count, ask.key_bytes, ask.master, ask.slaves, phase, ask.name, ask.part)
        self._state.pending[ask.reservation] = pending
        self._state.begin(ask.reservation, ask.name)
        return pending

    # --- the peer -------------------------------------------------------------------------------------------------

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
        if (
            pending is None or ledger is None or part.start < ledger.record.head
        ):  # KRP 4.8: too late, or key that is gone
            state.send(Void((message.reservation,)))
            if pending is not None:
                self._give_up(reservation, unreachable(state.settings.peer, "allocated key that is gone here"))
            if ledger is not None:
                ledger.skip_to(part.stop, BurnReason.UNCONFIRMED)
                state.touch(ledger)
            return
        phase = ask_after(pending.phase, AskStep.ALLOCATED)
        if message.length != pending.length:
            raise RemoteProtocolError("the owner granted another length than was asked for")
        if part.stop > min(ledger.end, ledger.durable_mark):
            raise RemoteProtocolError("the owner granted a range that is not available here")
        pending.phase = phase
        state.count_outstanding(pending.master, pending.slaves, -pending.count)  # its row counts from here on
        ledger.accept(part, Bucket.DELIVERED)
        self._commit_own(reservation, pending, ledger, part)

    def refused(self, message: Refuse) -> None:
        """The peer will not have this reservation (KRP 4.5)."""
        state = self._state
        reservation = ReservationId(message.reservation)
        pending = state.pending.get(reservation)
        if pending is None:
            return
        self._refusals.note(pending, message.reason, state.now)
        self._give_up(reservation, refusal(state.settings.peer, pending, message.reason), BurnReason.REFUSED)

    def gone(self, message: Gone) -> None:
        """The peer holds nothing of these any more: this end may forget them (KRP 4.7)."""
        for value in message.reservations:
            row = self._state.rows.get(ReservationId(value))
            if row is not None and row.side is Side.MASTER and row.id not in self._state.pending:
                self._state.drop_row(row)

    # --- both ends, or none ---------------------------------------------------------------------------------------

    def expire_pending(self) -> None:
        """Give up requests whose deadline has passed, at both ends (KRP 4.8)."""
        state = self._state
        late = [reservation for reservation, pending in state.pending.items() if pending.deadline <= state.now]
        for reservation in late:
            self._give_up(reservation, unreachable(state.settings.peer, "did not answer in time"))
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
            part=pending.part,
        )
        state.put_row(row)
        if pending.part is Part.WHOLE:
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
        if pending.part is not Part.WHOLE:
            self.parts.ready(reservation, pending)
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
