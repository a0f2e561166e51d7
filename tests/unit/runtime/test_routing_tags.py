"""Two routing modules that tag, in virtual time, with key that comes at once, or never."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from qss.core.routing import Origin, Router, RouterSettings, TagSetting
from qss.core.routing.tag_key import PIECE_BYTES, RANGE_BYTES
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.network import Load, SiteState
from qss.model.ranges import Range
from qss.ports.tag_key import TagKeyTaker
from qss.runtime.routing import RoutingModule
from qss.runtime.tag_keeper import TagKeeper
from qss.simulation.routing import has_stated, sign_as, state_home, verify
from qss.wire import routing as wire
from support.connections import memory_pair
from support.module_runners import raise_defect
from support.virtual_time import in_virtual_time

A, B = QksId("A"), QksId("B")
STREAM = StreamId(bytes(16))
HALF = RANGE_BYTES // PIECE_BYTES // 2


class Link:
    """Gives both modules what either draws, before `draw` returns; or tells who drew that there is none."""

    def __init__(self, *, has_key: bool) -> None:
        self.has_key = has_key
        self.takers: dict[QksId, TagKeyTaker] = {}
        self.sources = {A: Source(self, A), B: Source(self, B)}
        self._starts = itertools.count()

    def draw(self, here: QksId, peer: QksId, length: int) -> None:
        if not self.has_key:
            self.takers[here].no_tag_key(peer)
            return
        start = length * next(self._starts)
        part, key = Range(start, start + length), KeyMaterial(start.to_bytes(8) * (length // 8))
        self.takers[peer].tag_key_came(here, STREAM, part, key, own=False)
        self.takers[here].tag_key_came(peer, STREAM, part, key, own=True)


class Source:
    """One site's `TagKeySource`."""

    def __init__(self, link: Link, here: QksId) -> None:
        self._link = link
        self._here = here

    def serve(self, taker: TagKeyTaker) -> None:
        self._link.takers[self._here] = taker

    def draw(self, peer: QksId, length: int) -> None:
        self._link.draw(self._here, peer, length)


def module(link: Link, here: QksId, peer: QksId) -> RoutingModule:
    origin, keeper = Origin(wire.Source(here, "h", 1), wire.Endpoint("h", 2)), TagKeeper()
    tags = {peer: TagSetting.REQUIRED}
    router = Router(origin, sign_as(here), verify, has_stated, RouterSettings(), 0, keeper, tags)
    clock = asyncio.get_running_loop().time
    tag_key = (link.sources[here], keeper)
    return RoutingModule(router, [peer], raise_defect, clock=clock, wall=lambda: 1e9, tag_key=tag_key)


def tell(module: RoutingModule, here: QksId, peer: QksId, *saes: str) -> None:
    at_home = {SaeId(sae): state_home(SaeId(sae), here) for sae in saes}
    module.publish(SiteState(at_home, links={peer: Load(1 << 20, 1 << 20)}))


@asynccontextmanager
async def running(*, has_key: bool) -> AsyncIterator[tuple[RoutingModule, RoutingModule]]:
    link = Link(has_key=has_key)
    modules = module(link, A, B), module(link, B, A)
    serving = []
    ends = memory_pair(64, "qks:A", "qks:B")
    for each, here, peer, connection in zip(modules, (A, B), (B, A), ends, strict=True):
        each.start()
        tell(each, here, peer, f"sae:{here}")
        serving.append(asyncio.create_task(each.serve(peer, connection)))
    try:
        yield modules
    finally:
        await asyncio.gather(*(each.stop() for each in modules))
        await asyncio.gather(*serving)


@in_virtual_time
async def test_key_that_comes_at_once_lets_no_tag_overtake_another() -> None:
    """Key is drawn when one Update of several leaves: were it handled amid the effects of that, the next would pass."""
    many = [f"sae:{number:0200}" for number in range(2000)]
    async with running(has_key=True) as (a, b):
        for number in itertools.count():
            await asyncio.sleep(1)
            if a.router.tags(B).own.left <= HALF + 2:
                break
            tell(a, A, B, "sae:A", f"sae:{number}")
        assert len(a.router.tags(B).own.ranges) == 1
        tell(a, A, B, "sae:A", *many)
        assert a.router.tags(B).own.left == HALF
        await asyncio.sleep(5)
        assert len(list(b.routes())) == 2 + len(many)
        assert not b.router.dropped
        _, keeper = a._tag_key
        assert len(keeper) == 3, "two ranges of its own by now, and the neighbour's"


@in_virtual_time
async def test_who_waits_for_key_says_so_once_a_minute_with_what_to_do() -> None:
    async with running(has_key=False) as (a, _):
        with capture_logs() as logs:
            await asyncio.sleep(50)
        told = [log for log in logs if log["event"] == "routing with a neighbour waits for key to tag with"]
        assert sorted(log["peer"] for log in told) == [A, B]
        assert "links.relay_reserve_bits" in told[0]["remedy"]
        assert str(a.router.adjacency(B).phase) == "loading"


@in_virtual_time
async def test_key_that_comes_to_a_module_that_tags_with_nobody_is_not_kept() -> None:
    router = Router(
        Origin(wire.Source(A, "h", 1), wire.Endpoint("h", 2)), sign_as(A), verify, has_stated, RouterSettings()
    )
    keeper, link = TagKeeper(), Link(has_key=True)
    lone = RoutingModule(router, [B], raise_defect, tag_key=(link.sources[A], keeper))
    lone.tag_key_came(B, STREAM, Range(0, 2048), KeyMaterial(bytes(2048)), own=False)
    assert len(keeper) == 0
    assert router.tags(B).theirs.ranges == []
