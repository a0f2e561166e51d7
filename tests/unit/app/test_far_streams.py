"""End-to-end streams at both of their ends: begun when somebody wants key, bounded, dropped when nobody does."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from qss.app.far_streams import MAX_POLICIES, SHORTEST_S, FarStreams
from qss.app.knocking import KNOCK_S, LONGEST_KNOCK_S
from qss.core.keyserver import warmth
from qss.core.keyserver.quotas import Quota, QuotaPlan
from qss.core.keyserver.warmth import IDLE_S
from qss.core.reservation.pairs import MAX_PAIRS
from qss.model.errors import ConnectionLost, DeviceError, LimitReached, NothingThere, Shortage, Unauthorised
from qss.model.identifiers import PairId, QksId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyIdsRequest, KeyRequest, Priority
from qss.model.records import BurnReason
from qss.model.relay_policy import RelayPolicy
from qss.runtime.tasks import Tasks
from qss.transport.telling import LASTS_S
from qss.wire.relay_pair import pair_of
from qss.wire.relay_status import FarRelay
from scenarios.relays import WAIT_S
from scenarios.scenario import close
from scenarios.world import CAPACITY_BYTES, World
from support.scripted_connection import ScriptedConnection

A, B, C = map(QksId, "ABC")
ALICE, CAROL = SaeId("alice"), SaeId("carol")
ROW = ((("A", "B"), ("B", "C")), {"alice": "A", "carol": "C"})
PLAIN = RelayPolicy()
NORMAL = Priority.NORMAL
PAIR = pair_of(A, C, PLAIN)


class Row(World):
    """A row of three sites without faults; A is the source of the streams between A and C."""

    def __init__(self) -> None:
        super().__init__(1, *ROW)
        self.weather = lambda: (0.001,)

    def streams(self, site: QksId) -> FarStreams:
        streams = self.sites[site].relay.streams
        assert streams is not None
        return streams

    def names(self, site: QksId) -> set[PairId]:
        """The streams that a site has."""
        return {pair for _, pair in self.streams(site)._streams}

    def attached(self, site: QksId) -> frozenset[PairId]:
        """What is attached to a site's link with the far one."""
        return self.sites[site].site.links[C if site == A else A].core.attached

    async def key(self, master: SaeId = ALICE, slave: SaeId = CAROL) -> bytes:
        """Have a key reserved and fetched, as the processes of the sites do it."""
        here, there = (self.sites[self.homes[sae]] for sae in (master, slave))
        (key,) = await here.spawn(here.key_server.get_key(master, slave, KeyRequest(1, 128)))
        fetching = there.key_server.get_key_with_ids(slave, master, KeyIdsRequest((key.key_id,)))
        assert await there.spawn(fetching) == (key,)
        return key.material.reveal()

    async def keys_until_there_are_none(self) -> None:
        while True:
            await self.key()


