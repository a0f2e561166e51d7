"""What the barrier promises, on every store."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qss.barrier import Barrier
from qss.barrier.barrier import BLOCK_BYTES
from qss.model.errors import FenceLost, HeadMismatch, Tampered
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.ports.store import DropBlock, DropStream, PutBlock, PutKey, PutStream, SealedBlock, Store
from qss.simulation.store import SimulatedDisk, SimulatedStore
from support.durable_store import DATA_KEY, Durable
from support.store_records import SITE, stream_id, stream_record

S = stream_id(1)
SECRET = random.Random(1).randbytes(1000)


def key(start: int, stop: int, secret: bytes = SECRET) -> PutKey:
    return PutKey(S, start, KeyMaterial(secret[start:stop]))


@pytest.fixture
async def barrier(durable: Durable) -> Barrier:
    """A started barrier with a stream, and no key in it."""
    barrier = durable.open_sealed()
    await barrier.start()
    await barrier.commit([PutStream(stream_record())], await _fence(barrier))
    return barrier


@pytest.fixture
async def sealed_fence(barrier: Barrier) -> int:
    return await _fence(barrier)


async def _fence(barrier: Barrier) -> int:
    return (await barrier.contents()).incarnation


async def _read(barrier: Barrier, start: int, stop: int) -> bytes:
    return (await barrier.read_key(S, Range(start, stop))).reveal()


# --- reading --------------------------------------------------------------------------------------------------------


async def test_any_part_of_what_was_stored_is_read(barrier: Barrier, sealed_fence: int) -> None:
    await barrier.commit([key(0, 100)], sealed_fence)
    await barrier.commit([key(100, 500)], sealed_fence)
    await barrier.commit([key(500, 1000)], sealed_fence)
    for start, stop in [(0, 1000), (0, 1), (99, 101), (100, 500), (250, 750), (999, 1000), (7, 7)]:
        assert await _read(barrier, start, stop) == SECRET[start:stop]


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 101), (50, 250), (99, 200), (200, 301), (100, 101), (400, 401), (150, 250)]
)
async def test_a_missing_byte_is_noticed(barrier: Barrier, sealed_fence: int, start: int, stop: int) -> None:
    await barrier.commit([key(0, 100), key(200, 300)], sealed_fence)
    with pytest.raises(Tampered, match="missing"):
        await _read(barrier, start, stop)


async def test_another_process_with_the_same_data_key_reads_it(
    durable: Durable, barrier: Barrier, sealed_fence: int
) -> None:
    await barrier.commit([key(0, 1000)], sealed_fence)
    await barrier.close()
    again = durable.open_sealed()
    await again.start()
    assert await _read(again, 0, 1000) == SECRET
    await again.close()
    stranger = durable.open_sealed(KeyMaterial(bytes(32)))
    await stranger.start()
    with pytest.raises(Tampered):
        await _read(stranger, 0, 1000)


async def test_verdicts_of_the_store_pass_through(barrier: Barrier, sealed_fence: int) -> None:
    with pytest.raises(HeadMismatch):
        await barrier.commit([key(0, 10), PutStream(stream_record(version=1))], sealed_fence)
    with pytest.raises(FenceLost):
        await barrier.commit([key(0, 10)], sealed_fence + 1)
    with pytest.raises(Tampered):
        await _read(barrier, 0, 1)
    await barrier.commit([key(0, 10)], sealed_fence)
    with pytest.raises(FenceLost):
        await barrier.erase_key(S, [Range(0, 1)], sealed_fence + 1)
    assert await _read(barrier, 0, 10) == SECRET[:10]


# --- the sealed form ------------------------------------------------------------------------------------------------


async def test_neighbours_of_a_batch_share_a_block_up_to_its_largest_size(durable: Durable) -> None:
    store = durable.open()
    barrier = Barrier(store, DATA_KEY, SITE)
    fence = (await barrier.start()).incarnation
    secret = random.Random(2).randbytes(3 * BLOCK_BYTES)
    chunk = BLOCK_BYTES // 4
    chunks = [key(start, start + chunk, secret) for start in range(0, 5 * chunk, chunk)]
    await barrier.commit([PutStream(stream_record()), *chunks, key(6 * chunk, len(secret), secret)], fence)
    blocks = await store.blocks(S, Range(0, len(secret)))
    assert [(block.start // chunk, block.length // chunk) for block in blocks] == [(0, 4), (4, 1), (6, 4), (10, 2)]
    assert await _read(barrier, 0, 5 * chunk) == secret[: 5 * chunk]
    assert await _read(barrier, 6 * chunk, len(secret)) == secret[6 * chunk :]


async def test_key_and_the_end_of_its_stream_keep_their_order(barrier: Barrier, sealed_fence: int) -> None:
    await barrier.commit([key(0, 50), DropStream(S), PutStream(stream_record(version=1)), key(50, 100)], sealed_fence)
    assert await _read(barrier, 50, 100) == SECRET[50:100]
    with pytest.raises(Tampered):
        await _read(barrier, 0, 50)


async def test_swapped_and_moved_blocks_are_noticed(durable: Durable) -> None:
    store = durable.open()
    barrier = Barrier(store, DATA_KEY, SITE)
    fence = (await barrier.start()).incarnation
    await barrier.commit([PutStream(stream_record(1)), PutStream(stream_record(2)), key(0, 100)], fence)
    await barrier.commit([key(100, 200)], fence)
    first, second = await store.blocks(S, Range(0, 200))
    await _replace(store, fence, [first, second], [_sealed_as(first, second), _sealed_as(second, first)])
    for start in (0, 100):
        with pytest.raises(Tampered):
            await _read(barrier, start, start + 100)
    await _replace(store, fence, [first, second], [first, second])
    assert await _read(barrier, 0, 200) == SECRET[:200]

    moved = SealedBlock(stream_id(2), first.start, first.length, first.sealed)
    await store.commit([PutBlock(moved)], fence)
    with pytest.raises(Tampered):
        await barrier.read_key(stream_id(2), Range(0, 100))


def _sealed_as(place: SealedBlock, other: SealedBlock) -> SealedBlock:
    return SealedBlock(place.stream, place.start, place.length, other.sealed)


async def _replace(store: Store, fence: int, old: list[SealedBlock], new: list[SealedBlock]) -> None:
    await store.commit([*(DropBlock(b.stream, b.start) for b in old), *(PutBlock(b) for b in new)], fence)


class OtherStreamsBlocks(SimulatedStore):
    """A store that answers for one stream with another's blocks, and says that they are the other's."""

    async def blocks(self, stream, part):
        return await super().blocks(stream_id(2), part)


async def test_blocks_that_say_they_are_of_another_stream_are_noticed() -> None:
    barrier = Barrier(OtherStreamsBlocks(SimulatedDisk()), DATA_KEY, SITE)
    fence = (await barrier.start()).incarnation
    await barrier.commit([PutStream(stream_record(2)), PutKey(stream_id(2), 0, KeyMaterial(SECRET))], fence)
    assert (await barrier.read_key(stream_id(2), Range(0, 9))).reveal() == SECRET[:9]
    with pytest.raises(Tampered):
        await barrier.read_key(S, Range(0, 9))
    await barrier.close()


# --- erasing --------------------------------------------------------------------------------------------------------


async def test_erased_bytes_are_gone_and_their_neighbours_are_not(barrier: Barrier, sealed_fence: int) -> None:
    await barrier.commit([key(0, 500)], sealed_fence)
    await barrier.commit([key(500, 1000)], sealed_fence)
    erased = [Range(700, 710), Range(100, 200), Range(150, 250), Range(450, 520), Range(990, 5000), Range(30, 30)]
    await barrier.erase_key(S, erased, sealed_fence)
    for start, stop in [(0, 100), (250, 450), (520, 700), (710, 990)]:
        assert await _read(barrier, start, stop) == SECRET[start:stop]
    for start in (100, 249, 450, 519, 700, 709, 990, 999):
        with pytest.raises(Tampered):
            await _read(barrier, start, start + 1)
    await barrier.erase_key(S, erased, sealed_fence)  # absent bytes are no error
    await barrier.erase_key(stream_id(9), [Range(0, 10)], sealed_fence)


async def test_an_erasure_of_many_parts_and_much_key(barrier: Barrier, sealed_fence: int) -> None:
    secret = random.Random(3).randbytes(6 << 20)
    await barrier.commit([key(0, len(secret), secret)], sealed_fence)
    singles = [Range(start, start + 1) for start in range(0, 3000, 3)]
    await barrier.erase_key(S, [*singles, Range(4000, 5 << 20)], sealed_fence)
    assert await _read(barrier, 3000, 4000) == secret[3000:4000]
    assert await _read(barrier, 5 << 20, 6 << 20) == secret[5 << 20 :]
    for start in range(0, 3000, 300):
        assert await _read(barrier, start + 1, start + 3) == secret[start + 1 : start + 3]
        with pytest.raises(Tampered):
            await _read(barrier, start, start + 1)
    for start in (4000, 4 << 20, (5 << 20) - 1):
        with pytest.raises(Tampered):
            await _read(barrier, start, start + 1)


async def test_erasures_at_once_do_not_undo_each_other_and_readers_are_served(
    barrier: Barrier, sealed_fence: int
) -> None:
    await barrier.commit([key(0, 1000)], sealed_fence)

    async def read_what_stays() -> None:
        for _ in range(20):
            assert await _read(barrier, 900, 1000) == SECRET[900:]

    erasures = (barrier.erase_key(S, [Range(start, start + 10)], sealed_fence) for start in range(0, 900, 20))
    await asyncio.gather(*erasures, read_what_stays(), read_what_stays())
    for start in range(0, 900, 20):
        assert await _read(barrier, start + 10, start + 20) == SECRET[start + 10 : start + 20]
        with pytest.raises(Tampered):
            await _read(barrier, start, start + 1)


async def test_a_block_that_does_not_open_can_be_erased(durable: Durable) -> None:
    store = durable.open()
    barrier = Barrier(store, DATA_KEY, SITE)
    fence = (await barrier.start()).incarnation
    await barrier.commit([PutStream(stream_record()), key(0, 100), key(200, 300)], fence)
    bad, good = await store.blocks(S, Range(0, 300))
    broken = SealedBlock(S, 0, 100, bad.sealed[:-1] + bytes([bad.sealed[-1] ^ 1]))
    await _replace(store, fence, [bad], [broken])
    await barrier.erase_key(S, [Range(0, 10), Range(200, 210)], fence)
    assert [block.start for block in await store.blocks(S, Range(0, 300))] == [210]
    assert good.start == 200


async def test_what_was_read_is_gone_with_its_stream(barrier: Barrier, sealed_fence: int) -> None:
    await barrier.commit([key(0, 100)], sealed_fence)
    assert await _read(barrier, 0, 10) == SECRET[:10]
    await barrier.commit([DropStream(S)], sealed_fence)
    with pytest.raises(Tampered, match="missing"):
        await _read(barrier, 0, 10)


class Gate(SimulatedStore):
    """A store that lets something happen between what was read and the answer with it."""

    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__(disk)
        self.between = None

    async def blocks(self, stream, part):
        found = await super().blocks(stream, part)
        if self.between is not None:
            between, self.between = self.between, None
            await between
        return found


async def test_an_erasure_does_not_bring_back_a_stream_that_ended_meanwhile() -> None:
    disk = SimulatedDisk()
    store = Gate(disk)
    barrier = Barrier(store, DATA_KEY, SITE)
    fence = (await barrier.start()).incarnation
    await barrier.commit([PutStream(stream_record()), key(0, 100)], fence)
    store.between = barrier.commit([DropStream(S)], fence)
    await barrier.erase_key(S, [Range(0, 10)], fence)
    assert disk.blocks == {}
    await barrier.close()


async def test_what_is_read_during_an_erasure_is_not_kept_beyond_it() -> None:
    store = Gate(SimulatedDisk())
    barrier = Barrier(store, DATA_KEY, SITE)
    fence = (await barrier.start()).incarnation
    await barrier.commit([PutStream(stream_record()), key(0, 100)], fence)
    store.between = barrier.erase_key(S, [Range(0, 50)], fence)
    assert await _read(barrier, 0, 10) == SECRET[:10]  # it was there when it was asked for
    with pytest.raises(Tampered, match="missing"):
        await _read(barrier, 0, 10)
    await barrier.close()


# --- any sequence ---------------------------------------------------------------------------------------------------

ranges = st.tuples(st.integers(0, 300), st.integers(0, 120)).map(lambda pair: Range(pair[0], sum(pair)))


@given(st.lists(st.lists(ranges, min_size=1, max_size=4), max_size=6), st.lists(st.integers(1, 200), max_size=4))
@settings(max_examples=100)
def test_what_is_left_after_any_erasures_is_what_was_not_erased(erasures: list[list[Range]], cuts: list[int]) -> None:
    asyncio.run(_erase_and_compare(erasures, sorted({0, *cuts, 400})))


async def _erase_and_compare(erasures: list[list[Range]], cuts: list[int]) -> None:
    barrier = Barrier(SimulatedStore(SimulatedDisk()), DATA_KEY, SITE)
    fence = (await barrier.start()).incarnation
    await barrier.commit([PutStream(stream_record())], fence)
    for start, stop in itertools.pairwise(cuts):
        await barrier.commit([key(start, stop)], fence)
    left = set(range(400))
    for parts in erasures:
        await barrier.erase_key(S, parts, fence)
        for part in parts:
            left -= set(range(part.start, part.stop))
    for place in range(0, 400, 7):
        if place in left:
            assert await _read(barrier, place, place + 1) == SECRET[place : place + 1]
        else:
            with pytest.raises(Tampered):
                await _read(barrier, place, place + 1)
    await barrier.close()
