"""Slaves at this end fetch keys by their IDs (KRP 4.11).

A fetch is one transaction (ETSI GS QKD 014 clause 6.4): one key that cannot be had fails it, and it marks nothing.
Whoever knows a key ID has it from the master's answer, which left only after this end had confirmed its row: so a row
whose Confirm is still on its way is delivered from like any other.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from qss.core.reservation.answers import Answers
from qss.core.reservation.events import Fetch
from qss.core.reservation.state import LinkState
from qss.model.answers import KeyRun, joined
from qss.model.errors import KeysNotFound, PeerUnavailable, QssError, Unauthorised
from qss.model.identifiers import KeyId, ReservationId, SaeId
from qss.model.records import ReservationRecord, Side


class Fetching:
    """Fetches of slaves at this end, until they are answered."""

    def __init__(self, state: LinkState, answers: Answers) -> None:
        self._state = state
        self._answers = answers
        self._undurable: set[int] = set()

    def fetch(self, ask: Fetch) -> None:
        """Deliver all keys that are asked for, or none: each once to this caller, but for repeats under a name."""
        state = self._state
        if not self._answers.is_new(ask.request, ask.name):
            return
        error = self._objection(ask)
        if error is not None:
            state.refuse(ask.request, error)
            return
        keys = joined(self._run(key_id) for key_id in ask.key_ids)
        self._answers.note(ask.name, keys)
        changed: dict[ReservationId, None] = {}
        for key_id in ask.key_ids:
            row = state.rows[_reservation(key_id)]
            state.put_row(_fetched(row, ask.caller, key_id.position))
            changed[row.id] = None
            if state.rows[row.id].fetched_by_all(key_id.position):
                state.ledgers[row.stream].deliver_reserved(row.key_bytes)
                state.free(row, [row.key_range(key_id.position)])
        for row in [state.rows[reservation] for reservation in changed]:
            if row.confirmed and row.complete:
                state.drop_row(row)
        # From here on the bytes count as being read, so that no erasure overtakes the delivery.
        state.reading[ask.request] = keys
        state.begin(ask.request, ask.name)
        self._undurable.add(ask.request)
        state.when_durable(partial(self._deliver, ask.request, keys))

    def holds(self, key_id: KeyId) -> bool:
        """Whether there is a row in which a slave at this end has a claim on this key."""
        return self._held(key_id) is not None

    def _run(self, key_id: KeyId) -> KeyRun:
        row = self._state.rows[_reservation(key_id)]
        return KeyRun(row.id, row.stream, row.key_range(key_id.position).start, row.key_bytes, key_id.position)

    def _deliver(self, request: int, keys: tuple[KeyRun, ...]) -> None:
        self._undurable.discard(request)
        self._state.deliver(request, keys)

    def abandon_all(self, error: QssError) -> None:
        """The store has refused a commit: refuse all whose delivery is not durable."""
        for request in self._undurable:
            self._state.refuse(request, error)
        self._undurable.clear()

    def _objection(self, ask: Fetch) -> QssError | None:
        state = self._state
        rows = [self._held(key_id) for key_id in ask.key_ids]
        if any(row is not None and ask.caller not in row.slaves for row in rows):
            return Unauthorised(f"{ask.caller} is not named in the reservation of every key that it asked for")
        if len(set(ask.key_ids)) < len(ask.key_ids):
            return KeysNotFound()
        for key_id, row in zip(ask.key_ids, rows, strict=True):
            if (
                row is None
                or row.master != ask.master
                or row.expires_at <= state.wall
                or row.awaits_cover
                or row.fetched[row.slaves.index(ask.caller)] >> key_id.position & 1
            ):
                return KeysNotFound()
        if not state.exchanged:
            return state.trouble or PeerUnavailable(
                f"this site has not compared its state with site {state.settings.peer} since it started; "
                "nothing was consumed; try again shortly"
            )
        return None

    def _held(self, key_id: KeyId) -> ReservationRecord | None:
        """The row in which a slave at this end has a claim on this key, if there is one."""
        reservation = key_id.reservation
        row = None if reservation is None else self._state.rows.get(reservation)
        return row if row is not None and row.side is Side.SLAVE and key_id.position < row.count else None


def _reservation(key_id: KeyId) -> ReservationId:
    reservation = key_id.reservation
    assert reservation is not None
    return reservation


def _fetched(row: ReservationRecord, caller: SaeId, position: int) -> ReservationRecord:
    return replace(
        row,
        fetched=tuple(
            mask | 1 << position if slave == caller else mask
            for slave, mask in zip(row.slaves, row.fetched, strict=True)
        ),
    )
