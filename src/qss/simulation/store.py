"""A store in memory whose disk can be slow and can lose power, in virtual time.

The `SimulatedDisk` is what is durable; a `SimulatedStore` is one process's view of it. What was submitted reaches the
disk when its sync ends, and `crash` loses everything else, as a power failure does. Verdicts, numbers and grouping are
those of every store (`tests/contract/store` runs on this one too).

Refused here: time of its own (the `sync` callable is whatever clock the simulation has), and torn writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from qss.model.answers import AnswerRecord
from qss.model.errors import FenceLost, HeadMismatch, QssError, StoreError, StoreInUse, StoreUnavailable
from qss.model.identifiers import QksId, ReservationId, StreamId
from qss.model.incarnations import INCARNATION_ENTROPY_BYTES, next_incarnation
from qss.model.ranges import Range
from qss.model.records import PeerRecord, RecallRecord, ReservationRecord, StreamRecord
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


async def at_once() -> None:
    """A sync that takes no time, but lets others run."""
    await asyncio.sleep(0)


@dataclass(slots=True)
class SimulatedDisk:
    """What survives a crash. Empty to begin with."""

    incarnation: int = 0
    commit_number: int = 0
    streams: dict[StreamId, StreamRecord] = field(default_factory=dict)
    reservations: dict[tuple[QksId, ReservationId], ReservationRecord] = field(default_factory=dict)
    peers: dict[QksId, PeerRecord] = field(default_factory=dict)
    answers: dict[tuple[QksId, bytes], AnswerRecord] = field(default_factory=dict)
    recalls: dict[tuple[QksId, int], RecallRecord] = field(default_factory=dict)
    blocks: dict[tuple[StreamId, int], SealedBlock] = field(default_factory=dict)
    in_use: bool = False
    """A store is started on it."""
    full: bool = False
    """It refuses writes."""


@dataclass(frozen=True, slots=True)
class _Ticket:
    batch: tuple[Change, ...]
    fence: int
    done: asyncio.Future[int]


class SimulatedStore:
    """Implements `qss.ports.store.Store` on a simulated disk.

    `sync()` is awaited for every group of commits; `entropy(n)` returns n bytes, random but in reproducible runs.
    """

    def __init__(
        self,
        disk: SimulatedDisk,
        sync: Callable[[], Awaitable[None]] = at_once,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._disk = disk
        self._entropy = entropy
        self._sync = sync
        self._started = False
        self._waiting: list[_Ticket] = []
        self._on_its_way: list[_Ticket] = []
        self._syncing: asyncio.Task[None] | None = None

    async def start(self) -> Contents:
        """As `Store.start`."""
        await self.close()
        if self._disk.in_use:
            raise StoreInUse("another store is started on this disk; close it first")
        self._disk.in_use = self._started = True
        self._disk.incarnation = next_incarnation(self._disk.incarnation, self._entropy(INCARNATION_ENTROPY_BYTES))
        return await self.contents()

    async def commit(self, batch: Sequence[Change], fence: int) -> int:
        """As `Store.commit`."""
        self._refuse_unless_started()
        ticket = _Ticket(tuple(batch), fence, asyncio.get_running_loop().create_future())
        self._waiting.append(ticket)
        if self._syncing is None:
            self._syncing = asyncio.create_task(self._make_durable())
        return await ticket.done

    async def contents(self) -> Contents:
        """As `Store.contents`."""
        self._refuse_unless_started()
        disk = self._disk
        return Contents(
            disk.incarnation,
            disk.commit_number,
            tuple(disk.streams.values()),
            tuple(disk.reservations.values()),
            tuple(disk.peers.values()),
            tuple(disk.answers.values()),
            tuple(disk.recalls.values()),
        )

    async def blocks(self, stream: StreamId, part: Range) -> tuple[SealedBlock, ...]:
        """As `Store.blocks`."""
        self._refuse_unless_started()
        found = (block for block in self._disk.blocks.values() if block.stream == stream and _overlaps(block, part))
        return tuple(sorted(found, key=lambda block: block.start))

    async def places(self, stream: StreamId, part: Range) -> tuple[Range, ...]:
        """As `Store.places`."""
        self._refuse_unless_started()
        found = (block for block in self._disk.blocks.values() if block.stream == stream and _overlaps(block, part))
        return tuple(sorted(Range(block.start, block.start + block.length) for block in found))

    async def check_in_place(self) -> None:
        """As `Store.check_in_place`: nobody takes a simulated disk away."""

    async def close(self) -> None:
        """As `Store.close`."""
        if self._syncing is not None:
            await self._syncing
        self._let_go()

    async def crash(self, *, synced: bool = False) -> None:
        """Lose power: what is not on the disk is gone, and nobody who waits for it is ever answered.

        With `synced`, what was being synced has just reached the disk.
        """
        self._waiting.clear()
        if synced and not self._disk.full:
            _transaction(self._disk, self._on_its_way)
        if self._syncing is not None:
            self._syncing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._syncing
            self._syncing = None
        self._let_go()

    async def _make_durable(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            self._on_its_way = group
            await self._sync()
            self._on_its_way = []
            _settle(group, _transaction(self._disk, group))
        self._syncing = None

    def _let_go(self) -> None:
        if self._started:
            self._disk.in_use = self._started = False

    def _refuse_unless_started(self) -> None:
        if not self._started:
            raise StoreError("the store is not open: start it first")


def _overlaps(block: SealedBlock, part: Range) -> bool:
    return part.intersection(Range(block.start, block.start + block.length)) is not None


# --- one transaction --------------------------------------------------------------------------------------------------


def _transaction(disk: SimulatedDisk, group: Sequence[_Ticket]) -> list[int | QssError]:
    if disk.full:
        return [StoreUnavailable("the simulated disk is full; make room") for _ in group]
    refusals = [_try(disk, ticket) for ticket in group]
    if not all(refusals):
        disk.commit_number += 1
    return [refusal or disk.commit_number for refusal in refusals]


def _try(disk: SimulatedDisk, ticket: _Ticket) -> QssError | None:
    if ticket.fence != disk.incarnation:
        return FenceLost(f"the store was started again since (incarnation {disk.incarnation}); end this process")
    savepoint = _Savepoint(disk)
    try:
        for change in ticket.batch:
            savepoint.apply(change)
        savepoint.refuse_orphans(ticket.batch)
    except HeadMismatch as refusal:
        savepoint.roll_back()
        return refusal
    return None


def _settle(group: Sequence[_Ticket], verdicts: Sequence[int | QssError]) -> None:
    for ticket, verdict in zip(group, verdicts, strict=True):
        if ticket.done.done():  # its task was cancelled; the commit stands all the same
            continue
        if isinstance(verdict, int):
            ticket.done.set_result(verdict)
        else:
            ticket.done.set_exception(verdict)


_ABSENT = object()


class _Savepoint:
    """Applies changes to the disk and remembers how to take them back."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._commit_number = disk.commit_number
        self._before: list[tuple[dict[Any, Any], Hashable, object]] = []

    def apply(self, change: Change) -> None:
        """Make one change. Raises `HeadMismatch`."""
        disk = self._disk
        match change:
            case PutStream(record):
                self._put_stream(record)
            case DropStream(stream):
                self._drop_stream(stream)
            case PutReservation(reservation):
                self._put(disk.reservations, (reservation.peer, reservation.id), reservation)
            case DropReservation(peer, name):
                self._drop(disk.reservations, (peer, name))
            case PutPeer(remembered):
                self._put(disk.peers, remembered.peer, remembered)
            case PutAnswer(answer):
                self._put(disk.answers, (answer.peer, answer.name.digest), answer)
            case DropAnswer(peer, digest):
                self._drop(disk.answers, (peer, digest))
            case PutRecall(recall):
                self._put(disk.recalls, (recall.peer, recall.number), recall)
            case DropRecall(peer, number):
                self._drop(disk.recalls, (peer, number))
            case RaiseCommitNumber(at_least):
                disk.commit_number = max(disk.commit_number, at_least)
            case PutBlock(block):
                self._put_block(block)
            case DropBlock(stream, start):
                self._drop(disk.blocks, (stream, start))
            case _:
                assert_never(change)

    def refuse_orphans(self, batch: Sequence[Change]) -> None:
        """Raise `HeadMismatch` if a block was put whose stream is not there."""
        for change in batch:
            if isinstance(change, PutBlock) and change.block.stream not in self._disk.streams:
                place = (change.block.stream, change.block.start)
                if place in self._disk.blocks:
                    raise HeadMismatch(f"stream {place[0]} is not in the store: key cannot be kept without its stream")

    def roll_back(self) -> None:
        """Take all changes back."""
        for table, key, value in reversed(self._before):
            if value is _ABSENT:
                table.pop(key, None)
            else:
                table[key] = value
        self._disk.commit_number = self._commit_number

    def _put_stream(self, record: StreamRecord) -> None:
        stored = self._disk.streams.get(record.stream)
        fits = stored is None if record.version == 1 else stored is not None and stored.version == record.version - 1
        if not fits:
            raise HeadMismatch(f"stream {record.stream} is not at version {record.version - 1}: read the contents")
        self._put(self._disk.streams, record.stream, record)

    def _drop_stream(self, stream: StreamId) -> None:
        for block in [block for block in self._disk.blocks.values() if block.stream == stream]:
            self._drop(self._disk.blocks, (stream, block.start))
        for record in [record for record in self._disk.reservations.values() if record.stream == stream]:
            self._drop(self._disk.reservations, (record.peer, record.id))
        self._drop(self._disk.streams, stream)

    def _put_block(self, block: SealedBlock) -> None:
        place = Range(block.start, block.start + block.length)
        if any(other.stream == block.stream and _overlaps(other, place) for other in self._disk.blocks.values()):
            raise HeadMismatch(f"stream {block.stream} has bytes at {block.start} already: no byte is stored twice")
        self._put(self._disk.blocks, (block.stream, block.start), block)

    def _put(self, table: dict[Any, Any], key: Hashable, value: object) -> None:
        self._before.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    def _drop(self, table: dict[Any, Any], key: Hashable) -> None:
        self._before.append((table, key, table.get(key, _ABSENT)))
        table.pop(key, None)
