"""What every key source promises (`qss.ports.key_source`)."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from qss.model.errors import DeviceError, StreamEnded
from qss.model.identifiers import QksId, StreamId

A, B = QksId("A"), QksId("B")


async def both_open(sources, chunk_bytes=1024):
    opened = await sources.a.open_connect(A, B, None, chunk_bytes)
    assert await sources.b.open_connect(B, A, opened.stream, opened.chunk_bytes) == opened
    return opened


async def pull(source, stream, count):
    return [(await source.get_key(stream, index)).reveal() for index in range(count)]


async def drain(source, stream, start):
    """Pull until the source refuses."""
    for index in itertools.count(start):
        await source.get_key(stream, index)


async def join_and_pull(source, opened):
    await source.open_connect(B, A, opened.stream, opened.chunk_bytes)
    await source.get_key(opened.stream, 0)


async def test_both_ends_get_the_same_chunks_of_the_agreed_size_and_no_chunk_twice(sources):
    opened = await both_open(sources, 512)
    one, two = await asyncio.gather(pull(sources.a, opened.stream, 100), pull(sources.b, opened.stream, 100))
    assert one == two
    assert {len(chunk) for chunk in one} == {512}
    assert len(set(one)) == 100


async def test_without_a_size_the_opener_is_given_one_that_fits(sources):
    opened = await both_open(sources, None)
    assert opened.chunk_bytes & (opened.chunk_bytes - 1) == 0
    assert len(await sources.b.get_key(opened.stream, 0)) == opened.chunk_bytes


async def test_each_index_is_given_once_and_in_order(sources):
    opened = await both_open(sources)
    await sources.a.get_key(opened.stream, 0)
    for index in (0, 2):
        with pytest.raises(DeviceError):
            await sources.a.get_key(opened.stream, index)
    await sources.a.get_key(opened.stream, 1)


async def test_several_may_be_given_at_once_and_the_index_goes_on_behind_them(sources):
    opened = await both_open(sources, 512)
    index, got = 0, b""
    while index < 60:
        chunks = (await sources.a.get_key(opened.stream, index, 7)).reveal()
        assert len(chunks) in range(512, 8 * 512, 512)
        index += len(chunks) // 512
        got += chunks
    assert got == b"".join(await pull(sources.b, opened.stream, index))


async def test_a_cancelled_ask_takes_nothing(sources):
    opened = await sources.a.open_connect(A, B, None, 1024)
    ask = asyncio.create_task(sources.a.get_key(opened.stream, 0))
    await asyncio.sleep(0)
    ask.cancel()
    await asyncio.wait({ask})
    await sources.b.open_connect(B, A, opened.stream, opened.chunk_bytes)
    assert await sources.a.get_key(opened.stream, 0) == await sources.b.get_key(opened.stream, 0)


@pytest.mark.parametrize("closer", ["a", "b"])
async def test_a_close_at_one_end_ends_the_stream_at_both(sources, closer):
    opened = await both_open(sources)
    await pull(sources.a, opened.stream, 2)
    await getattr(sources, closer).close(opened.stream)
    for source in (sources.a, sources.b):
        with pytest.raises(StreamEnded):
            await drain(source, opened.stream, 2 if source is sources.a else 0)


async def test_whoever_waits_for_key_is_told_of_the_end(sources):
    opened = await sources.a.open_connect(A, B, None, 1024)
    ask = asyncio.create_task(sources.a.get_key(opened.stream, 0))
    await asyncio.sleep(0)
    await sources.a.close(opened.stream)
    with pytest.raises(StreamEnded):
        await ask


async def test_a_successor_runs_after_a_close_with_other_key(sources):
    first = await both_open(sources)
    before = await pull(sources.a, first.stream, 3)
    await sources.a.close(first.stream)
    second = await both_open(sources)
    assert second.stream != first.stream
    one, two = await asyncio.gather(pull(sources.a, second.stream, 10), pull(sources.b, second.stream, 10))
    assert one == two
    assert not set(one) & set(before)


async def test_a_late_joiner_of_a_closed_stream_is_told(sources):
    opened = await sources.a.open_connect(A, B, None, 1024)
    await sources.a.close(opened.stream)
    with pytest.raises(DeviceError):
        await join_and_pull(sources.b, opened)


async def test_unknown_streams_are_closed_without_error_and_yield_nothing(sources):
    unknown = StreamId(b"u" * 16)
    await sources.a.close(unknown)
    with pytest.raises(StreamEnded):
        await sources.a.get_key(unknown, 0)


async def test_the_wrong_end_and_the_wrong_site_are_refused(sources):
    stream = StreamId(b"u" * 16)
    for asked in (
        sources.a.open_connect(A, B, stream, 1024),
        sources.a.open_connect(B, A, None, 1024),
        sources.b.open_connect(B, A, None, 1024),
        sources.b.open_connect(B, A, stream, None),
        sources.a.open_connect(A, B, None, 1 << 30),
    ):
        with pytest.raises(DeviceError):
            await asked
