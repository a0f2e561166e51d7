"""Two sites on real stores and a real External connection, whose routing modules tag with the link's key."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from qss.core.routing import Origin, Router, RouterSettings, TagSetting
from qss.core.routing import events as ev
from qss.core.routing.tag_key import RANGE_BYTES
from qss.model.errors import Tampered
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.network import Load, SiteState
from qss.model.ranges import Range
from qss.runtime.routing import RoutingModule
from qss.runtime.tag_keeper import TagKeeper
from qss.runtime.tag_ranges import TagRanges
from qss.simulation.routing import has_stated, sign_as, state_home, verify
from qss.wire import routing as wire
from support.connections import MemoryConnection, memory_pair
from support.module_runners import raise_defect, until
from support.pki import Pki
from support.two_sites import A, B, OneSite, TwoSites

LOAD = Load(1 << 20, 1 << 20)
RANGE_BITS = 8 * RANGE_BYTES


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("tags") / "pki")


class Store:
    """What a site reads from, once it has started, and all that was read for tags."""

    def __init__(self, site: OneSite) -> None:
        self._site = site
        self.read: dict[tuple[StreamId, Range], bytes] = {}

    async def read_key(self, stream: StreamId, part: Range) -> KeyMaterial:
        key = await self._site.store.read_key(stream, part)
        self.read[stream, part] = key.reveal()
        return key


class Routing:
    """A site's routing module, and its key for tags."""

    def __init__(self, site: OneSite, setting: str) -> None:
        self.site, self.store = site, Store(site)
        self.setting = {site.peer: TagSetting(setting)}
        self.ranges = site.tagger = TagRanges(self.store, self.setting, os.urandom, raise_defect)
        self.begin(0)

    def begin(self, generation: int) -> None:
        """Begin a life of the module."""
        here, keeper = self.site.here, TagKeeper()
        origin = Origin(wire.Source(here, "h", 1), wire.Endpoint("h", 2))
        settings = RouterSettings()
        router = Router(origin, sign_as(here), verify, has_stated, settings, generation, keeper, self.setting)
        self.module = RoutingModule(router, [self.site.peer], raise_defect, tag_key=(self.ranges, keeper))

    def start(self) -> None:
        self.ranges.start(self.site.site.links)
        self.module.start()
        self.tell(f"sae:{self.site.here}")

    def tell(self, *saes: str) -> None:
        at_home = {SaeId(sae): state_home(SaeId(sae), self.site.here) for sae in saes}
        self.module.publish(SiteState(at_home, links={self.site.peer: LOAD}))

    def sees(self) -> set[str]:
        return {str(route.sae) for route in self.module.routes() if route.next_hop is not None}

    @property
    def phase(self) -> str:
        return str(self.module.router.adjacency(self.site.peer).phase)

    @property
    def relayed(self) -> int:
        return sum(record.tally.relayed for record in self.site.link.core.streams)

    def updates(self, *, tagged: bool) -> int:
        return sum(count for (_, _, has_tag), count in self.module.router.updates.items() if has_tag is tagged)


class Network:
    """Both of them, and the connection between their modules."""

    def __init__(self, sites: TwoSites, here: str, there: str) -> None:
        self.a, self.b = Routing(sites.a, here), Routing(sites.b, there)
        self.connection: MemoryConnection | None = None
        self._serving: list[asyncio.Task[None]] = []

    def connect(self) -> None:
        ends = memory_pair(64, "qks:A", "qks:B")
        self.connection = ends[0]
        for routing, connection in zip((self.a, self.b), ends, strict=True):
            self._serving.append(asyncio.create_task(routing.module.serve(routing.site.peer, connection)))

    async def stop(self) -> None:
        await asyncio.gather(self.a.module.stop(), self.b.module.stop())
        await asyncio.gather(*self._serving)
        await asyncio.gather(self.a.ranges.stop(), self.b.ranges.stop())


@asynccontextmanager
async def running(sites: TwoSites, here: str = "required", there: str = "required") -> AsyncIterator[Network]:
    network = Network(sites, here, there)
    async with sites:
        await sites.until_keys(1)
        for routing in (network.a, network.b):
            routing.start()
        network.connect()
        try:
            yield network
        finally:
            await network.stop()


async def is_erased(routing: Routing) -> bool:
    for stream, part in routing.store.read:
        try:
            await routing.site.store.read_key(stream, part)
        except Tampered:
            continue
        return False
    return True


