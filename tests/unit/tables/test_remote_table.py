"""The routing table of a module in a process of its own: told, asked, lost and found again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from qss.adapters.tables import remote
from qss.adapters.tables.remote import RemoteTable
from qss.model.errors import Unavailable
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Load, Route, SiteState
from qss.wire.routes import LinkView, RouteView, RoutingStatus
from support.module_runners import until

A, B = QksId("A"), QksId("B")
BOB = SaeId("sae:bob")
STATE = SiteState({SaeId("sae:alice"): None}, {}, {B: Load(1, 2)})


def status(version: int, **changes) -> RoutingStatus:
    found = {
        "site": "A", "version": version, "changed": 0.0, "neighbours": {}, "lsas": 1, "settled": True, "dropped": {},
        "links": (LinkView(ends=("A", "B"), cost=5, available_bits=7),), "repeaters": ("B",),
        "routes": (RouteView(SAE_ID=BOB, next_hop="B", dest="B", cost=5, length=1),),
    }  # fmt: skip
    return RoutingStatus(**found | changes)


class Module:
    """A routing module's Admin."""

    def __init__(self):
        self.status = status(1)
        self.published = []
        self.away = False
        self.changed = asyncio.Event()

    async def publish(self, state):
        self._answer()
        self.published.append(state)
        return self.status.version

    async def routing_after(self, version, wait_s):
        self._answer()
        if version == self.status.version:
            self.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.changed.wait()
        self._answer()
        return self.status

    def change(self, to):
        self.status = to
        self.changed.set()

    def _answer(self):
        if self.away:
            raise Unavailable("away")


@pytest.fixture
async def world(monkeypatch):
    monkeypatch.setattr(remote, "RETRY_S", 0.01)
    monkeypatch.setattr(remote, "ALIVE_S", 0.05)
    module = Module()
    now = [0.0]
    table = RemoteTable(A, module, 3.0, lambda: now[0])
    table.now = now
    tasks = [asyncio.create_task(table.keep_telling()), asyncio.create_task(table.keep_asking())]
    yield module, table
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_what_the_module_knows_is_known_here_as_soon_as_it_changes(world):
    module, table = world
    changes = []
    await until(lambda: table.route(BOB) == Route(BOB, B, B, 5, 1))
    table.watch(lambda: changes.append(table.status.version))
    assert table.graph.edges[A][B] == Edge(5, 7)
    assert table.graph.repeaters == {B}
    module.change(status(2, routes=()))
    await until(lambda: table.route(BOB) is None)
    assert changes == [2]


async def test_a_state_is_sent_at_once_when_it_changes_and_again_and_again(world):
    module, table = world
    table.publish(STATE)
    await until(lambda: STATE in module.published)
    sent = len(module.published)
    await until(lambda: len(module.published) >= sent + 3)
    assert set(map(id, module.published[sent:])) == {id(STATE)}


async def test_without_the_module_the_last_table_counts_for_a_while_and_then_none(world):
    module, table = world
    await until(lambda: table.route(BOB) is not None)
    with capture_logs() as logs:
        module.away = True
        module.change(status(3))
        await until(lambda: logs)
        table.now[0] = 2.9
        await asyncio.sleep(0.05)
        assert table.route(BOB) is not None
        table.now[0] = 3.1
        await until(lambda: table.route(BOB) is None)
        assert table.graph.edges == {}
        module.away = False
        await until(lambda: table.route(BOB) is not None)
    assert [log["event"] for log in logs] == [
        "the routing module cannot be asked",
        "nothing is known of the network any more",
        "the routing module answers again",
    ]
