"""Key streams behind their server, over real TLS: calls as applications send them, cut off, at once, or senseless.

What the server refuses whoever stands behind it is in test_etsi004_server.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from qss.client.etsi004 import Etsi004Client
from qss.model.addresses import Address
from qss.model.errors import Shortage
from qss.model.identifiers import QksId, SaeId
from qss.servers.counts import CallCounts
from qss.servers.etsi004 import Etsi004Server
from qss.wire.etsi004.framing import ANSWERS, FORGE_VERSION, FrameDecoder
from qss.wire.etsi004.messages import (
    Answer,
    Close,
    CloseAnswer,
    Error,
    GetKey,
    GetKeyAnswer,
    OpenConnect,
    OpenConnectAnswer,
    QoS,
    decode,
    encode,
)
from qss.wire.etsi004.status import Status
from support.module_runners import until
from support.pki import Pki
from support.southbounds import admit_anybody
from support.stream_sites import ALICE, CAROL, NAMED, A, C, StreamSites


class Servers:
    """Both sites' servers, and applications that call them."""

    def __init__(self, pki: Pki, sites: StreamSites) -> None:
        self.pki = pki
        self.sites = sites
        self.servers = {
            site: Etsi004Server(
                "127.0.0.1",
                0,
                pki.server_context(site),
                lambda streams=each.streams: streams,
                admit_anybody,
                CallCounts(),
            )
            for site, each in ((A, sites.a), (C, sites.c))
        }

    def client(self, sae: SaeId, site: QksId) -> Etsi004Client:
        address = Address(*self.servers[site].address)
        return Etsi004Client(address, self.pki.sae_client_context(sae), lambda _: None)

    async def raw(self, sae: SaeId = ALICE, site: QksId = A) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = self.pki.sae_client_context(sae)
        return await asyncio.open_connection(*self.servers[site].address, ssl=context)

    def answered(self, site: QksId, method: str, status: str) -> int:
        wanted = {"method": method, "status": status}
        return sum(int(s.value) for s in self.servers[site].counts.samples() if dict(s.labels) == wanted)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Servers]:
    async with StreamSites() as sites, AsyncExitStack() as stack:
        servers = Servers(Pki(tmp_path), sites)
        for server in servers.servers.values():
            await server.start()
            stack.push_async_callback(server.close)
        yield servers


@asynccontextmanager
async def two(running: Servers) -> AsyncIterator[tuple[Etsi004Client, Etsi004Client]]:
    async with running.client(ALICE, A) as alice, running.client(CAROL, C) as carol:
        yield alice, carol


async def answers(reader: asyncio.StreamReader, count: int) -> list[Answer]:
    decoder, came = FrameDecoder(ANSWERS), list[Answer]()
    async with asyncio.timeout(10):
        while len(came) < count:
            data = await reader.read(65_536)
            assert data, "the server broke off"
            came += [decode(frame) for frame in decoder.feed(data)]
    return came


async def test_two_applications_get_the_same_chunks(running: Servers) -> None:
    async with two(running) as (alice, carol):
        both = await asyncio.gather(
            alice.open_connect(ALICE, CAROL, QoS(), NAMED), carol.open_connect(CAROL, ALICE, QoS(), NAMED)
        )
        assert [each.status for each in both] == [Status.SUCCESS] * 2
        for index in range(40):
            one, other = await asyncio.gather(alice.get_key(NAMED, index), carol.get_key(NAMED, index))
            assert one.key == other.key is not None
        assert await alice.close_stream(NAMED) is await carol.close_stream(NAMED) is Status.SUCCESS
    assert running.answered(A, "get_key", "success") == running.answered(C, "get_key", "success") == 40


