"""Random batches against a model of dictionaries, on every store: same verdicts, same state, also after reopening."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qss.adapters.stores.sqlite import SqliteStore, create_store
from qss.model.errors import HeadMismatch
from qss.model.identifiers import StreamId
from qss.model.ranges import Range
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
    Store,
)
from qss.simulation.store import SimulatedDisk, SimulatedStore
from support.store_records import (
    SITE,
    answer_records,
    block,
    digests,
    in_order,
    peer_records,
    peers,
    recall_numbers,
    recall_records,
    reservation_ids,
    reservation_records,
    stream_id,
    stream_ids,
    stream_records,
)

changes = st.one_of(
    st.builds(PutStream, stream_records),
    st.builds(DropStream, stream_ids),
    st.builds(PutReservation, reservation_records),
    st.builds(DropReservation, peers, reservation_ids),
    st.builds(PutPeer, peer_records),
    st.builds(PutAnswer, answer_records),
    st.builds(DropAnswer, peers, digests),
    st.builds(PutRecall, recall_records),
    st.builds(DropRecall, peers, recall_numbers),
    st.builds(RaiseCommitNumber, st.integers(0, 30)),
    st.builds(PutBlock, st.builds(block, st.integers(0, 40), st.integers(1, 20), st.integers(1, 3))),
    st.builds(DropBlock, stream_ids, st.integers(0, 40)),
)
batches = st.lists(st.lists(changes, max_size=6), max_size=12)


def bytes_of(held: SealedBlock) -> set[tuple[StreamId, int]]:
    return {(held.stream, place) for place in range(held.start, held.start + held.length)}


class Model:
    """The contract as plainly as it can be said: bytes of blocks one by one, copies instead of transactions."""

    def __init__(self) -> None:
        self.commit_number = 0
        self.streams: dict = {}
        self.reservations: dict = {}
        self.peers: dict = {}
        self.answers: dict = {}
        self.recalls: dict = {}
        self.blocks: dict = {}

    def fits(self, batch: Sequence[Change]) -> bool:
        trial = copy.deepcopy(self)
        if all(trial.change(change) for change in batch):
            put = {change.block.stream for change in batch if isinstance(change, PutBlock)}
            if all(key[0] in trial.streams for key in trial.blocks if key[0] in put):
                self.__dict__ = trial.__dict__
                return True
        return False

    def change(self, change: Change) -> bool:
        match change:
            case PutStream(record):
                stored = self.streams.get(record.stream)
                self.streams[record.stream] = record
                return (stored.version if stored else 0) == record.version - 1
            case DropStream(stream):
                self.streams.pop(stream, None)
                self.reservations = {k: v for k, v in self.reservations.items() if v.stream != stream}
                self.blocks = {k: v for k, v in self.blocks.items() if k[0] != stream}
            case PutReservation(record):
                self.reservations[record.peer, record.id] = record
            case DropReservation(peer, name):
                self.reservations.pop((peer, name), None)
            case PutPeer(record):
                self.peers[record.peer] = record
            case PutAnswer(record):
                self.answers[record.peer, record.name.digest] = record
            case DropAnswer(peer, digest):
                self.answers.pop((peer, digest), None)
            case PutRecall(record):
                self.recalls[record.peer, record.number] = record
            case DropRecall(peer, number):
                self.recalls.pop((peer, number), None)
            case RaiseCommitNumber(at_least):
                self.commit_number = max(self.commit_number, at_least)
            case PutBlock(new):
                taken = {
                    (held.stream, place)
                    for held in self.blocks.values()
                    for place in range(held.start, held.start + held.length)
                }
                if any((new.stream, place) in taken for place in range(new.start, new.start + new.length)):
                    return False
                self.blocks[new.stream, new.start] = new
            case DropBlock(stream, start):
                self.blocks.pop((stream, start), None)
        return True

    def contents(self, incarnation: int) -> Contents:
        return in_order(
            Contents(
                incarnation,
                self.commit_number,
                tuple(self.streams.values()),
                tuple(self.reservations.values()),
                tuple(self.peers.values()),
                tuple(self.answers.values()),
                tuple(self.recalls.values()),
            )
        )


async def _compare(store: Store, work: Sequence[Sequence[Change]]) -> None:
    model = Model()
    fence = (await store.start()).incarnation
    try:
        for batch in work:
            if model.fits(batch):
                model.commit_number += 1
                assert await store.commit(batch, fence) == model.commit_number
            else:
                with pytest.raises(HeadMismatch):
                    await store.commit(batch, fence)
        await _agree(store, model, fence)
        again = await store.start()
        await _agree(store, model, again.incarnation)
    finally:
        await store.close()


async def _compare_group(store: Store, work: Sequence[Sequence[Change]]) -> None:
    """All at once: which batches share a transaction is open, and so is their number; all else is not."""
    model = Model()
    fence = (await store.start()).incarnation
    try:
        answers = await asyncio.gather(*(store.commit(batch, fence) for batch in work), return_exceptions=True)
        assert [not isinstance(answer, HeadMismatch) for answer in answers] == [model.fits(batch) for batch in work]
        model.commit_number = (await store.contents()).commit_number
        assert model.commit_number == max((answer for answer in answers if isinstance(answer, int)), default=0)
        await _agree(store, model, fence)
    finally:
        await store.close()


async def _agree(store: Store, model: Model, incarnation: int) -> None:
    assert in_order(await store.contents()) == model.contents(incarnation)
    for number, start, stop in itertools.product((1, 2, 3), (0, 7, 33), (8, 34, 100)):
        if start < stop:
            expected = sorted(
                (held for held in model.blocks.values() if held.stream == stream_id(number)),
                key=lambda held: held.start,
            )
            shared = [held for held in expected if held.start < stop and start < held.start + held.length]
            assert await store.blocks(stream_id(number), Range(start, stop)) == tuple(shared)
            places = tuple(Range(held.start, held.start + held.length) for held in shared)
            assert await store.places(stream_id(number), Range(start, stop)) == places


@given(batches)
@settings(max_examples=60, deadline=None)  # how long a disk takes is not the store's
def test_sqlite_does_as_the_model(work: list[list[Change]]) -> None:
    with _sqlite() as store:
        asyncio.run(_compare(store, work))


@given(batches)
@settings(max_examples=60, deadline=None)  # how long a disk takes is not the store's
def test_sqlite_does_as_the_model_in_groups(work: list[list[Change]]) -> None:
    with _sqlite() as store:
        asyncio.run(_compare_group(store, work))


@given(batches)
def test_the_simulation_does_as_the_model(work: list[list[Change]]) -> None:
    asyncio.run(_compare(SimulatedStore(SimulatedDisk()), work))


@given(batches)
def test_the_simulation_does_as_the_model_in_groups(work: list[list[Change]]) -> None:
    asyncio.run(_compare_group(SimulatedStore(SimulatedDisk()), work))


@contextlib.contextmanager
def _sqlite() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.sqlite")
        create_store(path, SITE)
        yield SqliteStore(path, SITE)
