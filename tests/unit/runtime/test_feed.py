"""Key from the module into the ledger: in order, coalesced, bounded, and nothing left over at the end."""

from __future__ import annotations

import asyncio

import pytest

from qss.model.errors import StreamEnded
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.runtime.feed import BUFFER_BYTES, PULLED_BYTES, Feed
from support.virtual_time import in_virtual_time

STREAM = StreamId(bytes(16))


class Source:
    """A key source of the test's making, which has so many chunks ready at a time."""

    def __init__(self, chunks=None, chunk_bytes=4, ready=1):
        self.indices = []
        self.ended = asyncio.Event()
        self._chunks = chunks
        self.chunk_bytes = chunk_bytes
        self._ready = ready

    async def get_key(self, stream, index, most=1):
        assert stream == STREAM
        self.indices.append(index)
        if self._chunks is not None and index >= self._chunks:
            await self.ended.wait()
            raise StreamEnded("the stream has ended")
        await asyncio.sleep(1e-3)
        stop = min(index + self._ready, index + most, self._chunks or 1 << 32)
        return KeyMaterial(b"".join(each.to_bytes(self.chunk_bytes) for each in range(index, stop)))


class Ledger:
    """Stores key, each piece in so much time."""

    def __init__(self, store_s=0.0):
        self.pieces = []
        self.wants = True
        self._store_s = store_s

    async def store(self, material):
        await asyncio.sleep(self._store_s)
        self.pieces.append(material.reveal())

    @property
    def stored(self):
        return b"".join(self.pieces)


def feed_of(source, ledger):
    return Feed(source, STREAM, source.chunk_bytes, lambda: ledger.wants, ledger.store)


def counted(chunks, chunk_bytes=4):
    return b"".join(index.to_bytes(chunk_bytes) for index in range(chunks))


@in_virtual_time
async def test_chunks_are_pulled_in_order_and_stored_whole_before_the_end_is_told():
    source, ledger = Source(10), Ledger(store_s=1)
    source.ended.set()
    assert await feed_of(source, ledger).run() == "the stream has ended"
    assert source.indices == list(range(11))
    assert ledger.stored == counted(10)


@in_virtual_time
async def test_chunks_that_are_ready_are_pulled_together_up_to_so_many_bytes():
    source, ledger = Source(10, PULLED_BYTES // 4, ready=3), Ledger()
    source.ended.set()
    await feed_of(source, ledger).run()
    assert source.indices == [0, 3, 6, 9, 10]
    assert ledger.stored == counted(10, PULLED_BYTES // 4)
    source, ledger = Source(10, PULLED_BYTES // 4, ready=10), Ledger()
    source.ended.set()
    await feed_of(source, ledger).run()
    assert source.indices == [0, 4, 8, 10]


@in_virtual_time
async def test_what_gathers_while_a_batch_is_stored_goes_into_the_next():
    source, ledger = Source(100), Ledger(store_s=1)
    feeding = asyncio.create_task(feed_of(source, ledger).run())
    await asyncio.sleep(5)
    source.ended.set()
    await feeding
    assert len(ledger.pieces) == 2
    assert ledger.stored == counted(100)


@in_virtual_time
async def test_a_store_that_is_slow_holds_up_the_source():
    source, ledger = Source(chunk_bytes=PULLED_BYTES // 2), Ledger(store_s=1000)
    feed = feed_of(source, ledger)
    feeding = asyncio.create_task(feed.run())
    await asyncio.sleep(900)
    # What is being stored, what waits, and the chunk with which the limit was reached.
    assert BUFFER_BYTES <= len(source.indices) * PULLED_BYTES // 2 <= 2 * BUFFER_BYTES + PULLED_BYTES // 2
    feed.close()
    await feeding
    assert ledger.stored == counted(len(source.indices), PULLED_BYTES // 2)


@in_virtual_time
async def test_what_nobody_wants_is_not_pulled():
    source, ledger = Source(), Ledger()
    ledger.wants = False
    feed = feed_of(source, ledger)
    feeding = asyncio.create_task(feed.run())
    await asyncio.sleep(10)
    assert source.indices == []
    ledger.wants = True
    await asyncio.sleep(0.1)
    assert source.indices
    feed.close()
    assert await feeding == "this end closed it"


@in_virtual_time
async def test_a_closed_feed_ends_with_its_source_and_stores_what_it_had():
    source, ledger = Source(3), Ledger()
    feed = feed_of(source, ledger)
    feeding = asyncio.create_task(feed.run())
    await asyncio.sleep(0.1)
    feed.close()
    await asyncio.sleep(0.1)
    assert not feeding.done()  # it waits for the source, which is to be closed as well
    source.ended.set()
    await feeding
    assert ledger.stored == counted(3)


@in_virtual_time
async def test_a_defect_of_the_source_or_of_the_store_ends_both_halves():
    class Defective(Source, Ledger):
        async def get_key(self, stream, index, most=1):
            raise ValueError("unforeseen")

    with pytest.raises(ExceptionGroup) as raised:
        await feed_of(Defective(), Ledger()).run()
    assert raised.group_contains(ValueError)

    async def refuse(material):
        raise ValueError("unforeseen")

    with pytest.raises(ExceptionGroup) as raised:
        await Feed(Source(), STREAM, 4, lambda: True, refuse).run()
    assert raised.group_contains(ValueError)


@in_virtual_time
async def test_a_cancelled_feed_leaves_nothing_behind():
    for moment in range(8):  # in the midst of pulling, and of storing
        feeding = asyncio.create_task(feed_of(Source(2), Ledger(store_s=2e-3)).run())
        await asyncio.sleep(moment * 5e-4)
        feeding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await feeding
