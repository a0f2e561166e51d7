"""Key streams of applications over whole sites: a row A, B, C in one process, with real stores and TLS connections.

Applications call as they would: with the client of ETSI GS QKD 004, and their own certificates.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from qss.client.etsi004 import Etsi004Client, Opened
from qss.core.module.sessions import metadata_room
from qss.model.addresses import Address
from qss.model.certificates import site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.model.records import Scope, Side
from qss.model.relay_policy import MAX_HOPS
from qss.pki.contexts import application_context
from qss.wire.etsi004.messages import QoS
from qss.wire.etsi004.status import Status
from support.relaying_sites import ALICE, BOB, CAROL, ROW, A, B, C, D, RelayingSites, has_any, relaying_sites, windows

ROOM = metadata_room(MAX_HOPS - 1)
QOS = QoS(key_chunk_size=500, timeout=15_000, metadata_mimetype="application/json")
HASTY = QoS(key_chunk_size=500, timeout=300)


def with_streams(_: QksId, text: str) -> str:
    return f'{text}\n[key_streams]\nlisten = "127.0.0.1:0"\n'


@asynccontextmanager
async def row(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change=with_streams, links=ROW
) -> AsyncIterator[RelayingSites]:
    async with relaying_sites(folder, monkeypatch, links, change) as sites:
        await sites.until_keys((ALICE, BOB), (ALICE, CAROL), (CAROL, ALICE))
        yield sites


class App:
    """One application, and the stream that it has open with another one."""

    def __init__(self, sites: RelayingSites, sae: SaeId, at: QksId | None = None) -> None:
        home, pair = at or sites.network.homes[sae], sites.network.pki.sae(sae)
        context = application_context(pair.certificate, pair.key, sites.network.pki.authority.certificate)
        address = Address.parse(sites.nodes[home].listening()["key_streams"])

        def verify(certificate) -> None:
            if site_of(certificate) != home:
                raise Unauthorised("this is another site")

        self.sae = sae
        self.client = Etsi004Client(address, context, verify)
        self.stream = StreamId(bytes(16))
        self.hops: list[int] = []
        self.seen: set[int] = set()

    async def open(self, other: SaeId, stream: StreamId | None = None, qos: QoS = QOS) -> Opened:
        opened = await self.client.open_connect(self.sae, other, qos, stream)
        if opened.stream is not None:
            self.stream = opened.stream
        return opened

    async def status(self, index: int) -> Status:
        return (await self.client.get_key(self.stream, index, timeout_ms=15_000)).status

    async def get(self, index: int) -> bytes:
        self.seen.add(index)
        chunk = await self.client.get_key(self.stream, index, ROOM, timeout_ms=15_000)
        assert (chunk.status, chunk.index) == (Status.SUCCESS, index)
        assert chunk.key is not None
        if chunk.metadata:
            self.hops.append(json.loads(chunk.metadata)["hops"])
        return chunk.key.reveal()


@asynccontextmanager
async def apps(sites: RelayingSites, *saes: SaeId) -> AsyncIterator[list[App]]:
    made = [App(sites, sae) for sae in saes]
    yield made
    for app in made:
        app.client.disconnect()


async def meet(one: App, other: App, qos: QoS = QOS) -> None:
    """Open a stream at both ends, `one` first."""
    assert (await one.open(other.sae, qos=qos)).status is Status.PEER_NOT_CONNECTED
    assert (await other.open(one.sae, one.stream, qos)).status is Status.SUCCESS


async def agree(one: App, other: App, count: int, start: int = 0) -> list[bytes]:
    got = []
    for index in range(start, start + count):
        got.append(await one.get(index))
        assert await other.get(index) == got[-1]
    return got


@pytest.mark.parametrize(("parties", "hops"), [((ALICE, BOB), 0), ((ALICE, CAROL), 1), ((CAROL, ALICE), 1)])
async def test_two_applications_get_the_same_chunks_and_are_told_the_repeaters(
    parties: tuple[SaeId, SaeId], hops: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with row(tmp_path, monkeypatch) as sites, apps(sites, *parties) as (one, other):
        await meet(one, other)
        got = await agree(one, other, 10)
        assert {len(chunk) for chunk in got} == {500}
        assert one.hops == other.hops == [hops] * 10
        assert await one.get(9) == got[9]
        assert await one.status(3) is Status.INSUFFICIENT_KEY
        assert await one.client.close_stream(one.stream) is Status.SUCCESS
        assert await one.status(10) is Status.NO_QKD_CONNECTION
        assert await other.client.close_stream(one.stream) is Status.SUCCESS
        assert (await one.open(other.sae, one.stream)).status is Status.KSID_IN_USE
        await sites.at_rest()
        secrets = windows(got)
        assert len(secrets) > 4000
        assert not has_any(b"".join(sites.frames[B]), secrets)  # nor anything of theirs in the meeting or its Sync


async def test_the_repeaters_of_a_longer_way_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = ((A, B), (B, D), (C, D))
    async with row(tmp_path, monkeypatch, links=links) as sites, apps(sites, ALICE, CAROL) as (alice, carol):
        await meet(alice, carol)
        await agree(alice, carol, 5)
        assert alice.hops == carol.hops == [2] * 5


async def test_both_at_once_and_many_streams_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with row(tmp_path, monkeypatch) as sites, apps(sites, *[ALICE, CAROL] * 5) as made:
        pairs = list(zip(made[::2], made[1::2], strict=True))

        async def run(one: App, other: App, name: StreamId) -> list[bytes]:
            opened = await asyncio.gather(one.open(other.sae, name), other.open(one.sae, name))
            assert {each.status for each in opened} == {Status.SUCCESS}
            return await agree(one, other, 4)

        got = await asyncio.gather(*(run(*pair, StreamId(bytes([n]) * 16)) for n, pair in enumerate(pairs, 1)))
        assert len({chunk for chunks in got for chunk in chunks}) == 20


async def test_who_is_neither_of_the_two_or_at_home_elsewhere_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with row(tmp_path, monkeypatch) as sites, apps(sites, ALICE, CAROL, BOB) as (alice, carol, bob):
        await meet(alice, carol)
        (first,) = await agree(alice, carol, 1)
        stranger = App(sites, BOB, at=A)  # his certificate is good, and his home is B
        assert (await stranger.open(CAROL, alice.stream, HASTY)).status is Status.NO_QKD_CONNECTION
        assert (await bob.open(CAROL, alice.stream, HASTY)).status is Status.PEER_NOT_CONNECTED  # one of his own
        stranger.stream = alice.stream
        assert await stranger.status(0) is Status.NO_QKD_CONNECTION
        assert await bob.status(0) is Status.PEER_APPLICATION_NOT_CONNECTED
        assert await stranger.client.close_stream(alice.stream) is Status.NO_QKD_CONNECTION
        assert (await alice.client.open_connect(BOB, CAROL, QOS, None)).status is Status.NO_QKD_CONNECTION
        stranger.client.disconnect()
        assert first not in await agree(alice, carol, 2, start=1)


async def test_key_that_was_under_aes_is_not_among_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def thrifty(name: QksId, text: str) -> str:
        lines = [
            f'{line}\nrelay = {{ hop = "aes-256-gcm" }}' if line.startswith("slaves") else line
            for line in with_streams(name, text).splitlines()
        ]
        return "\n".join(lines) + "\n"

    async with row(tmp_path, monkeypatch, thrifty) as sites, apps(sites, ALICE, CAROL) as (alice, carol):
        await sites.keys()
        before = {s.stream: s.tally.delivered for s in sites.sites[A].links[C].core.streams if "aes" in s.policy}
        assert before
        await meet(alice, carol)
        await agree(alice, carol, 5)
        after = {s.stream: s.tally.delivered for s in sites.sites[A].links[C].core.streams if "aes" in s.policy}
        assert after == before


async def test_too_little_key_is_told_and_what_comes_later_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quota(name: QksId, text: str) -> str:
        return f"{with_streams(name, text)}\n[quotas]\nsae_bps = 1000\nburst_s = 10\n"

    async with relaying_sites(tmp_path, monkeypatch, change=quota) as sites:
        await sites.until_keys((BOB, CAROL), (CAROL, BOB))
        async with apps(sites, ALICE, BOB) as (alice, bob):
            await meet(alice, bob, HASTY)
            index = 0
            while (status := await alice.status(index)) is Status.SUCCESS:
                assert await bob.status(index) is Status.SUCCESS
                index += 1
            assert status is Status.INSUFFICIENT_KEY
            assert index <= 3  # 1,250 bytes, in blocks of 1,024
            assert await alice.status(index) is Status.INSUFFICIENT_KEY
            async with asyncio.timeout(20):
                while await alice.status(index) is not Status.SUCCESS:
                    pass
            assert await bob.get(index) == await alice.get(index)


async def test_every_bit_of_a_stream_is_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with row(tmp_path, monkeypatch) as sites, apps(sites, ALICE, CAROL) as (alice, carol):
        await sites.at_rest()
        before = delivered(sites, A), delivered(sites, C)
        await meet(alice, carol)
        await agree(alice, carol, 8)
        await alice.client.close_stream(alice.stream)
        await carol.client.close_stream(alice.stream)
        async with asyncio.timeout(10):
            while any(row.side is Side.SLAVE for row in sites.sites[C].links[A].core.reservations):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        spent = delivered(sites, A) - before[0]
        assert spent == delivered(sites, C) - before[1]
        assert 8 * 4000 < spent <= 8 * (4000 + 500 + 6 * 1024)
        sites.must_balance()


def delivered(sites: RelayingSites, here: QksId) -> int:
    link = sites.sites[here].links[C if here == A else A].core
    return sum(record.tally.delivered for record in link.streams) + link.peer.past.delivered


@pytest.mark.parametrize("stopped", [A, C])
async def test_a_site_that_stops_ends_its_streams_and_new_ones_can_be_opened(
    stopped: QksId, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with row(tmp_path, monkeypatch) as sites, apps(sites, ALICE, CAROL) as (alice, carol):
        await meet(alice, carol)
        first = await agree(alice, carol, 3)
        left, gone = (carol, alice) if stopped == A else (alice, carol)
        await sites.stop(stopped)
        index = 3
        while await left.status(index) is Status.SUCCESS:
            index += 1
        assert await left.status(index) is Status.NO_QKD_CONNECTION
        assert index <= 6
        await sites.start(stopped)
        gone.client.disconnect()
        again = App(sites, gone.sae)
        await sites.until_keys((ALICE, CAROL))
        assert (await left.open(gone.sae, left.stream)).status is not Status.PEER_NOT_CONNECTED
        await left.client.close_stream(left.stream)
        async with asyncio.timeout(30):
            while True:
                try:
                    await meet(left, again)
                    break
                except AssertionError:
                    await asyncio.sleep(0.3)
        assert set(first).isdisjoint(await agree(left, again, 3))
        assert left.hops[-1] == again.hops[-1] == 1  # of key from before the restart too
        again.client.disconnect()


async def test_a_recall_takes_nothing_from_a_stream_but_what_was_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with row(tmp_path, monkeypatch) as sites, apps(sites, ALICE, CAROL) as (alice, carol):
        await meet(alice, carol)
        await agree(alice, carol, 2)
        await sites.sites[A].links[C].asks.recall(Scope(sae=ALICE))
        await agree(alice, carol, 4, start=2)


async def test_key_servers_that_lose_each_other_for_a_while_go_on_with_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The modules have not lost each other: key is short meanwhile, and that is what is said."""
    async with row(tmp_path, monkeypatch) as sites, apps(sites, ALICE, CAROL) as (alice, carol):
        await meet(alice, carol)
        await agree(alice, carol, 2)
        for _ in range(3):
            connection = sites.sites[A].links[C]._session._connection
            assert connection is not None
            await connection.close()
            await agree(alice, carol, 6, start=len(alice.seen))