def in_a_row(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in virtual time, with all sites; they stop, and leave no task behind."""

    @functools.wraps(test)
    def run(**parameters: object) -> None:
        row = Row()
        asyncio.set_event_loop(None)
        try:
            row.loop.run_until_complete(_whole(row, functools.partial(test, **parameters)))
        finally:
            close(row.loop)
        assert row.violations == []

    signature = inspect.signature(test)
    _, *others = signature.parameters.values()
    run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
    return run


async def _whole(row: Row, test: Callable[[Row], Awaitable[None]]) -> None:
    for site in row.sites.values():
        await site.start()
    await asyncio.sleep(5)  # some key
    await test(row)
    for site in row.sites.values():
        if site.running:
            await site.stop()
            await asyncio.sleep(0)  # what has ended is noted
            owners = site.relay.streams, site.relay.relaying
            assert not [left for owner in owners for left in vars(owner).values() if isinstance(left, Tasks) and left]


# --- in use, and no more ------------------------------------------------------------------------------------------


@in_a_row
async def test_both_ends_begin_a_stream_when_either_asks_and_get_the_same_keys(row: Row) -> None:
    assert row.names(A) == row.names(C) == set()
    keys = [await row.key(), await row.key(CAROL, ALICE)]
    assert len(set(keys)) == 2
    assert row.names(A) == row.names(C) == {PAIR}
    assert row.sites[A].site.links[C].core.key_count(16, PLAIN.text) > 0


@in_a_row
async def test_what_nobody_uses_is_dropped_at_both_ends_and_begun_anew_when_somebody_does(row: Row) -> None:
    await row.key()
    await asyncio.sleep(IDLE_S - 20)
    assert row.names(A) == row.names(C) == {PAIR}
    await asyncio.sleep(50)
    assert row.names(A) == row.names(C) == set()
    assert row.attached(A) == row.attached(C) == frozenset()
    assert row.sites[A].relay.offered == row.sites[C].relay.offered == {}
    assert row.sites[A].site.links[C].core.up  # keys may wait on it
    await row.key(CAROL, ALICE)
    assert row.names(A) == row.names(C) == {PAIR}


@in_a_row
async def test_a_stream_in_use_stays_at_both_ends_whoever_asks(row: Row) -> None:
    for _ in range(10):
        await row.key()
        await asyncio.sleep(IDLE_S / 5)
    assert row.names(A) == row.names(C) == {PAIR}


@pytest.mark.parametrize("site", [A, C])
@in_a_row
async def test_an_end_that_has_dropped_its_module_has_it_again_when_the_other_end_needs_it(
    row: Row, site: QksId
) -> None:
    """The two do not find at the same moment that nobody uses a stream, and then somebody does."""
    await row.key()
    row.streams(site)._drop((C if site == A else A, PAIR))
    await asyncio.sleep(3)
    assert row.names(site) == set()
    parties = (ALICE, CAROL) if site == C else (CAROL, ALICE)
    while any(stream.available for stream in row.sites[A].site.links[C].core.streams):
        await row.key(*parties)  # what is left of a closed stream is used up first
    await row.key(*parties)
    assert row.names(A) == row.names(C) == {PAIR}


@in_a_row
async def test_a_module_that_was_dropped_is_not_attached_again_by_what_its_end_changes(row: Row) -> None:
    """A link that has it would ask it for streams for ever, and take no other one."""
    await row.key()
    row.streams(A)._drop((C, PAIR))
    for _ in range(100):
        await asyncio.sleep(0.01)
        assert row.attached(A) == frozenset()


@in_a_row
async def test_what_has_only_grown_old_was_not_used(row: Row) -> None:
    await row.key()
    stream = row.streams(C)._streams[A, PAIR]
    stream.taken()
    await row.key()
    assert stream.taken() == 16
    (ledger,) = row.sites[C].site.links[A].core._state.ledgers.values()
    assert ledger.available > 0
    ledger.skip_to(ledger.end, BurnReason.AGED)
    assert stream.taken() == 0


# --- limits -------------------------------------------------------------------------------------------------------


@in_a_row
async def test_there_is_a_limit_to_the_policies_of_a_pair_of_sites(row: Row) -> None:
    policies = [RelayPolicy(avoid=frozenset({QksId(f"X{number}")})) for number in range(MAX_POLICIES + 1)]
    for policy in policies[:-1]:
        row.streams(A).wanted(C, pair_of(A, C, policy), policy.text, 0, urgent=True)
    with pytest.raises(LimitReached, match=f"there are {MAX_POLICIES} end-to-end streams with site C"):
        await row.streams(A).filled(C, policies[-1], 16, NORMAL)
    assert len(row.names(A)) == MAX_POLICIES


@in_a_row
async def test_the_one_that_was_unused_for_longest_makes_room(row: Row) -> None:
    policies = [RelayPolicy(avoid=frozenset({QksId(f"X{number}")})) for number in range(MAX_POLICIES + 1)]
    for policy in policies[:-1]:
        row.streams(A).wanted(C, pair_of(A, C, policy), policy.text, 0, urgent=True)
        await asyncio.sleep(1)
    await asyncio.sleep(SHORTEST_S)
    row.streams(A).wanted(C, pair_of(A, C, policies[0]), policies[0].text, 0, urgent=True)
    row.streams(A).wanted(C, pair_of(A, C, policies[-1]), policies[-1].text, 0, urgent=True)
    pairs = {pair for _, pair in row.streams(A)._streams}
    assert pair_of(A, C, policies[0]) in pairs
    assert pair_of(A, C, policies[-1]) in pairs
    assert pair_of(A, C, policies[1]) not in pairs
    assert len(pairs) == MAX_POLICIES


@in_a_row
async def test_whatever_a_far_site_wants_is_bounded_and_told_once(row: Row) -> None:
    policies = [RelayPolicy(avoid=frozenset({QksId(f"X{number}")})) for number in range(10_000)]
    with capture_logs() as logs:
        for policy in policies:
            row.streams(A).wanted(C, pair_of(A, C, policy), policy.text, (1 << 63) - 1, urgent=True)
            row.streams(C).wanted(A, pair_of(A, C, policy), policy.text, (1 << 63) - 1, urgent=True)
    assert len(row.names(A)) == len(row.names(C)) == MAX_POLICIES
    assert len(row.sites[C].relay.offered) == MAX_POLICIES
    told = [entry for entry in logs if entry["event"] == "a far site wants key of a stream that cannot be"]
    assert [entry["peer"] for entry in told] == [C, A]
    for stream in row.streams(A)._streams.values():
        assert stream.warmth.urgent(row.loop.time()) == CAPACITY_BYTES
    await asyncio.sleep(3)
    for site in (A, C):
        assert len(row.attached(site)) <= MAX_POLICIES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 1024,
        "{ }",
        '{"max_hops":16}',
        '{"colour":"red"}',
        '{"max_hops":17}',
        '{"max_hops":1e999}',
        '{"max_hops":3}',
        '{"avoid":["A"]}',
        '{"avoid":["C"]}',
        '{"avoid":["\u00e9"]}',
        '{"avoid":["../A"]}',
    ],
)
@in_a_row
async def test_a_want_that_makes_no_sense_begins_nothing(row: Row, text: str) -> None:
    pairs = {PAIR}
    if text.startswith(('{"avoid":["A"', '{"avoid":["C"')):  # a policy, and its pair, but of others
        pairs = {pair_of(A, C, RelayPolicy.from_text(text))}
    for pair in pairs:
        for here, peer in ((A, C), (C, A)):
            row.streams(here).wanted(peer, pair, text, 100, urgent=True)
    assert row.names(A) == row.names(C) == set()


@in_a_row
async def test_more_than_a_stream_holds_is_refused_at_once(row: Row) -> None:
    with pytest.raises(LimitReached, match="ask for less at a time"):
        await row.streams(A).filled(C, PLAIN, CAPACITY_BYTES + 1, NORMAL)
    assert row.names(A) == set()


@in_a_row
async def test_a_link_with_as_many_pairs_as_it_may_have_says_so_to_whoever_asks(row: Row) -> None:
    for site, peer in ((A, C), (C, A)):
        runner = row.streams(site).link(peer)
        for number in range(MAX_PAIRS):
            runner.sources.attach(PairId(number.to_bytes(16)), row.road(A, B).channels[0])
    with pytest.raises(LimitReached, match=f"the link has {MAX_PAIRS} device pairs"):
        await row.streams(C).filled(A, PLAIN, 16, NORMAL)
    assert row.names(C) == set()
    assert row.sites[C].relay.offered == {}
    row.sites[C].site.links[A].sources.detach(PairId(bytes(16)), "so that one end has room")
    with pytest.raises(Shortage, match=f"the link has {MAX_PAIRS} device pairs"):
        await row.streams(A).filled(C, PLAIN, 16, NORMAL)


@in_a_row
async def test_a_site_that_says_that_its_blocks_differ_has_repeaters_passed_by_on_the_way_to_itself_alone(
    row: Row,
) -> None:
    """It may lie, and would cut off this site from others."""
    await row.key()
    to_c = row.streams(A)._streams[C, PAIR].blocks
    to_b = row.streams(A)._stream(B, RelayPolicy(max_hops=3)).blocks
    assert to_c is not None
    assert to_b is not None
    to_c.differed(max(to_c._paths))
    assert to_c._suspects.sites(row.loop.time()) == {B}
    assert to_b._suspects.sites(row.loop.time()) == frozenset()


# --- connections --------------------------------------------------------------------------------------------------


@in_a_row
async def test_a_site_that_routing_does_not_know_is_not_served(row: Row) -> None:
    """That is told once it lasts: after a start one of the two may hear of the other first."""
    for site in (A, C):
        for _ in range(5):
            connection = ScriptedConnection("stranger")
            await row.streams(site).take(connection)
            assert connection.closed
            await asyncio.sleep(2.1)
        with pytest.raises(Unauthorised, match="not known to routing"):
            await row.streams(site).take(ScriptedConnection("stranger"))
        assert QksId("stranger") not in row.sites[site].site.links


@in_a_row
async def test_sites_that_start_together_warn_of_nothing_that_passes_by_itself(row: Row) -> None:
    """Routing has to hear of the far site first, and that site of the stream."""
    call_far, call_module, began = row.call_far, row.call_module, row.loop.time()

    async def far(here: QksId, peer: QksId) -> object:
        if row.loop.time() < began + 1:
            raise ConnectionLost("routing does not know where that site is")
        return await call_far(here, peer)

    async def module(here: QksId, peer: QksId, pair: PairId) -> object:
        if row.loop.time() < began + 3:
            raise NothingThere("that site takes no part in this stream")
        return await call_module(here, peer, pair)

    row.call_far, row.call_module = far, module
    with capture_logs() as logs:
        await row.key()
    assert row.loop.time() > began + 3
    assert [log for log in logs if log["log_level"] == "warning"] == []


@pytest.mark.parametrize("site", [A, C])
@in_a_row
async def test_a_far_site_that_stays_away_is_told_by_whoever_calls_it(row: Row, site: QksId) -> None:
    peer = C if site == A else A

    async def nobody_there(*_: object) -> object:
        raise ConnectionLost("it is far away")

    row.call_far = nobody_there
    row.streams(site)._stream(peer, PLAIN)
    with capture_logs() as logs:
        await asyncio.sleep(LASTS_S - 1)
        assert [log for log in logs if log["log_level"] == "warning"] == []
        await asyncio.sleep(20)
    (told,) = [log for log in logs if log["log_level"] == "warning"]
    assert (told["event"], told["peer"], told["reason"]) == ("no connection", peer, "it is far away")


@in_a_row
async def test_a_site_that_is_told_to_be_elsewhere_hears_that_nobody_calls_it(row: Row) -> None:
    """Its own knocks are heard: only the other end finds out that the address is wrong."""
    call_far = row.call_far

    async def at_a_wrong_address(here: QksId, peer: QksId) -> object:
        if peer == C:
            raise ConnectionLost("nobody is there")
        return await call_far(here, peer)

    row.call_far = at_a_wrong_address
    with capture_logs() as logs:
        with pytest.raises(Shortage, match=r"site A cannot be reached, within 6 s; .* look at external\.address"):
            await row.streams(C).filled(A, PLAIN, 16, NORMAL)
        await asyncio.sleep(20)
    told = {log["peer"]: log["reason"] for log in logs if log["event"] == "no connection"}
    assert told[C] == "nobody is there"
    assert "external.address here" in told[A]


@in_a_row
async def test_the_site_with_the_lower_name_is_knocked_at_and_dials(row: Row) -> None:
    assert C not in row.sites[A].site.links
    row.streams(C)._stream(A, PLAIN)
    await asyncio.sleep(1)
    assert row.sites[A].site.links[C].core.up
    assert row.sites[C].site.links[A].core.up


@in_a_row
async def test_a_site_that_is_away_is_knocked_at_ever_more_seldom(row: Row) -> None:
    await row.sites[A].crash()
    knocks: list[float] = []
    call = row.call_far

    async def noted(here: QksId, peer: QksId) -> object:
        knocks.append(row.loop.time())
        return await call(here, peer)

    row.call_far = noted
    with pytest.raises(Shortage, match="site A cannot be reached"):
        await row.streams(C).filled(A, PLAIN, 16, NORMAL)
    await asyncio.sleep(60)
    pauses = [later - earlier for earlier, later in pairwise(knocks)]
    assert pauses[0] < 2 * KNOCK_S
    assert LONGEST_KNOCK_S <= pauses[-1] < LONGEST_KNOCK_S + 0.1
    await row.sites[A].start()
    await asyncio.sleep(LONGEST_KNOCK_S + 2)
    await row.key(CAROL, ALICE)


@in_a_row
async def test_sites_that_start_again_connect_because_of_keys_from_before(row: Row) -> None:
    await row.key()
    for site in (A, C):
        await row.sites[site].crash()
        await row.sites[site].start()
        await asyncio.sleep(8)
        assert row.sites[A].site.links[C].core.up
        await row.key()


# --- who comes first ----------------------------------------------------------------------------------------------


@in_a_row
async def test_of_those_who_wait_the_highest_priority_is_served_first(row: Row) -> None:
    streams = row.streams(A)
    came: list[Priority] = []
    await row.sites[B].crash()

    async def wait(priority: Priority) -> None:
        await streams.filled(C, PLAIN, 64, priority)
        came.append(priority)
        await asyncio.sleep(0)

    async with asyncio.TaskGroup() as waiting:
        for priority in Priority:
            waiting.create_task(wait(priority))
        await asyncio.sleep(1)
        assert came == []
        await row.sites[B].start()
    assert came == sorted(Priority, key=lambda priority: -priority.rank)


@in_a_row
async def test_who_wants_more_than_there_is_keeps_nobody_waiting(row: Row) -> None:
    streams = row.streams(A)
    await streams.filled(C, PLAIN, 64, NORMAL)
    async with asyncio.TaskGroup() as waiting:
        greedy = waiting.create_task(streams.filled(C, PLAIN, CAPACITY_BYTES, Priority.HIGH))
        await asyncio.sleep(0.5)
        assert not greedy.done()
        began = row.loop.time()
        await streams.filled(C, PLAIN, 64, Priority.LOW)
        assert row.loop.time() - began < 0.5
        greedy.cancel()


@in_a_row
async def test_who_has_gone_keeps_nobody_of_lower_priority_waiting(row: Row) -> None:
    streams = row.streams(A)
    await row.sites[B].crash()
    async with asyncio.TaskGroup() as waiting:
        high = waiting.create_task(streams.filled(C, PLAIN, 64, Priority.HIGH))
        await asyncio.sleep(1)
        low = waiting.create_task(streams.filled(C, PLAIN, 64, Priority.LOW))
        await asyncio.sleep(1)
        high.cancel()
        await row.sites[B].start()
        await low


# --- quotas -------------------------------------------------------------------------------------------------------


def asked(row: Row, name: str | None = None) -> asyncio.Task[tuple[Key, ...]]:
    """Have Alice ask for a key."""
    site = row.sites[A]
    return site.spawn(site.key_server.get_key(ALICE, CAROL, KeyRequest(1, 128, name=name)))


@in_a_row
async def test_a_repeat_takes_no_quota_while_the_first_waits_for_key(row: Row) -> None:
    row.sites[A].key_server._quotas.plan = QuotaPlan(sae=Quota(bps=0.001), burst_s=2 * 128_000)
    one, other = asked(row, "n"), asked(row, "n")
    assert await one == await other
    await asked(row)
    with pytest.raises(LimitReached, match="may take"):
        await asked(row)


@in_a_row
async def test_who_goes_while_waiting_for_key_has_taken_none(row: Row) -> None:
    row.sites[A].key_server._quotas.plan = QuotaPlan(sae=Quota(bps=0.001), burst_s=128_000)
    await row.sites[B].crash()
    gone, repeat = asked(row, "n"), asked(row, "n")
    await asyncio.sleep(0.1)
    gone.cancel()
    await row.sites[B].start()
    assert len(await repeat) == 1
    with pytest.raises(LimitReached, match="may take"):
        await asked(row)


# --- what is told -------------------------------------------------------------------------------------------------


def far(row: Row, site: QksId) -> FarRelay:
    """Return what a site tells of relaying with the only one that it relays with."""
    (told,) = row.streams(site).status().far
    return told


@in_a_row
async def test_transfers_and_waits_are_counted_where_they_are_seen(row: Row) -> None:
    await asyncio.sleep(30)  # so much key that none runs short
    await row.key()
    await row.key()
    at_a, at_c = far(row, A), far(row, C)
    assert (at_a.peer, at_c.peer) == (C, A)
    assert (at_a.requests["waited"], at_a.requests["ready"], at_a.requests["in-vain"]) == (1, 1, 0)
    arrived = at_a.transfers.pop("arrived")
    assert arrived > 0
    assert set(at_a.transfers.values()) == {0}
    assert at_c.transfers["arrived"] == 0  # it is none of its own
    (of_b, *_) = row.streams(A).status().neighbours
    assert (of_b.peer, of_b.up, of_b.passed_on) == (B, True, 0)
    at_b = row.streams(B).status()
    assert set(at_b.failed_here.values()) == {0}
    passed_on = {each.peer: each.passed_on for each in at_b.neighbours}
    assert passed_on == {A: 0, C: arrived}
    assert ([each.source for each in at_a.streams], [each.source for each in at_c.streams]) == ([True], [False])


@in_a_row
async def test_what_fails_is_told_with_its_site_and_what_is_passed_by(row: Row) -> None:
    await row.key()
    await row.sites[B].crash()
    with pytest.raises(Shortage):
        await row.keys_until_there_are_none()
    status = row.streams(A).status()
    assert [(each.up, each.security) for each in status.neighbours] == [(False, None)]
    (told,) = status.far
    assert told.requests["in-vain"] == 1
    assert told.transfers["unreachable"] > 0
    assert {(each.site, each.reason) for each in status.failures} >= {(A, "unreachable")}
    assert sum(each.transfers for each in status.failures) == sum(told.transfers.values()) - told.transfers["arrived"]
    assert told.avoided_links == ((A, B),)
    assert "unreachable at site A" in told.streams[0].trouble
    asking = row.sites[A].spawn(row.streams(A).filled(C, PLAIN, CAPACITY_BYTES, NORMAL))
    await asyncio.sleep(1)
    assert far(row, A).streams[0].waiting == 1
    asking.cancel()
    await asyncio.wait([asking])
    assert far(row, A).requests["given-up"] == 1
    assert far(row, A).streams[0].waiting == 0
    row.streams(A)._suspects[C].differed(row.loop.time(), [(A, B, C)])
    assert far(row, A).avoided_sites == (B,)


@pytest.mark.parametrize("site", [A, C])
@in_a_row
async def test_what_is_to_be_held_ready_is_whichever_end_says_so(
    row: Row, site: QksId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how far it is from that is told, from before there is any."""
    monkeypatch.setattr(warmth, "LEAST_BYTES", 0)  # links here hold little more
    streams, peer = row.streams(site), C if site == A else A
    streams._warm = {(peer, PLAIN): 4096}
    assert [(each.bits, each.short_bits) for each in streams.status().warm] == [(8 * 4096, 8 * 4096)]
    streams._stream(peer, PLAIN)
    await asyncio.sleep(60)
    (warm,) = streams.status().warm
    assert (warm.peer, warm.policy) == (peer, PLAIN.text)
    assert warm.short_bits <= warm.bits / 4
    held = row.sites[C].site.links[A].core.key_count(16, PLAIN.text)
    await asyncio.sleep(60)
    assert row.sites[C].site.links[A].core.key_count(16, PLAIN.text) == held  # nothing more is taken of links
    assert row.names(A) == row.names(C) == {PAIR}


@in_a_row
async def test_what_is_logged_of_a_stream_speaks_of_no_device_and_says_why_it_ends(row: Row) -> None:
    relaying = row.sites[C].relay.relaying
    take, late = relaying.take, iter([True])

    async def taken(*rest: Any, **named: Any) -> KeyMaterial:
        if next(late, False):
            raise DeviceError("what was relayed has not come")
        return await take(*rest, **named)

    relaying.take = taken
    with capture_logs() as logs:
        await row.key()
        await row.streams(C).stop()
    told = {log["event"]: log.get("reason") for log in logs if log.get("role") == "responder"}
    assert told["the end-to-end stream cannot go on"] == "what was relayed has not come"
    assert "the end-to-end stream yields again" in told
    assert not [log for log in logs if "device" in f"{log['event']} {log.get('reason')}"]
    assert [log["reason"] for log in logs if log["event"] == "module detached"] == ["this site stops"]


# --- what cannot be had -------------------------------------------------------------------------------------------


@in_a_row
async def test_who_waits_in_vain_is_told_why(row: Row) -> None:
    await row.key()
    await row.sites[B].crash()
    began = row.loop.time()
    with pytest.raises(Shortage, match="nothing was consumed"):
        await row.keys_until_there_are_none()
    assert row.loop.time() - began < 3 * WAIT_S
    with pytest.raises(Shortage, match="relaying to site C failed: unreachable at site A"):
        await row.streams(A).filled(C, PLAIN, CAPACITY_BYTES, NORMAL)
    with pytest.raises(Shortage, match="not enough key could be relayed to site A"):
        await row.streams(C).filled(A, PLAIN, CAPACITY_BYTES, NORMAL)
    await row.sites[B].start()
    await asyncio.sleep(10)
    await row.key()


@in_a_row
async def test_after_the_stop_nothing_is_begun(row: Row) -> None:
    await row.key()
    streams = row.streams(A)
    await streams.stop()
    await streams.stop()
    assert streams._streams == {}
    streams.wanted(C, PAIR, PLAIN.text, 100, urgent=True)
    assert streams._streams == {}
    connection = ScriptedConnection(C)
    await streams.take(connection)
    assert connection.closed
