"""Changes and questions as SQL, on a connection whose transaction someone else holds.

Refused here: transactions, threads, and the meaning of a record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, assert_never

import apsw

from qss.adapters.stores.sqlite import rows
from qss.model.errors import HeadMismatch, InvalidIdentifier, StoreDamaged
from qss.model.identifiers import StreamId
from qss.model.incarnations import INCARNATION_ENTROPY_BYTES, next_incarnation
from qss.model.ranges import Range
from qss.model.records import StreamRecord
from qss.ports.store import (
    Change,
    Contents,
    DropAnswer,
    DropBlock,
    DropRecall,
    DropReservation,
    DropStream,
    PutAnswer,
    PutBlock,
    PutPeer,
    PutRecall,
    PutReservation,
    PutStream,
    RaiseCommitNumber,
    SealedBlock,
)

_INSERT_STREAM = "INSERT INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_UPDATE_STREAM = """
UPDATE streams
SET (peer, chunk_bytes, version, head, mark, closed, agreed_end,
     reserved_bits, delivered_bits, relayed_bits, burned_bits, opened_at, policy, repeaters)
  = (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
WHERE stream = ?1 AND version = ?4 - 1
"""
_PUT_RESERVATION = "REPLACE INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_PEER = "REPLACE INTO peers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_ANSWER = "REPLACE INTO answers VALUES (?, ?, ?, ?, ?)"
_PUT_RECALL = "REPLACE INTO recalls VALUES (?, ?, ?, ?)"
_BLOCK_BEFORE = "SELECT start + length FROM blocks WHERE stream = ? AND start < ? ORDER BY start DESC LIMIT 1"
# Blocks of a stream never overlap, so at most one that begins before the part reaches into it.
_BLOCKS = """
SELECT start, length, sealed FROM blocks
WHERE stream = ?1 AND start < ?3
  AND start >= coalesce((SELECT max(start) FROM blocks WHERE stream = ?1 AND start <= ?2), 0)
ORDER BY start
"""
_PLACES = _BLOCKS.replace(", sealed", "")  # all of which the index has


def erases(batch: Sequence[Change]) -> bool:
    """Tell whether a batch gives up blocks, whose bytes must then not live on in the log."""
    return any(isinstance(change, DropBlock | DropStream) for change in batch)


def apply(connection: apsw.Connection, batch: Sequence[Change]) -> None:
    """Make the changes, in order. Raises `HeadMismatch` midway: the caller rolls back."""
    for change in batch:
        _apply(connection, change)
    for stream in {change.block.stream for change in batch if isinstance(change, PutBlock)}:
        _refuse_orphans(connection, stream)


def _apply(connection: apsw.Connection, change: Change) -> None:
    match change:
        case PutStream(record):
            _put_stream(connection, record)
        case DropStream(stream):
            connection.execute("DELETE FROM blocks WHERE stream = ?", (stream.value,))
            connection.execute("DELETE FROM reservations WHERE stream = ?", (stream.value,))
            connection.execute("DELETE FROM streams WHERE stream = ?", (stream.value,))
        case PutReservation(reservation):
            connection.execute(_PUT_RESERVATION, rows.reservation_row(reservation))
        case DropReservation(peer, name):
            connection.execute("DELETE FROM reservations WHERE peer = ? AND reservation = ?", (peer, name.value))
        case PutPeer(remembered):
            connection.execute(_PUT_PEER, rows.peer_row(remembered))
        case PutAnswer(answer):
            connection.execute(_PUT_ANSWER, rows.answer_row(answer))
        case DropAnswer(peer, digest):
            connection.execute("DELETE FROM answers WHERE peer = ? AND name = ?", (peer, digest))
        case PutRecall(recall):
            connection.execute(_PUT_RECALL, rows.recall_row(recall))
        case DropRecall(peer, number):
            connection.execute("DELETE FROM recalls WHERE peer = ? AND number = ?", (peer, number))
        case RaiseCommitNumber(at_least):
            connection.execute("UPDATE meta SET commit_number = max(commit_number, ?)", (at_least,))
        case PutBlock(block):
            _put_block(connection, block)
        case DropBlock(stream, start):
            connection.execute("DELETE FROM blocks WHERE stream = ? AND start = ?", (stream.value, start))
        case _:
            assert_never(change)


def _put_stream(connection: apsw.Connection, record: StreamRecord) -> None:
    built_on = record.version - 1
    connection.execute(_UPDATE_STREAM if built_on else _INSERT_STREAM, rows.stream_row(record))
    if connection.changes() != 1:
        raise HeadMismatch(
            f"stream {record.stream} is not at version {built_on}: another commit came first; "
            "read the store's contents and recover"
        )


def _put_block(connection: apsw.Connection, block: SealedBlock) -> None:
    before = connection.execute(_BLOCK_BEFORE, (block.stream.value, block.start + block.length)).get
    if before is not None and before > block.start:
        raise HeadMismatch(f"stream {block.stream} has bytes at {block.start} already: no byte is stored twice")
    connection.execute(
        "INSERT INTO blocks (stream, start, length, sealed) VALUES (?, ?, ?, ?)",
        (block.stream.value, block.start, block.length, block.sealed),
    )


def _refuse_orphans(connection: apsw.Connection, stream: StreamId) -> None:
    """A block whose stream is gone would never be erased."""
    known = connection.execute("SELECT 1 FROM streams WHERE stream = ?", (stream.value,)).get
    held = connection.execute("SELECT 1 FROM blocks WHERE stream = ? LIMIT 1", (stream.value,)).get
    if held and not known:
        raise HeadMismatch(f"stream {stream} is not in the store: key cannot be kept without its stream")


def raise_incarnation(connection: apsw.Connection) -> None:
    """Begin a new incarnation, within a transaction. Raises `StoreError` if there have been too many."""
    following = next_incarnation(incarnation(connection), os.urandom(INCARNATION_ENTROPY_BYTES))
    connection.execute("UPDATE meta SET incarnation = ?", (following,))


def raise_commit_number(connection: apsw.Connection) -> int:
    """Number the transaction, and return the number."""
    return _integer(connection, "UPDATE meta SET commit_number = commit_number + 1 RETURNING commit_number")


def incarnation(connection: apsw.Connection) -> int:
    """Return the fence that holds now."""
    return _integer(connection, "SELECT incarnation FROM meta")


def contents(connection: apsw.Connection, path: Path) -> Contents:
    """Return the whole ledger. The caller holds a transaction, so that all of it is of one moment.

    Raises `StoreDamaged`, for the store in `path`, if a row makes no sense.
    """
    fence, commit_number = _rows(connection, "SELECT incarnation, commit_number FROM meta")[0]
    return Contents(
        fence,
        commit_number,
        _records(connection, path, "streams", rows.stream_record),
        _records(connection, path, "reservations", rows.reservation_record),
        _records(connection, path, "peers", rows.peer_record),
        _records(connection, path, "answers", rows.answer_record),
        _records(connection, path, "recalls", rows.recall_record),
    )


def _records[T](connection: apsw.Connection, path: Path, table: str, record: Callable[[rows.Row], T]) -> tuple[T, ...]:
    found = _rows(connection, f"SELECT * FROM {table}")  # noqa: S608 - a name of ours
    try:
        return tuple(map(record, found))
    except (InvalidIdentifier, ValueError, TypeError, LookupError, AttributeError) as error:
        raise StoreDamaged(f"{path} is damaged: a row of {table} makes no sense; {StoreDamaged.REMEDY}") from error


def blocks(connection: apsw.Connection, stream: StreamId, part: Range) -> tuple[SealedBlock, ...]:
    """Return the blocks that share a byte with `part`, in order."""
    found = connection.execute(_BLOCKS, (stream.value, part.start, part.stop))
    return tuple(
        SealedBlock(stream, start, length, sealed)
        for start, length, sealed in found
        if len(part) and start + length > part.start
    )


def places(connection: apsw.Connection, stream: StreamId, part: Range) -> tuple[Range, ...]:
    """Return where the blocks lie that share a byte with `part`, in order."""
    found = connection.execute(_PLACES, (stream.value, part.start, part.stop))
    return tuple(Range(start, start + length) for start, length in found if len(part) and start + length > part.start)


def _rows(connection: apsw.Connection, query: str) -> list[Any]:
    return list(connection.execute(query))


def _integer(connection: apsw.Connection, query: str) -> int:
    value = connection.execute(query).get
    assert isinstance(value, int)
    return value
