"""A road carries what goes over it, and is out of order when it is told to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from qss.model.identifiers import QksId
from torture.road import Road

A, B = QksId("A"), QksId("B")
PATIENCE_S = 10.0
A_WHILE_S = 0.2


@pytest.fixture
async def road() -> AsyncIterator[Road]:
    """A road whose ends say all back that they hear."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(100):
                writer.write(piece)
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()[:2]
        async with Road((A, B), {A: address, B: address}) as road:
            yield road


@asynccontextmanager
async def traveller(road: Road) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = road.door(B).split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def heard(reader: asyncio.StreamReader, count: int) -> bytes:
    """What comes, at most so much; what came before an end."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.readexactly(count)
        except asyncio.IncompleteReadError as end:
            return end.partial
        except OSError:
            return b""


async def test_in_order_it_carries_everything(road: Road) -> None:
    content = bytes(range(256)) * 2000
    async with traveller(road) as (reader, writer):
        writer.write(content)
        assert await heard(reader, len(content)) == content
    assert road.connections == 1


async def test_a_cut_ends_what_is_open_and_nothing_else(road: Road) -> None:
    async with traveller(road) as (reader, writer):
        writer.write(b"before")
        assert await heard(reader, 6) == b"before"
        road.cut()
        assert await heard(reader, 1) == b""
    async with traveller(road) as (reader, writer):
        writer.write(b"after")
        assert await heard(reader, 5) == b"after"


async def test_a_stalled_road_holds_back_until_it_is_mended(road: Road) -> None:
    async with traveller(road) as (reader, writer):
        road.stall()
        writer.write(b"held back")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), A_WHILE_S)
        road.mend()
        assert await heard(reader, 9) == b"held back"


async def test_a_torn_connection_ends_within_a_piece(road: Road) -> None:
    async with traveller(road) as (reader, writer):
        road.tear()
        writer.write(b"0123456789")
        assert await heard(reader, 10) in (b"", b"01", b"01234")
    road.mend()
    async with traveller(road) as (reader, writer):
        writer.write(b"whole")
        assert await heard(reader, 5) == b"whole"


async def test_a_closed_road_refuses(road: Road) -> None:
    async with traveller(road) as (reader, writer):
        road.close()
        assert await heard(reader, 1) == b""
    async with traveller(road) as (reader, writer):
        assert await heard(reader, 1) == b""
    road.mend()
    async with traveller(road) as (reader, writer):
        writer.write(b"open")
        assert await heard(reader, 4) == b"open"
