"""A link that floods the site's store has one commit under way at most: the other links' commits are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from qss.model.errors import LimitReached
from qss.model.identifiers import QksId, SaeId
from qss.model.keys import KeyRequest
from qss.ports.store import Change
from qss.simulation.store import SimulatedStore
from scenarios import world as worlds
from scenarios.scenario import LINE
from scenarios.world import SimulatedSite, World

A, B, C = map(QksId, ("A", "B", "C"))
ALICE, BOB, CAROL = map(SaeId, ("alice", "bob", "carol"))
MOST_WAITING = 3
"""A commit of each of B's two links, and an erasure."""


class SmallStore(SimulatedStore):
    """A store that lets few commits wait, and refuses whoever comes last."""

    async def commit(self, batch: Sequence[Change], fence: int) -> int:
        if len(self._waiting) >= MOST_WAITING:
            raise LimitReached("too much waits for the disk")
        return await super().commit(batch, fence)


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(worlds, "SimulatedStore", SmallStore)
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


@pytest.mark.parametrize("masters_at", [B, C])
def test_an_innocent_link_is_served_while_another_floods_a_slow_disk(world, masters_at):
    """Asks of B's own masters and of its neighbour's alike gather for one commit."""
    master, slave = (BOB, CAROL) if masters_at == B else (CAROL, BOB)

    async def flood() -> None:
        site = world.sites[B]
        await until_keys(site, 200)
        cores = [runner.core for runner in site.site.links.values()]
        disk = asyncio.Event()
        site.store._sync = disk.wait
        flooding = []
        for _ in range(100):
            ask = world.sites[masters_at].key_server.get_key(master, slave, KeyRequest(1, 128))
            flooding.append(asyncio.ensure_future(ask))
            await asyncio.sleep(0.01)
        innocent = asyncio.ensure_future(site.key_server.get_key(BOB, ALICE, KeyRequest(1, 128)))
        await asyncio.sleep(0.3)
        disk.set()
        assert len(await innocent) == 1
        got = await asyncio.gather(*flooding)
        assert sum(map(len, got)) == 100
        assert [runner.core for runner in site.site.links.values()] == cores  # none had to start over

    in_this_world(world, flood)
