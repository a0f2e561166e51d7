"""Keys for slaves at several sites, with real stores, barriers and keys: what came, and what does when a site fails.

The three sites are those of the simulated network, in virtual time: A in the middle, with a link to B and one to C.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from qss.core.reservation import events as ev
from qss.model.errors import LimitReached, PeerUnavailable, QssError, Shortage
from qss.model.identifiers import QksId, SaeId
from qss.model.keys import Key, KeyIdsRequest, KeyRequest
from qss.model.records import COVERED_FROM, BurnReason, Scope
from qss.runtime.link import LinkRunner
from scenarios.world import SimulatedSite, World

A, B, C = map(QksId, "ABC")
ALICE, BOB, CAROL = map(SaeId, ("alice", "bob", "carol"))
REQUEST = KeyRequest(2, 256, (CAROL,))

Test = Callable[["Sites"], Awaitable[None]]


class Sites:
    """Site A with B and C, all connected and with key."""

    def __init__(self) -> None:
        roads = (("A", "B"), ("A", "C"))
        self.world = World(1, roads, {"alice": "A", "bob": "B", "carol": "C"})
        self.a, self.b, self.c = (self.world.sites[name] for name in (A, B, C))

    def run(self, test: Test) -> None:
        loop = self.world.loop
        asyncio.set_event_loop(None)
        try:
            loop.run_until_complete(self._run(test))
        finally:
            loop.close()

    async def _run(self, test: Test) -> None:
        for site in self.world.sites.values():
            await site.start()
        await asyncio.sleep(3.0)
        await test(self)
        for site in self.world.sites.values():
            if site.running:
                await site.site.stop()
                site.running = False
                for task in list(site.tasks):
                    task.cancel()
        assert not self.world.violations
        await asyncio.sleep(0.1)

    async def get(self, request: KeyRequest = REQUEST) -> tuple[Key, ...]:
        return await self.a.key_server.get_key(ALICE, BOB, request)

    async def take(self, site: SimulatedSite, slave: SaeId, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        request = KeyIdsRequest(tuple(key.key_id for key in keys))
        return await site.key_server.get_key_with_ids(slave, ALICE, request)

    async def use_up(self, peer: QksId, request: KeyRequest) -> None:
        """Ask until it is refused."""
        while True:
            await self.a.key_server.get_key(ALICE, CAROL if peer == C else BOB, request)

    def link(self, site: SimulatedSite, peer: QksId) -> LinkRunner:
        return site.site.links[peer]

    def burned(self, site: SimulatedSite, peer: QksId, reason: BurnReason = BurnReason.UNCONFIRMED) -> int:
        return sum(record.tally.burned.get(reason, 0) for record in self.link(site, peer).core.streams)

    async def nothing_is_left(self) -> None:
        """No site holds anything of what was given up."""
        await asyncio.sleep(1.0)
        for site, peer in ((self.a, B), (self.a, C), (self.b, A), (self.c, A)):
            assert not self.link(site, peer).core.reservations


def secrets(keys: tuple[Key, ...]) -> list[bytes]:
    return [key.material.reveal() for key in keys]


def run(test: Test) -> None:
    Sites().run(test)


def test_all_get_the_same_and_what_covered_it_is_erased() -> None:
    async def test(sites: Sites) -> None:
        got = await sites.get()
        await asyncio.sleep(1.0)
        blocks = [block for block in sites.c.disk.blocks.values() if block.start >= COVERED_FROM]
        assert sum(block.length for block in blocks) == 64
        (row,) = sites.link(sites.c, A).core.reservations
        stored = [block for block in sites.c.disk.blocks.values() if block.stream == row.stream]
        assert not any(block.start < row.range.stop and row.start < block.start + block.length for block in stored)
        for site, slave in ((sites.b, BOB), (sites.c, CAROL)):
            assert secrets(await sites.take(site, slave, got)) == secrets(got)
        await sites.nothing_is_left()
        assert not [block for block in sites.c.disk.blocks.values() if block.start >= COVERED_FROM]
        assert sites.a.key_server._outstanding(ALICE) == 0

    run(test)


def test_a_cover_that_was_altered_on_its_way_gives_nobody_anything() -> None:
    async def test(sites: Sites) -> None:
        runner = sites.link(sites.c, A)
        perform = runner.parts.perform

        def altered(effect: Any) -> None:
            if isinstance(effect, ev.OpenCover):
                effect = replace(effect, sealed=bytes([effect.sealed[0] ^ 1]) + effect.sealed[1:])
            perform(effect)

        runner.parts.perform = altered  # type: ignore[method-assign]
        with pytest.raises(PeerUnavailable, match="site C refused"):
            await sites.get(replace(REQUEST, name="n"))
        await sites.nothing_is_left()
        assert sites.burned(sites.c, A) == 8 * 96
        assert sites.burned(sites.b, A) == sites.burned(sites.a, B) == 8 * 64
        assert sites.burned(sites.a, C, BurnReason.REFUSED) == 8 * 96
        runner.parts.perform = perform  # type: ignore[method-assign]
        got = await sites.get(replace(REQUEST, name="n"))
        assert secrets(await sites.take(sites.c, CAROL, got)) == secrets(got)

    run(test)


@pytest.mark.parametrize("lost", [B, C])
@pytest.mark.parametrize("steps", range(0, 120, 12))
def test_whenever_a_site_is_lost_all_have_the_keys_or_nobody_was_answered(lost: QksId, steps: int) -> None:
    async def test(sites: Sites) -> None:
        road = sites.world.road(A, lost)

        async def cut() -> None:
            for connection in road.connections:
                connection.cut()

        sites.world.at_step(steps, cut)
        try:
            got = await sites.get()
        except PeerUnavailable:
            await asyncio.sleep(3.0)
            await sites.nothing_is_left()
            return
        await asyncio.sleep(3.0)
        for site, slave in ((sites.b, BOB), (sites.c, CAROL)):
            assert secrets(await sites.take(site, slave, got)) == secrets(got)

    run(test)


@pytest.mark.parametrize("steps", range(0, 120, 6))
def test_whenever_the_masters_site_is_killed_a_repeat_is_had_at_all_sites(steps: int) -> None:
    async def test(sites: Sites) -> None:
        sites.world.at_step(steps, sites.a.crash)
        first = sites.a.spawn(sites.get(replace(REQUEST, name="n")))
        await asyncio.wait({first}, timeout=5.0)
        await asyncio.sleep(1.0)
        await sites.a.crash()
        await sites.a.start()
        await asyncio.sleep(5.0)
        got = await sites.get(replace(REQUEST, name="n"))
        if not first.cancelled() and first.exception() is None:
            assert secrets(first.result()) == secrets(got)
        for site, slave in ((sites.b, BOB), (sites.c, CAROL)):
            assert secrets(await sites.take(site, slave, got)) == secrets(got)

    run(test)


def test_concurrent_repeats_get_what_the_first_gets() -> None:
    async def test(sites: Sites) -> None:
        named = replace(REQUEST, name="n")
        got = await asyncio.gather(*(sites.get(named) for _ in range(5)))
        assert all(secrets(each) == secrets(got[0]) for each in got)
        assert len(sites.link(sites.a, C).core.reservations) == 1

    run(test)


def test_a_shortage_at_one_site_costs_no_other_anything() -> None:
    async def test(sites: Sites) -> None:
        channel = sites.world.road(A, C).channels[0]
        sites.c.detach(A, channel, gone=True)
        await asyncio.sleep(1.0)
        with pytest.raises(Shortage):
            await sites.use_up(C, KeyRequest(16, 4096))
        before = sites.link(sites.a, B).core.streams[0].head
        with pytest.raises(Shortage):
            await sites.get(KeyRequest(16, 4096, (CAROL,)))
        assert sites.link(sites.a, B).core.streams[0].head == before

    run(test)


def test_an_asker_that_goes_away_leaves_nothing_behind() -> None:
    async def test(sites: Sites) -> None:
        asking = asyncio.ensure_future(sites.get())
        await asyncio.sleep(0.004)
        asking.cancel()
        await asyncio.wait({asking})
        await sites.nothing_is_left()

    run(test)


@pytest.mark.parametrize("at", [A, B, C])
def test_a_recall_at_any_site_burns_at_all(at: QksId) -> None:
    async def test(sites: Sites) -> None:
        got = await sites.get()
        await asyncio.sleep(1.0)
        site = sites.world.sites[at]
        peer = site.neighbours[0]
        await sites.link(site, peer).asks.recall(Scope(tuple(key.key_id for key in got)))
        await asyncio.sleep(1.0)
        for where, slave in ((sites.b, BOB), (sites.c, CAROL)):
            assert sites.burned(where, A, BurnReason.VOIDED) == 8 * 64
            with pytest.raises(QssError):
                await sites.take(where, slave, got)

    run(test)


def test_full_books_at_one_site_refuse_before_anything_is_allocated() -> None:
    async def test(sites: Sites) -> None:
        with pytest.raises(LimitReached):
            await sites.use_up(C, KeyRequest(1, 64))
        before = sites.link(sites.a, B).core.streams[0].head
        with pytest.raises(LimitReached):
            await sites.get()
        assert sites.link(sites.a, B).core.streams[0].head == before

    run(test)
