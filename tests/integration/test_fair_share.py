"""A link that floods the site's store is held to its share: the other links' commits are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from qss.model.errors import LimitReached
from qss.model.identifiers import QksId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import KeyRequest
from qss.ports.store import Change
from qss.runtime import commits
from qss.simulation.store import SimulatedStore
from scenarios import world as worlds
from scenarios.scenario import LINE
from scenarios.world import SimulatedSite, World

A, B, C = map(QksId, ("A", "B", "C"))
ALICE, BOB, CAROL = map(SaeId, ("alice", "bob", "carol"))
WAITING, SHARED = 40, 30


class SmallStore(SimulatedStore):
    """A store that lets few commits wait, and refuses whoever comes last."""

    async def commit(self, batch: Sequence[Change], fence: int) -> int:
        if len(self._waiting) >= WAITING:
            raise LimitReached("too much waits for the disk")
        return await super().commit(batch, fence)


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(worlds, "SimulatedStore", SmallStore)
    monkeypatch.setattr(commits, "ALL_COMMITS", SHARED)
    world = World(1, *LINE)
    yield world
    world.loop.close()


async def until_keys(site: SimulatedSite, count: int) -> None:
    async with asyncio.timeout(60):
        while min(runner.core.key_count(16) for runner in site.site.links.values()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def in_this_world(world: World, work) -> None:
    async def run() -> None:
        for site in world.sites.values():
            await site.start()
        try:
            await work()
        finally:
            for site in world.sites.values():
                await site.crash()

    world.loop.run_until_complete(run())


def test_an_innocent_link_is_served_while_another_floods_a_slow_disk(world):
    async def flood() -> None:
        site = world.sites[B]
        await until_keys(site, 200)
        cores = [runner.core for runner in site.site.links.values()]
        named = KeyRequest(1, 128, name="once")
        kept = await site.key_server.get_key(BOB, CAROL, named)
        disk = asyncio.Event()
        site.store._sync = disk.wait
        flooding = [asyncio.ensure_future(site.key_server.get_key(BOB, CAROL, KeyRequest(1, 128))) for _ in range(100)]
        await asyncio.sleep(0.1)
        innocent = asyncio.ensure_future(site.key_server.get_key(BOB, ALICE, KeyRequest(1, 128)))
        await asyncio.sleep(0.3)
        assert await site.key_server.get_key(BOB, CAROL, named) == kept  # a repeat commits nothing
        disk.set()
        got = await asyncio.gather(*flooding, return_exceptions=True)
        assert len(await innocent) == 1
        refused = [error for error in got if isinstance(error, LimitReached)]
        assert len(refused) >= 100 - SHARED // 2
        assert "does not keep up" in str(refused[0])
        assert len([keys for keys in got if isinstance(keys, tuple)]) == 100 - len(refused) > 0
        assert [runner.core for runner in site.site.links.values()] == cores  # none had to start over
        assert len(await site.key_server.get_key(BOB, CAROL, KeyRequest(1, 128))) == 1

    in_this_world(world, flood)


def test_a_link_reads_nothing_more_from_a_neighbour_that_floods_it(world):
    """C's confirmations and A's asks alike: what is not read yet waits in the connection, and no commit is refused."""

    async def flood() -> None:
        site = world.sites[B]
        await until_keys(site, 200)
        cores = [runner.core for runner in site.site.links.values()]
        disk = asyncio.Event()
        site.store._sync = disk.wait
        flooding = []
        for _ in range(100):
            flooding.append(asyncio.ensure_future(world.sites[C].key_server.get_key(CAROL, BOB, KeyRequest(1, 128))))
            await asyncio.sleep(0.01)
        innocent = asyncio.ensure_future(site.key_server.get_key(BOB, ALICE, KeyRequest(1, 128)))
        await asyncio.sleep(0.3)
        assert len(site.store._waiting) <= SHARED
        disk.set()
        assert len(await innocent) == 1
        await asyncio.gather(*flooding, return_exceptions=True)
        assert [runner.core for runner in site.site.links.values()] == cores
        assert len(await world.sites[C].key_server.get_key(CAROL, BOB, KeyRequest(1, 128))) == 1

    in_this_world(world, flood)


def test_a_link_stores_no_more_key_than_its_share(world):
    async def fill() -> None:
        site = world.sites[B]
        await until_keys(site, 10)
        runner = site.site.links[C]
        stream = next(record.stream for record in runner.core.streams if not record.closed)
        disk = asyncio.Event()
        site.store._sync = disk.wait
        storing = asyncio.ensure_future(runner._store_blocks(stream, [KeyMaterial(bytes(8))] * 100))
        await asyncio.sleep(0.5)
        assert runner._commits.full
        assert not storing.done()
        assert len(site.store._waiting) <= SHARED
        disk.set()
        await storing

    in_this_world(world, fill)
