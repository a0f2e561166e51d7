"""A routing module of whose neighbours one talks garbage, floods or stalls: the other one notices nothing of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from qss.core.routing import Origin, Router, RouterSettings
from qss.core.routing.events import Happening, Reason
from qss.model.errors import ConnectionLost
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load
from qss.ports.routing_table import SiteState
from qss.runtime import routing
from qss.runtime.routing import RoutingModule
from qss.simulation.routing import sign_as, state_home, verify
from qss.transport.telling import TOLD_S
from qss.wire import routing as wire
from support.connections import memory_pair
from support.module_runners import raise_defect
from support.one_router import UNSIGNED, carried, saes_of
from support.scripted_connection import ScriptedConnection
from support.virtual_time import in_virtual_time, settled

A, B, C = QksId("A"), QksId("B"), QksId("C")
LOAD = Load(1 << 20, 1 << 20)


def module_of(site, *neighbours):
    router = Router(
        Origin(wire.Source(site, "h", 1), wire.Endpoint("h", 2)), sign_as(site), verify, lambda *_: True,
        RouterSettings(),
    )  # fmt: skip
    module = RoutingModule(router, neighbours, raise_defect, clock=asyncio.get_running_loop().time, wall=lambda: 1e9)
    module.start()
    module.publish(
        SiteState({SaeId(f"sae:{site}"): state_home(SaeId(f"sae:{site}"), site)}, links=dict.fromkeys(neighbours, LOAD))
    )
    return module


class Site:
    """A, with C, which is honest, and B, which is the test."""

    async def __aenter__(self):
        self.a, self.c = module_of(A, B, C), module_of(C, A)
        ends = memory_pair(64, "qks:A", "qks:C")
        self.tasks = [
            asyncio.create_task(self.a.serve(C, ends[0])),
            asyncio.create_task(self.c.serve(A, ends[1])),
        ]
        self.b = ScriptedConnection("B")
        self.connect()
        await asyncio.sleep(1)
        assert self.phases == ("full", "init")
        return self

    def connect(self, connection=None):
        self.b = connection or ScriptedConnection("B")
        self.tasks.append(asyncio.create_task(self.a.serve(B, self.b)))

    async def __aexit__(self, *_):
        await asyncio.gather(self.a.stop(), self.c.stop())
        await asyncio.gather(*self.tasks)

    @property
    def phases(self):
        return tuple(str(self.a.router.adjacency(peer).phase) for peer in (C, B))

    def say(self, *messages):
        self.b.put(*wire.frames(messages))

    async def become_full(self):
        self.say(HELLO, wire.Summary((), more=False))
        await settled()
        assert self.phases == ("full", "full")

    async def works(self):
        """Whether what C tells is known here, at once."""
        self.number = getattr(self, "number", 0) + 1
        sae = SaeId(f"sae:new:{self.number}")
        self.c.publish(SiteState({sae: state_home(sae, C)}, links={A: LOAD}))
        await asyncio.sleep(1.2)  # the longest hold time, in a site that was busy
        assert self.a.route(sae).next_hop == C
        assert self.phases[0] == "full"
        return True


HELLO = wire.Hello(heard=True, full=True, dead_ms=600_000, digest=bytes(8))
GARBAGE = {
    "noise": bytes(range(100)),
    "nothing": b"",
    "half a frame": wire.encode([HELLO])[:-1],
    "bytes after a frame": wire.encode([HELLO]) + b"\x00",
    "too large": bytes(wire.MAX_FRAME_BYTES + 1),
    "another protocol": msgspec.msgpack.encode([["greeting", 1]]),
    "very deep": b"\x91" * 100_000,
    "another's name": wire.encode([wire.Update((carried(saes_of("D"), C),))]),
}


@pytest.mark.parametrize("frame", GARBAGE.values(), ids=GARBAGE)
@in_virtual_time
async def test_garbage_ends_the_connection_it_came_on_and_is_counted_and_told(frame):
    async with Site() as site:
        await site.become_full()
        with capture_logs() as logs:
            site.b.put(frame)
            await settled()
        assert site.b.closed
        assert site.a.router.dropped == {(B, Reason.PROTOCOL): 1}
        (told,) = [log for log in logs if log["event"] == "what a neighbour sent was dropped"]
        assert (told["peer"], told["reason"]) == (B, "protocol")
        (ended,) = [log for log in logs if log["event"] == "disconnected"]
        assert ended["peer"] == B
        assert len(ended["reason"]) < 200
        assert site.phases == ("full", "down")
        assert await site.works()
        site.connect()
        await settled()
        await site.become_full()


@in_virtual_time
async def test_who_connects_and_talks_garbage_again_and_again_does_not_fill_the_log():
    async with Site() as site:
        with capture_logs() as logs:
            for _ in range(50):
                site.b.put(b"garbage")
                await settled()
                site.connect()
                await asyncio.sleep(0.1)
        assert site.a.router.dropped == {(B, Reason.PROTOCOL): 50}
        assert len([log for log in logs if log["event"] == "what a neighbour sent was dropped"]) == 1
        await asyncio.sleep(TOLD_S)
        site.connect()
        await settled()
        with capture_logs() as logs:
            site.b.put(b"garbage")
            await settled()
        (told,) = [log for log in logs if log["event"] == "what a neighbour sent was dropped"]
        assert told["so_far"] == 51


@in_virtual_time
async def test_false_lsas_under_ever_other_names_are_told_once_for_each_reason():
    async with Site() as site:
        await site.become_full()
        false = [carried(saes_of(f"x{number}"), said=UNSIGNED) for number in range(640)]
        with capture_logs() as logs:
            site.say(*(wire.Update(tuple(false[at : at + 64])) for at in range(0, 640, 64)))
            await settled()
        told = [log for log in logs if log["event"] == "an LSA was dropped"]
        assert [(log["peer"], log["reason"], log["origin"]) for log in told] == [
            (B, "signature", "x0"),
            (B, "unchecked", "x200"),
        ]
        assert sum(site.a.router.dropped.values()) == 640
        assert await site.works()


@in_virtual_time
async def test_frames_without_end_leave_the_other_neighbour_its_turn():
    async with Site() as site:
        await site.become_full()
        frame = wire.encode([HELLO, wire.Summary((), more=False)] * 100)
        flooding = True

        async def flood():
            while flooding:
                site.b.put(*[frame] * 10)
                await asyncio.sleep(0.1)

        task = asyncio.create_task(flood())
        assert await site.works()
        flooding = False
        await task
        assert site.a.router.dropped[B, Reason.SUMMARIES] > 1000
        assert site.phases == ("full", "full")


@in_virtual_time
async def test_who_takes_nothing_of_what_it_is_sent_loses_its_connection_alone(monkeypatch):
    monkeypatch.setattr(routing, "MAX_WAITING_BYTES", 1 << 18)
    async with Site() as site:
        site.connect(ScriptedConnection("B", closing_s=1))
        await settled()
        await site.become_full()
        site.b.takes.clear()
        with capture_logs() as logs:
            for number in range(40):
                names = {SaeId(f"sae:{number}:{each:0200}"): None for each in range(200)}
                site.c.publish(SiteState(names, links={A: LOAD}))
                await asyncio.sleep(5)
                site.say(HELLO)
                if site.b.closed:
                    break
            for number in range(5):  # while it is being closed there is more to send
                site.a.publish(SiteState({SaeId(f"sae:a:{number}"): None}, links={C: LOAD}))
        assert site.b.closed
        told = [log for log in logs if log["event"] == "disconnecting"]
        assert [(log["peer"], log["reason"]) for log in told] == [(B, "the peer does not take what it is sent")]
        await asyncio.sleep(2)
        assert site.phases == ("full", "down")
        assert await site.works()


@in_virtual_time
async def test_who_is_silent_is_given_up_alone():
    async with Site() as site:
        site.say(wire.Hello(heard=True, full=True, dead_ms=4000, digest=bytes(8)), wire.Summary((), more=False))
        await settled()
        with capture_logs() as logs:
            await asyncio.sleep(5)
        (told,) = [log for log in logs if log["event"] == "disconnecting"]
        assert (told["peer"], told["reason"]) == (B, "nothing came for 4 s")
        assert site.phases == ("full", "down")
        assert await site.works()


@in_virtual_time
async def test_who_breaks_off_in_the_midst_of_it_all_is_forgotten():
    async with Site() as site:
        for cut in range(4):
            messages = (HELLO, wire.Summary((), more=True), wire.Update((carried(saes_of("D", 1 + cut)),)), HELLO)
            site.say(*messages[:cut])
            site.b.put(ConnectionLost("it was cut"))
            await settled()
            assert site.phases == ("full", "down")
            site.connect()
            await settled()
        assert await site.works()


@in_virtual_time
async def test_a_neighbour_that_comes_and_goes_is_told_once_a_minute():
    async with Site() as site:
        await site.become_full()
        with capture_logs() as logs:
            for _ in range(20):
                site.b.put(b"garbage")
                await settled()
                site.connect()
                await settled()
                await site.become_full()
        events = [log["event"] for log in logs]
        assert events.count("routing agrees with a neighbour no more") == 1
        assert site.a.router.happened[B, Happening.NOT_FULL] == 20


@in_virtual_time
async def test_whoever_speaks_as_this_site_again_and_again_is_told_with_what_to_do():
    async with Site() as site:
        await site.become_full()
        with capture_logs() as logs:
            for sequence in range(1, 3 * routing.OFTEN):
                site.say(wire.Update((carried(saes_of("A", 1000 * sequence)),)))
                await asyncio.sleep(1)
        told = [log for log in logs if log["event"] == "somebody else speaks as this site"]
        assert [(log["peer"], "end the other process" in log["remedy"]) for log in told] == [(B, True)] * 2
        assert site.a.router.happened[B, Happening.OUTDONE] == 3 * routing.OFTEN - 1