async def test_tables_converge_under_tags_alone_and_all_key_is_accounted_for(tmp_path, pki) -> None:
    async with running(TwoSites(tmp_path, pki)) as network:
        both = (network.a, network.b)
        await until(lambda: all(routing.sees() == {"sae:A", "sae:B"} for routing in both))
        assert [routing.phase for routing in both] == ["full", "full"]
        assert all(routing.updates(tagged=True) and not routing.updates(tagged=False) for routing in both)
        assert network.a.store.read == network.b.store.read
        assert len(network.a.store.read) == 2
        for routing in both:
            assert routing.relayed == routing.ranges.bits[routing.site.peer] == 2 * RANGE_BITS
        async with asyncio.timeout(10):
            while not (await is_erased(network.a) and await is_erased(network.b)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_forged_update_under_a_tag_changes_nothing_and_the_neighbour_is_named(tmp_path, pki) -> None:
    async with running(TwoSites(tmp_path, pki)) as network:
        await until(lambda: network.a.sees() == network.b.sees() == {"sae:A", "sae:B"})

        def forge(frame: bytes) -> bytes:
            forged = [
                wire.Tagged(m.stream, m.place, m.update, bytes(16)) if isinstance(m, wire.Tagged) else m
                for m in wire.decode(frame)
            ]
            return wire.encode(forged)

        network.connection.altered = forge
        with capture_logs() as logs:
            network.a.tell("sae:A", "sae:forged")
            await until(lambda: network.b.module.router.dropped[A, ev.Reason.TAG] == 1)
            await until(lambda: network.b.phase == "down")
        assert "sae:forged" not in network.b.sees()
        told = [log for log in logs if log["event"] == "what a neighbour sent was dropped"]
        assert [(log["peer"], log["reason"]) for log in told] == [(A, "tag")]
        ends = [log["reason"] for log in logs if log["event"] == "disconnecting"]
        assert "what came in its name is not its own, or was changed" in ends[0]
        network.connect()
        await until(lambda: "sae:forged" in network.b.sees())
        assert network.a.ranges.bits == {B: 2 * RANGE_BITS}, "a forgery costs no key"


async def test_modules_that_start_anew_draw_anew_and_no_key_serves_twice(tmp_path, pki) -> None:
    async with running(TwoSites(tmp_path, pki)) as network:
        for life in range(1, 4):
            await until(lambda: network.a.sees() == network.b.sees() == {"sae:A", "sae:B"})
            await network.a.module.stop()
            await until(lambda: network.b.phase == "down")
            network.a.begin(life)
            network.a.module.start()
            network.a.tell("sae:A")
            network.connect()
            await until(lambda: [network.a.phase, network.b.phase] == ["full", "full"])
        parts = sorted(part for _, part in network.b.store.read)
        assert all(one.stop <= other.start for one, other in itertools.pairwise(parts))
        assert network.b.ranges.bits == {A: RANGE_BITS * len(parts)} == {A: network.b.relayed}
        assert len(parts) == 8


@pytest.mark.parametrize(("setting", "seen"), [("required", {"sae:A"}), ("offered", {"sae:A", "sae:B"})])
async def test_a_link_that_has_too_little_key_has_none_for_tags(tmp_path, pki, setting, seen) -> None:
    sites = TwoSites(tmp_path, pki, chunks=1)
    async with running(sites, setting, "offered") as network:
        await until(lambda: network.a.module.router.adjacency(B).two_way)
        await until(lambda: network.a.sees() == seen)
        assert network.a.phase == ("loading" if setting == "required" else "full")
        assert (network.a.relayed, network.b.relayed) == (0, 0)
        assert network.a.module.router.tags(B).state == "short"
        assert network.a.updates(tagged=True) == 0


async def test_a_module_that_waits_for_key_goes_on_when_the_key_servers_connect(tmp_path, pki) -> None:
    sites = TwoSites(tmp_path, pki)
    async with running(sites) as network:
        await until(lambda: [network.a.phase, network.b.phase] == ["full", "full"])
        await sites.disconnect()
        await network.a.module.stop()
        network.a.begin(1)
        network.a.module.start()
        network.a.tell("sae:A", "sae:new")
        network.connect()
        await until(lambda: network.a.phase == "loading")
        assert "sae:new" not in network.b.sees()
        sites.connect()
        await until(lambda: "sae:new" in network.b.sees())
        assert isinstance(network.a.site.here, str)
        assert QksId("B") in network.a.ranges.bits
