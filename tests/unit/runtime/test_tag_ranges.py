"""Key for tags on its way from a link to who tags: read, erased from the store, handed over, or given up."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from qss.core.reservation.relay_events import DrawFailure
from qss.model.errors import LocalProtocolError, StoreUnavailable
from qss.model.identifiers import QksId, StreamId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.runtime.tag_ranges import MAX_READING, TagRanges
from qss.wire.external import Purpose
from support.module_runners import raise_defect

B, C = QksId("B"), QksId("C")
STREAM = StreamId(bytes(16))
NAME = TransferId(b"n" * 16)


def part(number: int = 0, length: int = 2048) -> Range:
    return Range(4096 * number, 4096 * number + length)


class Store:
    """Reads once it is let."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.fails = False

    async def read_key(self, stream: StreamId, part: Range) -> KeyMaterial:
        await self.may.wait()
        if self.fails:
            raise StoreUnavailable("the disk is gone")
        return KeyMaterial(bytes(len(part)))


class Link:
    """Notes what is drawn and ended; a draw is ended `used` only once it is ready, as a link's core has it."""

    def __init__(self) -> None:
        self.draws: list[tuple[TransferId, int, bool, Purpose]] = []
        self.ready: set[TransferId] = set()
        self.ended: list[tuple[TransferId, bool]] = []

    def draw(self, draw: TransferId, length: int, *, urgent: bool, purpose: Purpose) -> None:
        self.draws.append((draw, length, urgent, purpose))

    def end_draw(self, draw: TransferId, *, used: bool) -> None:
        if used and draw not in self.ready:
            raise LocalProtocolError("a range was used whose draw is committing")
        self.ready.discard(draw)
        self.ended.append((draw, used))


class Taker:
    """Who tags."""

    def __init__(self) -> None:
        self.came: list[tuple[QksId, Range, int, bool]] = []
        self.none: list[QksId] = []

    def tag_key_came(self, peer: QksId, stream: StreamId, part: Range, key: KeyMaterial, *, own: bool) -> None:
        self.came.append((peer, part, len(key), own))

    def no_tag_key(self, peer: QksId) -> None:
        self.none.append(peer)


class World:
    """A site that tags with B, and not with C."""

    def __init__(self, *, served: bool = True) -> None:
        self.store, self.links, self.taker = Store(), {B: Link(), C: Link()}, Taker()
        numbers = itertools.count()
        self.ranges = TagRanges(self.store, {B}, lambda length: next(numbers).to_bytes(length), raise_defect)
        self.ranges.start(self.links)  # type: ignore[arg-type]
        if served:
            self.ranges.serve(self.taker)

    def drawn(self, where: Range, name: TransferId = NAME, peer: QksId = B, *, own: bool = False) -> None:
        self.links[peer].ready.add(name)
        self.ranges.drawn(peer, name, STREAM, where, own=own)

    async def rest(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_it_draws_at_once_what_is_asked_for_under_names_of_its_own() -> None:
    world = World()
    for _ in range(2):
        world.ranges.draw(B, 2048)
    assert world.links[B].draws == [(TransferId(bytes([*bytes(15), n])), 2048, True, Purpose.TAGS) for n in (0, 1)]


@pytest.mark.parametrize("own", [True, False])
async def test_a_range_is_read_ended_counted_and_handed_over(own: bool) -> None:
    world = World()
    world.drawn(part(), own=own)
    await world.rest()
    assert world.taker.came == [(B, part(), 2048, own)]
    assert world.links[B].ended == [(NAME, True)]
    assert world.ranges.bits == {B: 8 * 2048}
    await world.ranges.stop()


@pytest.mark.parametrize(
    ("peer", "where", "served"),
    [(C, part(), True), (B, part(length=2049), True), (B, part(length=8192), True), (B, part(), False)],
    ids=["a neighbour that is not tagged with", "no whole pieces", "more than may be", "before anybody tags"],
)
async def test_what_nobody_wants_is_given_up_unread(peer: QksId, where: Range, served: bool) -> None:
    world = World(served=served)
    world.drawn(where, peer=peer)
    await world.rest()
    assert world.links[peer].ended == [(NAME, False)]
    assert (world.taker.came, +world.ranges.bits) == ([], {})


async def test_a_neighbour_has_no_more_read_than_may_be_at_a_time() -> None:
    world = World()
    world.store.may.clear()
    for number in range(2 * MAX_READING):
        world.drawn(part(number), TransferId(number.to_bytes(16)))
    assert world.links[B].ended == [(TransferId(n.to_bytes(16)), False) for n in range(MAX_READING, 2 * MAX_READING)]
    world.store.may.set()
    await world.rest()
    assert len(world.taker.came) == MAX_READING


@pytest.mark.parametrize("own", [True, False])
async def test_what_cannot_be_read_is_used_up_all_the_same_for_the_other_end_may_use_it(own: bool) -> None:
    world = World()
    world.store.fails = True
    world.drawn(part(), own=own)
    await world.rest()
    assert world.links[B].ended == [(NAME, True)]
    assert (world.taker.came, world.taker.none) == ([], [B] if own else [])


async def test_what_was_not_had_is_told_to_who_draws_and_to_nobody_else() -> None:
    world = World()
    world.ranges.undrawn(B, NAME, DrawFailure.SHORTAGE, own=True)
    world.ranges.undrawn(B, NAME, DrawFailure.SHORTAGE, own=False)
    assert world.taker.none == [B]


async def test_a_link_that_starts_over_while_a_range_is_read_has_another_one_under_its_name() -> None:
    world = World()
    world.store.may.clear()
    world.drawn(part(0))
    world.links[B].ready.clear()
    world.ranges.undrawn(B, NAME, DrawFailure.STOPPED, own=False)
    world.store.may.set()
    await world.rest()
    assert world.links[B].ended == []
    assert world.taker.came == [(B, part(0), 2048, False)], "it is nobody else's"


async def test_a_second_range_under_a_name_that_is_being_read_is_given_up() -> None:
    world = World()
    world.store.may.clear()
    world.drawn(part(0))
    world.drawn(part(1))
    assert world.links[B].ended == [(NAME, False)]
    world.store.may.set()
    await world.rest()
    assert world.links[B].ended == [(NAME, False)], "the link has done with the first"
    assert world.taker.came == [(B, part(0), 2048, False)]


async def test_who_stops_takes_nothing_more_and_leaves_nothing_open() -> None:
    world = World()
    world.store.may.clear()
    world.drawn(part(), own=True)
    stopping = asyncio.create_task(world.ranges.stop())
    await world.rest()
    assert not stopping.done()
    world.store.may.set()
    await stopping
    assert (world.taker.came, world.taker.none, world.links[B].ended) == ([], [], [(NAME, True)])
    world.drawn(part(1))
    assert world.links[B].ended == [(NAME, True), (NAME, False)]
