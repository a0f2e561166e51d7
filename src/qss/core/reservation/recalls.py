"""Recalling keys that were not fetched yet, at both ends (KRP 4.13).

Either end may recall: keys by their IDs, all that an SAE has a part in, or all of the link. It burns what its own
slaves have not fetched, forgets the answers that its masters could ask for again, and notes the recall durably until
the peer says that it has done the same. Recalls of one end are numbered: one that is heard twice is carried out once.

What was fetched has left, and cannot be recalled. Keys that slaves at further sites hold as well are named in
`PartsRecalled`, so that those sites are told too (KRP 4.20).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from qss.core.reservation import events as ev
from qss.core.reservation.answers import Answers
from qss.core.reservation.parts import Parts
from qss.core.reservation.state import LinkState
from qss.model.errors import LimitReached, PeerUnavailable, QssError
from qss.model.identifiers import KeyId, ReservationId, parse_sae_id
from qss.model.records import BurnReason, Part, RecallRecord, ReservationRecord, Scope, Side
from qss.wire import external as wire

MAX_WAITING = 1000
"""Recalls that the peer has not carried out yet."""


class Recalls:
    """Recalls made at this end, and at the peer's."""

    def __init__(
        self,
        state: LinkState,
        answers: Answers,
        burn_keys: Callable[[ReservationRecord, int, BurnReason], None],
        parts: Parts,
    ) -> None:
        self._state = state
        self._answers = answers
        self._burn_keys = burn_keys
        self._parts = parts
        self._undurable: set[ev.Request] = set()

    def recall(self, event: ev.Recall) -> None:
        """Carry a recall out here, and have the peer do the same."""
        state = self._state
        if len(state.recalls) >= MAX_WAITING:
            error = LimitReached(
                f"site {state.settings.peer} has yet to hear of {MAX_WAITING} recalls; nothing was recalled; "
                "try again when it is connected"
            )
            state.refuse(event.request, error)
            return
        number = state.peer.recall_made + 1
        bits = self._carry_out(event.scope, pass_on=not event.passed_on)
        state.put_peer(replace(state.peer, recall_made=number))
        state.put_recall(RecallRecord(state.settings.peer, number, event.scope))
        self._undurable.add(event.request)
        state.when_durable(partial(self._noted, event.request, number, bits))

    def _noted(self, request: ev.Request, number: int, bits: int) -> None:
        self._undurable.discard(request)
        self._state.effect(ev.Recalled(request, bits))
        record = self._state.recalls.get(number)
        if record is not None and self._state.up:
            self._tell(record)

    def abandon_all(self, error: QssError) -> None:
        """The store has refused a commit: refuse all recalls that are not durable."""
        for request in self._undurable:
            self._state.refuse(request, error)
        self._undurable.clear()

    def tell_all(self) -> None:
        """The connection is up: tell of every recall that the peer is not known to have carried out."""
        for record in self._state.recalls.values():
            self._tell(record)

    def _tell(self, record: RecallRecord) -> None:
        keys = tuple(key_id.value for key_id in record.scope.key_ids)
        self._state.send(wire.Recall(record.number, keys, record.scope.sae or ""))

    def peer_recalls(self, message: wire.Recall) -> None:
        """Carry the peer's recall out, once."""
        state = self._state
        if message.number > state.peer.recall_seen:
            scope = Scope(tuple(map(KeyId, message.keys)), parse_sae_id(message.sae) if message.sae else None)
            bits = self._carry_out(scope, pass_on=True)
            state.put_peer(replace(state.peer, recall_seen=message.number))
            state.effect(ev.PeerRecalled(scope, bits))
        state.when_durable(partial(state.answer, state.epoch, wire.Recalled(message.number)))

    def carried_out(self, message: wire.Recalled) -> None:
        """The peer has carried this end's recall out."""
        self._state.drop_recall(message.number)

    def forget_all(self) -> None:
        """Everything reserved on the link is burned: there is nothing left to recall, and both ends count anew."""
        for number in list(self._state.recalls):
            self._state.drop_recall(number)

    def _carry_out(self, scope: Scope, *, pass_on: bool) -> int:
        """Burn what slaves at this end have not fetched, forget masters' answers; return the bits burned."""
        before = self._voided()
        elsewhere: list[KeyId] = []
        for row, mask in self._concerned(scope):
            if row.side is Side.MASTER:
                self._carry_out_for_master(row)
                if row.part is not Part.WHOLE:
                    elsewhere.extend(row.id.key_id(position) for position in range(row.count) if mask >> position & 1)
                continue
            self._burn_keys(row, mask, BurnReason.VOIDED)
            row = self._state.rows[row.id]
            if row.complete and row.confirmed:
                self._state.drop_row(row)
        if elsewhere and pass_on:
            self._state.effect(ev.PartsRecalled(tuple(elsewhere)))
        return self._voided() - before

    def _carry_out_for_master(self, row: ReservationRecord) -> None:
        if row.id not in self._state.pending:  # whom nobody has answered yet is no holder
            self._answers.forget(row.id)
        elif row.part is not Part.WHOLE:  # but one site's slaves may have the keys while others are awaited
            error = PeerUnavailable("the keys were recalled before all sites had them; nothing was delivered; ask anew")
            self._parts.abandon(ev.Abandon(row.id, error))

    def _concerned(self, scope: Scope) -> list[tuple[ReservationRecord, int]]:
        """Return the reservations that a recall is for, and the positions of the keys as a bit mask."""
        rows = self._state.rows
        if scope.key_ids:
            masks: dict[ReservationId, int] = {}
            for key_id in scope.key_ids:
                reservation = key_id.reservation
                if reservation in rows and key_id.position < rows[reservation].count:
                    masks[reservation] = masks.get(reservation, 0) | 1 << key_id.position
            return [(rows[reservation], mask) for reservation, mask in masks.items()]
        return [
            (row, (1 << row.count) - 1)
            for row in rows.values()
            if scope.sae is None or scope.sae in (row.master, *row.slaves)
        ]

    def _voided(self) -> int:
        ledgers = self._state.ledgers.values()
        return sum(ledger.record.tally.burned.get(BurnReason.VOIDED, 0) for ledger in ledgers)
