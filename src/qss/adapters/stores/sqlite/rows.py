"""Records as rows and back, columns in the order of `schema`.

What SQL may want to ask about is a plain column; the rest is JSON text. A position in a stream is an SQLite integer
(64 bits). The bit masks of fetched keys are hexadecimal strings in a JSON list, because they may have 65,536 bits.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from qss.model.answers import AnswerRecord, AskName, KeyRun
from qss.model.identifiers import KeyId, QksId, ReservationId, SaeId, StreamId
from qss.model.records import (
    BurnReason,
    Part,
    PeerRecord,
    RecallRecord,
    ReservationRecord,
    Scope,
    Side,
    StreamRecord,
    Tally,
)

Row = tuple[Any, ...]
"""Values of one row."""


def stream_row(record: StreamRecord) -> Row:
    """Return the record as a row of `streams`."""
    return (
        record.stream.value,
        record.peer,
        record.chunk_bytes,
        record.version,
        record.head,
        record.mark,
        int(record.closed),
        record.limit,
        *_tally_values(record.tally),
        record.opened_at,
        record.policy,
        record.repeaters,
    )


def stream_record(row: Row) -> StreamRecord:
    """Read a row of `streams`."""
    stream, peer, chunk_bytes, version, head, mark, closed, limit, *tally, opened_at, policy, repeaters = row
    return StreamRecord(
        StreamId(stream),
        QksId(peer),
        chunk_bytes,
        version,
        head,
        mark,
        bool(closed),
        limit,
        _tally(*tally),
        opened_at,
        policy,
        repeaters,
    )


def reservation_row(record: ReservationRecord) -> Row:
    """Return the record as a row of `reservations`."""
    return (
        record.id.value,
        record.stream.value,
        record.peer,
        record.side.value,
        record.start,
        record.count,
        record.key_bytes,
        record.master,
        _text(record.slaves),
        record.expires_at,
        int(record.confirmed),
        _text([f"{mask:x}" for mask in record.fetched]),
        record.part.value,
        int(record.covered),
    )


def reservation_record(row: Row) -> ReservationRecord:
    """Read a row of `reservations`."""
    reservation, stream, peer, side, start, count, key_bytes, master, slaves, expires_at, confirmed, *rest = row
    fetched, part, covered = rest
    return ReservationRecord(
        ReservationId(reservation),
        StreamId(stream),
        QksId(peer),
        Side(side),
        start,
        count,
        key_bytes,
        SaeId(master),
        tuple(msgspec.json.decode(slaves)),
        expires_at,
        bool(confirmed),
        tuple(int(mask, 16) for mask in msgspec.json.decode(fetched)),
        Part(part),
        bool(covered),
    )


def peer_row(record: PeerRecord) -> Row:
    """Return the record as a row of `peers`."""
    return (
        record.peer,
        record.incarnation,
        record.commit_seen,
        record.commit_proof,
        record.base,
        int(record.exchanged),
        int(record.must_burn),
        record.recall_made,
        record.recall_seen,
        *_tally_values(record.past),
        record.past_ingested,
    )


def peer_record(row: Row) -> PeerRecord:
    """Read a row of `peers`."""
    peer, incarnation, commit_seen, commit_proof, base, exchanged, must_burn, made, seen, *tally, past_ingested = row
    return PeerRecord(
        QksId(peer),
        incarnation,
        commit_seen,
        commit_proof,
        base,
        bool(exchanged),
        bool(must_burn),
        _tally(*tally),
        past_ingested,
        made,
        seen,
    )


def answer_row(record: AnswerRecord) -> Row:
    """Return the record as a row of `answers`."""
    keys = [
        (str(run.reservation), str(run.stream), run.start, run.key_bytes, run.position, run.count)
        for run in record.keys
    ]
    return record.peer, record.name.digest, record.name.request, _text(keys), record.until


def answer_record(row: Row) -> AnswerRecord:
    """Read a row of `answers`."""
    peer, digest, request, keys, until = row
    runs = (
        KeyRun(ReservationId(UUID(reservation).bytes), StreamId(UUID(stream).bytes), *numbers)
        for reservation, stream, *numbers in msgspec.json.decode(keys)
    )
    return AnswerRecord(QksId(peer), AskName(digest, request), tuple(runs), until)


def recall_row(record: RecallRecord) -> Row:
    """Return the record as a row of `recalls`."""
    return record.peer, record.number, _text([str(key_id) for key_id in record.scope.key_ids]), record.scope.sae


def recall_record(row: Row) -> RecallRecord:
    """Read a row of `recalls`."""
    peer, number, key_ids, sae = row
    scope = Scope(tuple(map(KeyId.parse, msgspec.json.decode(key_ids))), None if sae is None else SaeId(sae))
    return RecallRecord(QksId(peer), number, scope)


def _tally_values(tally: Tally) -> Row:
    return tally.reserved, tally.delivered, tally.relayed, _text(tally.burned)


def _tally(reserved: int, delivered: int, relayed: int, burned: str) -> Tally:
    reasons = {BurnReason(reason): bits for reason, bits in msgspec.json.decode(burned).items()}
    return Tally(reserved, delivered, relayed, reasons)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
