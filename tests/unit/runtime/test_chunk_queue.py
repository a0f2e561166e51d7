"""One key stream's accepted bytes: cut into chunks, given once and in order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import DeviceError, StreamEnded
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.runtime.module import chunks as chunk_module
from qss.runtime.module.chunks import ChunkQueue
from support.virtual_time import in_virtual_time, settled

STREAM = StreamId(bytes(16))


def queue_of(*blocks, chunk_bytes=4):
    queue = ChunkQueue(STREAM, chunk_bytes)
    for block in blocks:
        queue.append(KeyMaterial(block))
    return queue


async def all_of(queue, start=0):
    """Pull until the end; return the chunks and the reason."""
    got = []
    while True:
        try:
            got.append((await queue.take(start + len(got))).reveal())
        except StreamEnded as ended:
            return got, str(ended)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.integers(1, 17))
def test_chunks_are_the_blocks_in_order_and_the_rest_is_destroyed(blocks, chunk_bytes):
    @in_virtual_time
    async def run():
        queue = queue_of(*blocks, chunk_bytes=chunk_bytes)
        queue.end("over")
        got, reason = await all_of(queue)
        everything = b"".join(blocks)
        assert b"".join(got) == everything[: len(everything) // chunk_bytes * chunk_bytes]
        assert all(len(chunk) == chunk_bytes for chunk in got)
        assert reason == "over"
        assert queue.destroy() == len(everything) % chunk_bytes
        assert queue.destroy() == 0

    run()


@in_virtual_time
async def test_a_chunk_is_waited_for():
    queue = queue_of(b"abc")
    taking = asyncio.create_task(queue.take(0))
    await asyncio.sleep(10)
    assert not taking.done()
    queue.append(KeyMaterial(b"defgh"))
    assert (await taking).reveal() == b"abcd"
    assert (await queue.take(1)).reveal() == b"efgh"


@in_virtual_time
async def test_each_index_is_given_once_and_in_order():
    queue = queue_of(b"abcdefgh")
    for wrong in (1, 2, -1):
        with pytest.raises(DeviceError, match="chunk 0 is next"):
            await queue.take(wrong)
    await queue.take(0)
    with pytest.raises(DeviceError, match="chunk 1 is next"):
        await queue.take(0)
    assert (await queue.take(1)).reveal() == b"efgh"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.integers(1, 17), st.integers(1, 9))
def test_chunks_that_are_ready_are_given_together_up_to_so_many(blocks, chunk_bytes, most):
    @in_virtual_time
    async def run():
        queue = queue_of(*blocks, chunk_bytes=chunk_bytes)
        queue.end("over")
        everything, got, index = b"".join(blocks), b"", 0
        while queue.ready:
            ready = queue.ready
            given_now = (await queue.take(index, most)).reveal()
            assert len(given_now) == min(most, ready) * chunk_bytes
            index += len(given_now) // chunk_bytes
            got += given_now
        assert got == everything[: len(everything) // chunk_bytes * chunk_bytes]
        with pytest.raises(StreamEnded):
            await queue.take(index, most)

    run()


@in_virtual_time
async def test_of_two_who_wait_for_one_chunk_one_gets_it():
    queue = queue_of()
    waiting = [asyncio.create_task(queue.take(0)) for _ in range(2)]
    await settled()
    queue.append(KeyMaterial(b"abcdefgh"))
    got = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in got] == [KeyMaterial, DeviceError]
    assert (await queue.take(1)).reveal() == b"efgh"


@in_virtual_time
async def test_a_cancelled_taker_has_taken_nothing():
    for steps in range(6):
        queue = queue_of()
        taking = asyncio.create_task(queue.take(0))
        await settled()
        queue.append(KeyMaterial(b"abcd"))
        for _ in range(steps):
            await asyncio.sleep(0)
        if not taking.cancel():
            break  # it had its chunk before
        await asyncio.wait([taking])
        assert (await queue.take(0)).reveal() == b"abcd"
    else:
        pytest.fail("it never got its chunk")


@in_virtual_time
async def test_an_end_wakes_those_who_wait_and_the_first_reason_stays():
    queue = queue_of(b"abc")
    taking = asyncio.create_task(all_of(queue))
    await settled()
    queue.end("its peer has gone")
    queue.end("it was closed")
    assert await taking == ([], "its peer has gone")


@in_virtual_time
async def test_what_was_destroyed_cannot_be_taken():
    queue = queue_of(b"abcdefgh")
    queue.end("it was closed")
    assert queue.destroy() == 8
    assert await all_of(queue) == ([], "it was closed")


@in_virtual_time
async def test_the_last_index_ends_the_stream(monkeypatch):
    monkeypatch.setattr(chunk_module, "MAX_CHUNKS", 2)
    got, reason = await all_of(queue_of(b"abcdefghijkl"))
    assert got == [b"abcd", b"efgh"]
    assert "successor" in reason
    assert (await queue_of(b"abcdefghijkl").take(0, 3)).reveal() == b"abcdefgh"


def test_a_chunk_has_been_ready_since_its_last_byte_came():
    now = 10.0
    queue = ChunkQueue(STREAM, 6, lambda: now)
    queue.append(KeyMaterial(b"abcd"))
    assert queue.ready == 0
    now = 11.0
    queue.append(KeyMaterial(b"efghijkl"))
    now = 12.0
    queue.append(KeyMaterial(b"mnopqrs"))
    assert queue.ready == 3
    given = [queue.take_ready() for _ in range(3)]
    assert [(chunk.reveal(), since) for chunk, since in given] == [
        (b"abcdef", 11.0),
        (b"ghijkl", 11.0),
        (b"mnopqr", 12.0),
    ]
    assert queue.ready == 0
    assert queue.destroy() == 1
