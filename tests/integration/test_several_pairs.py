"""Two device pairs of different rate on one link: modules in the same process, real stores, a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from qss.adapters.devices.simulator import RateSetSimulator
from qss.model.errors import Unavailable
from qss.model.identifiers import PairId, StreamId
from qss.model.keys import KeyRequest
from qss.model.records import BurnReason
from qss.model.simulator_settings import SimulatorSettings
from support.module_runners import TwoModules, until
from support.pki import Pki
from support.two_sites import ALICE, BOB, OneSite, TwoSites

FAST, SLOW = PairId(b"the fast devices"), PairId(b"the slow devices")
KEY_BYTES = 32
RATES_BPS = {FAST: 800_000, SLOW: 200_000}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("several-pairs") / "pki")


@dataclass
class TwoPairs:
    """Two sites, and the modules of both pairs."""

    sites: TwoSites
    modules: dict[PairId, TwoModules]

    async def exchange(self, number: int = 4) -> None:
        """Masters at both ends get keys, and their slaves the same, as soon as there is enough."""
        for here, there, master, slave in (
            (self.sites.a, self.sites.b, ALICE, BOB),
            (self.sites.b, self.sites.a, BOB, ALICE),
        ):
            async with asyncio.timeout(10):
                while True:
                    try:
                        keys = await here.key_server.get_key(master, slave, KeyRequest(number))
                    except Unavailable:
                        await asyncio.sleep(0.02)
                    else:
                        break
            fetched = await there.take(slave, master, tuple(key.key_id for key in keys))
            assert [key.material.reveal() for key in fetched] == [key.material.reveal() for key in keys]

    def stream(self, pair: PairId) -> StreamId | None:
        """The stream of a pair that both ends fill; None while they do not agree on one."""
        here, there = (site.link.core.open_stream(pair) for site in (self.sites.a, self.sites.b))
        return here if here == there else None

    async def until_streams(self, *pairs: PairId) -> dict[PairId, StreamId]:
        await until(lambda: all(self.stream(pair) is not None for pair in pairs))
        return {pair: stream for pair in pairs if (stream := self.stream(pair)) is not None}


@asynccontextmanager
async def two_pairs(tmp_path: Path, pki: Pki, **settings: object) -> AsyncIterator[TwoPairs]:
    made = {pair: new_modules(pair) for pair in RATES_BPS}
    sites = TwoSites(tmp_path, pki)
    sites.a.sources = {pair: modules.a for pair, modules in made.items()}
    sites.b.sources = {pair: modules.b for pair, modules in made.items()}
    sites.a.settings = sites.b.settings = {"capacity_bytes": 8192} | settings
    async with made[FAST], made[SLOW], sites:
        yield TwoPairs(sites, made)


def new_modules(pair: PairId) -> TwoModules:
    return TwoModules(
        *(RateSetSimulator(SimulatorSettings(rate_bps=RATES_BPS[pair]), block_bytes=1024) for _ in range(2))
    )


def delivered(site: OneSite) -> dict[StreamId, int]:
    return {record.stream: record.tally.delivered for record in site.link.core.streams}


def available(site: OneSite, stream: StreamId) -> int:
    return sum(record.available for record in site.link.core.streams if record.stream == stream)


def must_balance(site: OneSite) -> None:
    """Each bit that ever came into the link at this end is accounted for."""
    peer = site.link.core.peer
    past = peer.past
    assert peer.past_ingested == past.reserved + past.delivered + past.relayed + past.burned_total
    for record in site.link.core.streams:
        tally = record.tally
        accounted = 8 * record.available + tally.reserved + tally.delivered + tally.relayed + tally.burned_total
        assert accounted == 8 * record.mark


async def test_both_pairs_are_drawn_on_and_the_faster_one_more(tmp_path, pki) -> None:
    async with two_pairs(tmp_path, pki) as link:
        streams = await link.until_streams(FAST, SLOW)
        assert len({*streams.values()}) == 2
        while not all(delivered(link.sites.a)[stream] for stream in streams.values()):
            await link.exchange()
        for _ in range(60):
            await link.exchange(8)
        taken = delivered(link.sites.a)
        assert taken[streams[FAST]] > taken[streams[SLOW]] > 0
        must_balance(link.sites.a)
        must_balance(link.sites.b)


async def test_when_one_pairs_module_stops_keys_flow_on_and_nothing_is_lost_in_silence(tmp_path, pki) -> None:
    async with two_pairs(tmp_path, pki) as link:
        streams = await link.until_streams(FAST, SLOW)
        await link.exchange()
        ends = link.sites.a, link.sites.b
        await until(lambda: all(site.link.core.key_count(32) > 40 for site in ends))
        await link.modules[FAST].a.stop()
        await until(lambda: all(site.link.core.open_stream(FAST) is None for site in ends))
        for _ in range(8):
            await link.exchange()
        assert link.stream(SLOW) == streams[SLOW], "the other pair has gone on as if nothing were"
        async with asyncio.timeout(20):  # what both ends have of the stream that ended comes first
            while any(available(site, streams[FAST]) >= KEY_BYTES for site in ends):
                await link.exchange(1)
        for site in ends:
            must_balance(site)
            ended = {record.stream: record.tally for record in site.link.core.streams}.get(streams[FAST])
            burned = (ended or site.link.core.peer.past).burned
            assert {*burned} <= {BurnReason.CLOSED}, "only what one end had alone, or less than a key"


async def test_a_module_that_is_attached_again_has_a_stream_again(tmp_path, pki) -> None:
    async with two_pairs(tmp_path, pki) as link:
        streams = await link.until_streams(FAST, SLOW)
        a, b = link.sites.a.link, link.sites.b.link
        b.sources.detach(FAST, "it has left")
        await until(lambda: a.core.open_stream(FAST) is None and b.core.open_stream(FAST) is None)
        assert b.core.attached == {SLOW}
        await link.exchange()
        async with new_modules(FAST) as fresh:
            a.sources.attach(FAST, fresh.a)  # it takes the place of the one that is there
            b.sources.attach(FAST, fresh.b)
            anew = await link.until_streams(FAST, SLOW)
            assert anew[SLOW] == streams[SLOW]
            assert anew[FAST] != streams[FAST]
            while not delivered(link.sites.a).get(anew[FAST]):
                await link.exchange(16)
            must_balance(link.sites.a)
            must_balance(link.sites.b)


async def test_a_successor_takes_over_before_the_index_ends(tmp_path, pki) -> None:
    async with two_pairs(tmp_path, pki, successor_chunks=1) as link:
        seen: dict[StreamId, int] = {}
        while len(seen) < 4:
            await link.exchange(128)
            chunks = {record.stream: record.mark // record.chunk_bytes for record in link.sites.b.link.core.streams}
            stream = link.stream(FAST)
            if stream is not None:
                seen[stream] = chunks[stream]
        assert max(seen.values()) < 8, "one, and some for the time that opening takes"
        must_balance(link.sites.a)
        must_balance(link.sites.b)


async def test_what_is_attached_stays_so_when_the_link_starts_over(tmp_path, pki) -> None:
    async with two_pairs(tmp_path, pki) as link:
        before = await link.until_streams(FAST, SLOW)
        link.sites.a.store.full = True
        await until(lambda: link.sites.a.link.core.trouble is not None)
        link.sites.a.store.full = False
        await until(lambda: {*before.values()}.isdisjoint({link.stream(FAST), link.stream(SLOW), None}))
        await link.exchange()
