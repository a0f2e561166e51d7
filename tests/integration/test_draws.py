"""Two sites on real stores and a real connection set key aside for relays: both read the same bytes, and erase them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from qss.core.reservation.relay_events import DrawFailure
from qss.model.errors import Tampered
from qss.model.identifiers import PairId, QksId, StreamId, TransferId
from qss.model.keys import KeyRequest
from qss.model.ranges import Range
from qss.model.records import BurnReason
from qss.wire.external import Purpose
from support.pki import Pki
from support.two_sites import ALICE, BOB, OneSite, TwoSites

LENGTH = 1104


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("draws") / "pki")


class Relay:
    """Hears what becomes of draws at one site."""

    def __init__(self) -> None:
        self.ranges: dict[TransferId, tuple[StreamId, Range, bool]] = {}
        self.failures: dict[TransferId, DrawFailure] = {}
        self.wants: list[tuple[QksId, PairId, str, int, bool]] = []

    def drawn(self, peer: QksId, draw: TransferId, stream: StreamId, part: Range, *, own: bool) -> None:
        self.ranges[draw] = stream, part, own

    def undrawn(self, peer: QksId, draw: TransferId, reason: DrawFailure, *, own: bool) -> None:
        self.failures[draw] = reason

    def wanted(self, peer: QksId, pair: PairId, policy: str, length: int, *, urgent: bool) -> None:
        self.wants.append((peer, pair, policy, length, urgent))


@pytest.fixture
def sites(tmp_path, pki) -> Iterator[TwoSites]:
    sites = TwoSites(tmp_path, pki)
    sites.a.listener, sites.b.listener = Relay(), Relay()
    return sites


def fresh() -> TransferId:
    return TransferId(os.urandom(16))


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is nothing to wait for: what is asked is what people see
            await asyncio.sleep(0.01)


def bits(site: OneSite) -> tuple[int, int]:
    """Return what is relayed, and burned because it was not."""
    (record,) = site.link.core.streams
    return record.tally.relayed, record.tally.burned.get(BurnReason.ABANDONED, 0)


async def is_there(site: OneSite, draw: TransferId) -> bool:
    stream, part, _ = site.listener.ranges[draw]
    try:
        await site.store.read_key(stream, part)
    except Tampered:
        return False
    return True


@pytest.mark.parametrize("upstream", ["a", "b"])
async def test_both_ends_read_the_same_bytes_which_nobody_else_gets_and_erase_them(sites, upstream) -> None:
    async with sites:
        await sites.until_keys(60)
        up = getattr(sites, upstream)
        down = sites.b if up is sites.a else sites.a
        draws = [fresh() for _ in range(5)]
        for draw in draws:
            up.link.draw(draw, LENGTH, urgent=True)
        (key,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        await until(lambda: all(len(site.listener.ranges) == 5 for site in (up, down)))
        for draw in draws:
            stream, part, own = up.listener.ranges[draw]
            assert (down.listener.ranges[draw], own) == ((stream, part, False), True)
            pads = [await site.store.read_key(stream, part) for site in (up, down)]
            assert pads[0].reveal() == pads[1].reveal()
            assert len(pads[0]) == LENGTH
            assert key.material.reveal() not in pads[0].reveal()
        for number, draw in enumerate(draws):
            for site in (up, down):
                site.link.end_draw(draw, used=number > 0)

        async with asyncio.timeout(10):
            while [draw for site in (up, down) for draw in draws if await is_there(site, draw)]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert bits(up) == bits(down) == (4 * 8 * LENGTH, 8 * LENGTH)
        assert not up.listener.failures


async def test_what_a_neighbour_draws_is_given_up_where_nothing_relays(sites) -> None:
    sites.b.listener = None
    async with sites:
        await sites.until_keys(60)
        draw = fresh()
        sites.a.link.draw(draw, LENGTH, urgent=True)
        await until(lambda: draw in sites.a.listener.ranges and bits(sites.b) == (0, 8 * LENGTH))
        assert bits(sites.a) == (8 * LENGTH, 0)


@pytest.mark.parametrize("upstream", ["a", "b"])
async def test_a_relay_hears_at_once_what_cannot_be_had(sites, upstream) -> None:
    async with sites:
        await sites.until_keys(60)
        site = getattr(sites, upstream)
        much, lost = fresh(), fresh()
        site.link.draw(much, LENGTH, urgent=False)
        await until(lambda: much in site.listener.failures)
        await sites.disconnect()
        await until(lambda: not site.link.core.up)
        site.link.draw(lost, LENGTH, urgent=True)
        assert site.listener.failures == {much: "shortage", lost: "unreachable"}


@pytest.mark.parametrize("upstream", ["a", "b"])
async def test_ranges_are_taken_back_when_a_store_fails(sites, upstream) -> None:
    async with sites:
        await sites.until_keys(60)
        site = getattr(sites, upstream)
        had, failing = fresh(), fresh()
        site.link.draw(had, LENGTH, urgent=True)
        await until(lambda: had in site.listener.ranges)
        site.store.full = True
        site.link.draw(failing, LENGTH, urgent=True)
        await until(lambda: site.listener.failures == {had: "stopped", failing: "stopped"})
        site.store.full = False


async def test_wants_are_heard_at_the_other_site(sites) -> None:
    async with sites:
        await sites.until_keys(1)
        pair = PairId(os.urandom(16))
        sites.a.link.want(pair, "{}", 4096, urgent=True)
        sites.b.link.want(pair, '{"max_hops":3}', 0, urgent=False)
        await until(lambda: sites.a.listener.wants and sites.b.listener.wants)
        assert sites.b.listener.wants == [("A", pair, "{}", 4096, True)]
        assert sites.a.listener.wants == [("B", pair, '{"max_hops":3}', 0, False)]


@pytest.mark.parametrize("upstream", ["a", "b"])
async def test_what_is_drawn_for_tags_comes_to_no_relay_and_the_other_way_round(sites, upstream) -> None:
    taggers = sites.a.tagger, sites.b.tagger = Relay(), Relay()
    async with sites:
        await sites.until_keys(60)
        up = getattr(sites, upstream)
        for_tags, for_relay = fresh(), fresh()
        up.link.draw(for_tags, LENGTH, urgent=True, purpose=Purpose.TAGS)
        up.link.draw(for_relay, LENGTH, urgent=True)
        relays = sites.a.listener, sites.b.listener
        await until(lambda: all(heard.ranges for heard in (*taggers, *relays)))
        assert [set(heard.ranges) for heard in taggers] == [{for_tags}, {for_tags}]
        assert [set(heard.ranges) for heard in relays] == [{for_relay}, {for_relay}]
        too_much = fresh()
        up.link.draw(too_much, 1 << 30, urgent=True, purpose=Purpose.TAGS)
        await until(lambda: up.tagger.failures)
        assert up.tagger.failures == {too_much: DrawFailure.LIMIT}
        assert not up.listener.failures


async def test_what_a_neighbour_draws_for_tags_is_given_up_where_nothing_tags(sites) -> None:
    sites.a.tagger = Relay()
    async with sites:
        await sites.until_keys(60)
        draw = fresh()
        sites.a.link.draw(draw, LENGTH, urgent=True, purpose=Purpose.TAGS)
        await until(lambda: draw in sites.a.tagger.ranges and bits(sites.b) == (0, 8 * LENGTH))
        assert not sites.b.listener.ranges
