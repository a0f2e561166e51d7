"""The routing table of a module in a process of its own: told, asked, lost and found again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from qss.adapters.tables import remote
from qss.adapters.tables.remote import RemoteTable
from qss.client.errors import AnswerTooLarge
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
        self.sent = []
        self.revision = None
        self.asked = 0
        self.away = None
        self.changed = asyncio.Event()

    async def publish(self, state, revision):
        self._answer()
        self.published.append(state)
        self.sent.append("all")
        self.revision = revision
        return True

    async def publish_links(self, links, revision):
        self._answer()
        self.sent.append("links")
        if revision != self.revision:
            return False
        self.published.append(replace(self.published[-1], links=links))
        return True

    async def routing_after(self, version, wait_s):
        self.asked += 1
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
        if self.away is not None:
            raise self.away


@pytest.fixture
async def world(monkeypatch):
    monkeypatch.setattr(remote, "RETRY_S", 0.01)
    monkeypatch.setattr(remote, "MAX_RETRY_S", 0.02)
    monkeypatch.setattr(remote, "ALIVE_S", 0.05)
    monkeypatch.setattr(remote, "UNSETTLED_WAIT_S", 0.02)
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


async def test_what_is_no_change_of_the_table_is_known_with_the_next_answer(world):
    module, table = world
    await until(lambda: table.route(BOB) is not None)
    changes = []
    table.watch(lambda: changes.append(1))
    await until(lambda: module.asked == 2)
    module.change(status(1, neighbours={"B": "full"}))
    await until(lambda: table.status.neighbours == {"B": "full"})
    assert changes == []


async def test_a_state_is_sent_at_once_when_it_changes_and_again_and_again(world):
    module, table = world
    table.publish(STATE)
    await until(lambda: STATE in module.published)
    sent = len(module.published)
    await until(lambda: len(module.published) >= sent + 3)
    assert all(state == STATE for state in module.published[sent:])


async def test_saes_and_homes_are_sent_only_when_they_changed(world):
    module, table = world
    table.publish(STATE)
    await until(lambda: module.published[-1:] == [STATE])
    module.sent.clear()
    for bits in range(2, 5):
        changed = SiteState(dict(STATE.saes), dict(STATE.homes), {B: Load(bits, 9)})
        table.publish(changed)
        await until(lambda changed=changed: module.published[-1] == changed)
    assert set(module.sent) == {"links"}
    for changed in (replace(STATE, saes={}), replace(STATE, saes={}, homes={BOB: B})):
        module.sent.clear()
        table.publish(changed)
        await until(lambda changed=changed: module.published[-1] == changed)
        assert module.sent[0] == "all"


async def test_a_module_that_was_started_anew_is_told_all(world):
    module, table = world
    table.publish(STATE)
    await until(lambda: module.published[-1:] == [STATE])
    module.revision, module.published = None, []
    module.sent.clear()
    await until(lambda: module.published == [STATE])
    assert module.sent[:2] == ["links", "all"]


async def test_it_is_told_for_how_long_the_module_could_not_be_asked(world):
    module, table = world
    await until(lambda: table.route(BOB) is not None)
    assert table.silent_s == 0.0
    module.away = Unavailable("away")
    module.change(status(2))
    await until(lambda: table._lost_at is not None)
    table.now[0] += 2.5
    assert table.silent_s == 2.5
    module.away = None
    module.change(status(3))
    await until(lambda: table.silent_s == 0.0)


async def test_without_the_module_the_last_table_counts_for_a_while_and_then_none(world):
    module, table = world
    await until(lambda: table.route(BOB) is not None)
    await until(lambda: module.published)
    with capture_logs() as logs:
        module.away = Unavailable("away")
        module.change(status(1))
        await until(lambda: len(logs) == 2)
        table.now[0] = 2.9
        await asyncio.sleep(0.05)
        assert table.route(BOB) is not None
        table.now[0] = 3.1
        await until(lambda: table.route(BOB) is None)
        assert table.graph.edges == {}
        module.away = None
        await until(lambda: table.route(BOB) is not None)
        await until(lambda: len(logs) == 5)
    assert sorted(log["event"] for log in logs) == [
        "nothing is known of the network any more",
        "the routing module answers again",
        "the routing module cannot be asked",
        "the routing module cannot be told how this site is",
        "the routing module is told again",
    ]


async def test_each_reason_is_told_once_with_what_to_do(world):
    module, _ = world
    await until(lambda: module.published)
    with capture_logs() as logs:
        for reason in (Unavailable("away"), AnswerTooLarge("exceeds 5 bytes")):
            module.away, before = reason, module.asked
            module.changed.set()
            await until(lambda before=before: module.asked > before + 5)
    told = [(log["reason"], "remedy" in log) for log in logs if log["event"] == "the routing module cannot be asked"]
    assert told == [("away", False), ("exceeds 5 bytes", True)]
    assert len(logs) == 4


@pytest.mark.parametrize("there", ["B", "", "a"])
async def test_another_sites_table_is_not_taken_over(world, there):
    module, table = world
    await until(lambda: table.route(BOB) is not None)
    with capture_logs() as logs:
        module.change(status(2, site=there, routes=()))
        await until(lambda: logs)
    assert "correct routing.process" in logs[0]["reason"]
    assert table.route(BOB) is not None


async def test_what_a_module_knows_that_was_just_started_does_not_take_the_place_of_what_is_known(world):
    """Its empty table would have the neighbours' masters refused, and their key burned."""
    module, table = world
    await until(lambda: table.route(BOB) is not None)
    seen = []
    table.watch(lambda: seen.append(table.route(BOB)))
    module.change(status(9, settled=False, routes=()))
    asked = module.asked
    await until(lambda: module.asked > asked + 3)
    module.change(status(10, settled=False))
    await until(lambda: module.asked > asked + 6)
    assert seen == []
    assert table.status.version == 1
    module.status = status(10, routes=())  # it has settled, and nothing has changed
    await until(lambda: seen == [None])


async def test_but_not_for_longer_than_it_could_be_away(world):
    module, table = world
    await until(lambda: table.route(BOB) is not None)
    module.change(status(9, settled=False, routes=()))
    await asyncio.sleep(0.05)
    assert table.route(BOB) is not None
    table.now[0] = 3.1
    await until(lambda: table.route(BOB) is None)


async def test_where_nothing_is_known_whatever_is_said_is_taken(world):
    module, table = world
    await until(lambda: table.route(BOB) is not None)
    table._take(remote._nothing_known(A))
    module.change(status(9, settled=False))
    await until(lambda: table.route(BOB) is not None)


async def test_a_large_table_is_asked_for_less_often_but_its_first_change_is_known_at_once(world, monkeypatch):
    module, table = world
    monkeypatch.setattr(remote, "ENTRY_S", 0.1)  # two entries: 0.2 s
    module.change(status(2))
    await until(lambda: table.status.version == 2)
    asked = module.asked
    for version in range(3, 20):
        module.change(status(version))
        await asyncio.sleep(0.005)
    assert module.asked == asked
    await until(lambda: table.status.version == 19)
    assert module.asked <= asked + 2
    await asyncio.sleep(0.25)
    module.change(status(20))
    begun = asyncio.get_running_loop().time()
    await until(lambda: table.status.version == 20)
    assert asyncio.get_running_loop().time() - begun < 0.15