async def test_calls_that_come_at_once_are_answered_in_order(running: Servers) -> None:
    async with running.client(CAROL, C) as carol:
        joining = asyncio.create_task(carol.open_connect(CAROL, ALICE, QoS(), NAMED))
        reader, writer = await running.raw()
        calls = [OpenConnect(ALICE, CAROL, QoS(), NAMED.value), *(GetKey(NAMED.value, n) for n in range(30))]
        calls += [Close(NAMED.value), GetKey(NAMED.value, 30)]
        writer.write(b"".join(encode(call, FORGE_VERSION) for call in calls))
        opened, *keys, closed, late = await answers(reader, len(calls))
        assert isinstance(opened, OpenConnectAnswer)
        assert opened.status == 0
        assert [(key.status, key.index) for key in keys if isinstance(key, GetKeyAnswer)] == [(0, n) for n in range(30)]
        assert closed == CloseAnswer(0)
        assert isinstance(late, GetKeyAnswer)
        assert late.status == 4
        assert (await joining).status is Status.SUCCESS
        writer.transport.abort()


async def test_a_call_that_is_cut_off_takes_nothing(running: Servers) -> None:
    running.sites.ledger.short = Shortage("there is none")
    async with two(running) as (alice, carol):
        await asyncio.gather(
            alice.open_connect(ALICE, CAROL, QoS(), NAMED), carol.open_connect(CAROL, ALICE, QoS(), NAMED)
        )
        _, writer = await running.raw()
        writer.write(encode(GetKey(NAMED.value, 0), FORGE_VERSION))
        await until(lambda: len(running.sites.a.streams._under_way) == 1)
        writer.transport.abort()
        await until(lambda: not running.sites.a.streams._under_way)
        running.sites.ledger.short = None
        one = await alice.get_key(NAMED, 0)
        assert (one.status, one.index) == (Status.SUCCESS, 0)
        assert (await carol.get_key(NAMED, 0)).key == one.key


async def test_an_open_that_is_cut_off_while_the_other_site_is_asked_opens_nothing(running: Servers) -> None:
    async def never(_: str) -> None:
        await asyncio.Event().wait()

    running.sites.c.streams._call = never  # type: ignore[assignment]
    reader, writer = await running.raw(CAROL, C)
    writer.write(encode(OpenConnect(CAROL, ALICE, QoS(), NAMED.value), FORGE_VERSION))
    await until(lambda: running.sites.c.streams.open == 1)
    writer.transport.abort()
    await until(lambda: running.sites.c.streams.open == 0)
    del reader


@pytest.mark.parametrize(
    "senseless",
    [
        struct.pack(">3BBI", 2, 1, 1, 0xFF, 0),
        struct.pack(">3BBI", 2, 1, 1, 0x02, 1 << 31),
        struct.pack(">3BBI", 9, 9, 9, 0x04, 20) + bytes(20),
        struct.pack(">3BBI", 2, 1, 1, 0x05, 4) + bytes(4),
        struct.pack(">3BBI", 2, 1, 1, 0x08, 15) + bytes(15),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_call_ends_its_connection_and_no_stream(running: Servers, senseless: bytes) -> None:
    async with two(running) as (alice, carol):
        await asyncio.gather(
            alice.open_connect(ALICE, CAROL, QoS(), NAMED), carol.open_connect(CAROL, ALICE, QoS(), NAMED)
        )
        reader, writer = await running.raw()
        writer.write(senseless)
        assert await answers(reader, 1) == [Error()]
        assert await reader.read() == b""
        writer.transport.abort()
        assert running.answered(A, "none", "refused") == 1
        assert (await alice.get_key(NAMED, 0)).key == (await carol.get_key(NAMED, 0)).key


async def test_streams_end_with_their_server(running: Servers) -> None:
    async with two(running) as (alice, carol):
        await asyncio.gather(
            alice.open_connect(ALICE, CAROL, QoS(), NAMED), carol.open_connect(CAROL, ALICE, QoS(), NAMED)
        )
        await running.servers[A].close()
        assert running.sites.a.streams.open == 0
        index = 0
        while (status := (await carol.get_key(NAMED, index)).status) is Status.SUCCESS:
            index += 1
        assert status is Status.NO_QKD_CONNECTION
