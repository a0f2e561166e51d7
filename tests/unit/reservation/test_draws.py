"""Ranges for relays: the same at both ends or at none, used for nothing else whatever breaks, and all accounted for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qss.core.reservation import events as ev
from qss.core.reservation.draws import OPEN_S
from qss.core.reservation.relay_events import DrawFailure
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import TransferId
from qss.model.ranges import Range
from qss.model.records import BurnReason
from qss.wire import external as wire
from support.draw_book import Place
from support.link_pair import PAIRS, End, LinkPair

BOTH = pytest.mark.parametrize("upstream", ["a", "b"])
"""A owns the link's streams: it allocates, and B asks it to."""

CAPACITY = 8 * 64
"""Bytes that both ends hold when a pair is ready."""


def ends(pair: LinkPair, upstream: str) -> tuple[End, End]:
    return (pair.a, pair.b) if upstream == "a" else (pair.b, pair.a)


def burned(end: End, *reasons: BurnReason) -> int:
    tallies = [end.link.peer.past, *(record.tally for record in end.link.streams)]
    return sum(bits for tally in tallies for reason, bits in tally.burned.items() if not reasons or reason in reasons)


def relayed(end: End) -> int:
    return sum(record.tally.relayed for record in end.link.streams)


def place_at(pair: LinkPair, end: End, draw: TransferId) -> Place | None:
    """The range that a relay at this end has in hands."""
    return pair.draws.ready.get(end.name, {}).get(draw, (None, 0.0))[0]


def failures(pair: LinkPair, end: End, draw: TransferId) -> list[ev.DrawFailure]:
    return pair.draws.failed.get((end.name, draw), [])


def said(end: End, kind: type[wire.Message]) -> list[wire.Message]:
    return [m for e in end.effects if isinstance(e, ev.Send) for m in e.messages if isinstance(m, kind)]


def erased(end: End, place: Place | None) -> bool:
    assert place is not None
    return any(
        isinstance(effect, ev.Erase) and effect.stream == place[0] and any(place[1] in part for part in effect.parts)
        for effect in end.effects
    )


def in_step(pair: LinkPair) -> bool:
    """Whether the ends agree on what is left, and on every bit there is an entry."""
    pair.check()
    pair.balanced()
    pair.kept_its_books()
    heads = [[(r.stream, r.head) for r in end.link.streams if r.available] for end in (pair.a, pair.b)]
    return heads[0] == heads[1]


def works(pair: LinkPair) -> bool:
    """Whether either end can draw, and reserve."""
    for end in (pair.a, pair.b):
        draw, reservation = pair.draw(end), pair.reserve(end)
        pair.settle()
        if place_at(pair, pair.a, draw) is None or place_at(pair, pair.b, draw) is None:
            return False
        if reservation not in pair.master_got:
            return False
    return in_step(pair)


# --- the way it should go -------------------------------------------------------------------------------------------


@BOTH
def test_both_ends_get_the_same_range_and_count_it_as_relayed(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    draw = pair.draw(up, 48)
    pair.settle()
    assert place_at(pair, up, draw) == place_at(pair, down, draw) is not None
    own = {end.name: effect.own for end in (up, down) for effect in end.effects if isinstance(effect, ev.DrawReady)}
    assert own == {up.name: True, down.name: False}
    for end in (up, down):
        (record,) = end.disk.streams.values()
        assert (record.tally.relayed, record.head) == (8 * 48, 48)
    assert works(pair)
    assert burned(pair.a) == burned(pair.b) == 0


@BOTH
def test_an_end_waits_for_its_own_commit_and_for_no_other(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    draw = pair.draw(up)
    if up is pair.b:
        pair.receive(pair.a)
    assert not pair.draws.places
    pair.sync(pair.a)
    assert place_at(pair, pair.a, draw)  # and B has not even heard of the range
    pair.receive(pair.b)
    assert place_at(pair, pair.b, draw) is None
    pair.sync(pair.b)
    assert place_at(pair, up, draw) == place_at(pair, down, draw)


def test_a_non_owner_may_be_the_first_to_have_the_range() -> None:
    pair = LinkPair().ready()
    draw = pair.draw(pair.b)
    pair.receive(pair.a)
    pair.receive(pair.b)
    pair.sync(pair.b)
    assert place_at(pair, pair.b, draw)
    assert place_at(pair, pair.a, draw) is None


def test_ranges_leave_in_their_order_whatever_they_are_for() -> None:
    pair = LinkPair().ready()
    asked, drawn = pair.reserve(pair.b), pair.draw(pair.b)
    pair.receive(pair.a)
    mine, own = pair.reserve(pair.a), pair.draw(pair.a)
    pair.receive(pair.a)
    later = pair.reserve(pair.a)
    pair.settle()
    assert {asked, mine, later} <= pair.master_got.keys()
    for end in (pair.a, pair.b):
        assert all(place_at(pair, end, draw) for draw in (drawn, own))
        assert burned(end) == 0
    assert in_step(pair)


def test_both_ends_may_draw_at_the_same_time() -> None:
    pair = LinkPair().ready()
    draws = [pair.draw(end) for _ in range(3) for end in (pair.a, pair.b)]
    pair.settle()
    assert all(place_at(pair, end, draw) for end in (pair.a, pair.b) for draw in draws)
    assert burned(pair.a) == burned(pair.b) == 0
    assert in_step(pair)


def test_ranges_come_from_all_device_pairs() -> None:
    pair = LinkPair(2).ready()
    for _ in range(4):
        pair.draw(pair.a, 64)
        pair.draw(pair.b, 64)
        pair.settle()
    assert [record.tally.relayed for record in pair.a.link.streams] == [8 * 256, 8 * 256]
    assert [record.tally.relayed for record in pair.b.link.streams] == [8 * 256, 8 * 256]


# --- how much -------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("urgent", "most"), [(True, CAPACITY - 100), (False, CAPACITY - 200)])
def test_what_applications_need_is_left(upstream: str, urgent: bool, most: int) -> None:
    pair = LinkPair(relay_floor_bytes=100, capacity_bytes=400).ready(chunks=0)
    pair.settle()
    for end in (pair.a, pair.b):
        pair.key_arrives(end, CAPACITY)
    pair.settle()
    up, down = ends(pair, upstream)
    refused = pair.draw(up, most + 1, urgent=urgent)
    pair.settle()
    for end in (pair.a, up):  # B hears nothing of what A cannot have
        assert failures(pair, end, refused) == [ev.DrawFailure.SHORTAGE]
    for end in (up, down):
        assert relayed(end) == burned(end) == 0
    had = pair.draw(up, most, urgent=urgent)
    pair.settle()
    assert place_at(pair, up, had)
    reservation = pair.reserve(pair.b, (CAPACITY - most) // 16)  # applications get the rest
    pair.settle()
    assert reservation in pair.master_got


def test_a_floor_above_half_of_what_the_link_may_hold_counts_for_every_draw() -> None:
    pair = LinkPair(relay_floor_bytes=300, capacity_bytes=CAPACITY).ready()
    refused, had = pair.draw(pair.a, CAPACITY - 299, urgent=False), pair.draw(pair.a, CAPACITY - 300, urgent=False)
    pair.settle()
    assert failures(pair, pair.a, refused) == [ev.DrawFailure.SHORTAGE]
    assert place_at(pair, pair.b, had)


def test_what_applications_leave_for_relaying_can_be_drawn() -> None:
    pair = LinkPair(relay_reserve_bytes=CAPACITY).ready()
    draw = pair.draw(pair.b, CAPACITY)
    pair.settle()
    assert place_at(pair, pair.a, draw) == place_at(pair, pair.b, draw) is not None


def test_only_what_both_ends_hold_is_drawn() -> None:
    pair = LinkPair().ready(chunks=0)
    pair.key_arrives(pair.a)
    pair.settle()
    draws = [pair.draw(pair.a), pair.draw(pair.b)]
    pair.settle()
    assert [failures(pair, pair.a, draw) for draw in draws] == 2 * [[ev.DrawFailure.SHORTAGE]]
    assert failures(pair, pair.b, draws[1]) == [ev.DrawFailure.SHORTAGE]
    assert relayed(pair.a) == relayed(pair.b) == 0


@BOTH
def test_no_end_has_more_draws_open_than_it_may(upstream: str) -> None:
    pair = LinkPair(max_draws=2).ready()
    up, down = ends(pair, upstream)
    open_ = [pair.draw(up), pair.draw(down)]
    pair.settle()
    beyond = pair.draw(up)
    assert failures(pair, up, beyond) == [ev.DrawFailure.LIMIT]
    pair.end_draw(up, open_[0], used=True)
    full_there = pair.draw(up)
    pair.settle()
    assert ev.DrawFailure.LIMIT in failures(pair, up, full_there)
    assert failures(pair, down, full_there) == [ev.DrawFailure.LIMIT]
    assert place_at(pair, down, full_there) is None
    pair.end_draw(up, full_there, used=False)  # where it was had before it was refused
    pair.end_draw(down, open_[0], used=True)
    again = pair.draw(up)
    pair.settle()
    assert place_at(pair, up, again) == place_at(pair, down, again) is not None
    assert in_step(pair)


# --- refusals and delays --------------------------------------------------------------------------------------------


def test_an_owner_that_does_not_answer_is_waited_for_so_long_and_its_late_range_is_refused() -> None:
    pair = LinkPair(reply_timeout_s=5.0).ready()
    draw = pair.draw(pair.b)
    pair.tick(4.9)
    assert failures(pair, pair.b, draw) == []
    pair.tick(0.2)
    assert failures(pair, pair.b, draw) == [ev.DrawFailure.LATE]
    pair.receive(pair.a)
    pair.receive(pair.b)
    assert said(pair.b, wire.Undrawn) == [wire.Undrawn(draw.value, wire.Reason.LATE)]
    pair.receive(pair.a)
    assert failures(pair, pair.a, draw) == [ev.DrawFailure.LATE]
    pair.rest()
    assert not pair.draws.places
    assert failures(pair, pair.b, draw) == [ev.DrawFailure.LATE]
    assert (burned(pair.a), burned(pair.a, BurnReason.ABANDONED)) == (128, 128)
    assert (burned(pair.b), burned(pair.b, BurnReason.SKIPPED)) == (128, 128)
    assert works(pair)


def test_an_owner_whose_range_is_refused_keeps_what_may_be_in_use_until_that_ends() -> None:
    pair = LinkPair(max_draws=1).ready()
    other = pair.draw(pair.b)
    pair.settle()
    pair.end_draw(pair.a, other, used=True)
    draw = pair.draw(pair.a)
    pair.sync(pair.a)
    assert place_at(pair, pair.a, draw)
    pair.settle()
    assert failures(pair, pair.a, draw) == failures(pair, pair.b, draw) == [ev.DrawFailure.LIMIT]
    pair.rest()
    assert not erased(pair.a, place_at(pair, pair.a, draw))
    assert relayed(pair.a) == 256
    place = place_at(pair, pair.a, draw)
    pair.end_draw(pair.a, draw, used=True)
    pair.rest()
    assert erased(pair.a, place)
    assert (relayed(pair.a), burned(pair.a)) == (256, 0)
    assert (relayed(pair.b), burned(pair.b, BurnReason.SKIPPED)) == (128, 128)
    assert in_step(pair)


@BOTH
def test_a_range_that_the_other_end_has_given_up_meanwhile_is_refused(upstream: str) -> None:
    pair = LinkPair().ready()
    up, _ = ends(pair, upstream)
    (record,) = pair.b.link.streams
    draw = pair.draw(up)
    if up is pair.b:
        pair.receive(pair.a)
    pair.handle(pair.b, ev.KeyUnreadable(record.stream, Range(0, 128), 128))
    pair.receive(pair.b)
    pair.receive(pair.a)
    assert failures(pair, pair.a, draw) == failures(pair, pair.b, draw) == [ev.DrawFailure.REFUSED]
    pair.rest()
    assert not pair.draws.places
    assert burned(pair.a, BurnReason.ABANDONED) == 128
    assert pair.disconnect_reasons == []
    assert works(pair)


@BOTH
def test_a_range_of_a_stream_that_is_gone_is_refused(upstream: str) -> None:
    pair = LinkPair().ready(chunks=1)
    up, _ = ends(pair, upstream)
    (record,) = pair.b.link.streams
    for end in (pair.a, pair.b):
        pair.end_session(end)
    pair.settle()
    draw = pair.draw(up, 32)
    if up is pair.b:
        pair.receive(pair.a)
    pair.handle(pair.b, ev.KeyUnreadable(record.stream, Range(0, 64), 64))
    pair.handle(pair.b, ev.Tick())
    assert record.stream not in {each.stream for each in pair.b.link.streams}
    pair.receive(pair.b)
    pair.receive(pair.a)
    assert failures(pair, pair.a, draw) == failures(pair, pair.b, draw) == [ev.DrawFailure.REFUSED]
    assert said(pair.b, wire.Undrawn) == [wire.Undrawn(draw.value, wire.Reason.STREAM)]
    pair.rest()
    assert pair.disconnect_reasons == []
    pair.balanced()


@BOTH
def test_a_relay_that_gives_up_early_leaves_nothing_behind(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    draw = pair.draw(up)
    pair.end_draw(up, draw, used=False)
    pair.settle()
    assert place_at(pair, up, draw) is None
    if up is pair.b:  # the owner had allocated for nothing, and heard so
        assert failures(pair, down, draw) == [ev.DrawFailure.LATE]
    pair.end_draw(down, draw, used=False)  # it had the range before it heard, or hears nothing over this link
    pair.rest()
    assert burned(pair.a) == burned(pair.b) == 128
    assert relayed(pair.a) == relayed(pair.b) == 0
    assert works(pair)


def test_a_name_that_is_drawn_anew_does_not_get_the_range_before_its_commit() -> None:
    pair = LinkPair().ready()
    draw = pair.draw(pair.a)
    pair.end_draw(pair.a, draw, used=False)
    assert pair.draw(pair.a, draw=draw) == draw
    pair.sync(pair.a)
    assert place_at(pair, pair.a, draw) is None
    pair.sync(pair.a)
    assert place_at(pair, pair.a, draw)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("durable", [True, False])
def test_one_name_that_both_ends_draw_under_is_refused_and_no_range_is_used_from_both_sides(
    first: str, durable: bool
) -> None:
    """A transfer's source chooses the name, and can have two transfers cross: pads must not meet, nor links suffer."""
    pair = LinkPair().ready()
    up, down = ends(pair, first)
    draw = pair.draw(up)
    pair.draw(down, draw=draw)
    if durable:
        pair.sync(pair.a)
    while pair.a.outgoing or pair.b.outgoing:
        for end in (pair.a, pair.b):
            pair.receive(end)
    pair.settle()
    assert pair.disconnect_reasons == []
    owned = [e for end in (pair.a, pair.b) for e in end.effects if isinstance(e, ev.DrawReady) and e.own]
    assert len(owned) == durable  # at the owner, whose commit was there first; and it hears that it comes to nothing
    for end in (pair.a, pair.b):
        assert failures(pair, end, draw) == [ev.DrawFailure.REFUSED]
        pair.end_draw(end, draw, used=False)
    pair.rest()
    assert works(pair)


@BOTH
def test_a_name_that_the_other_end_has_open_is_refused(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    draw = pair.draw(up)
    pair.settle()
    pair.draw(down, draw=draw)
    assert failures(pair, down, draw) == [ev.DrawFailure.REFUSED]
    assert place_at(pair, down, draw) == place_at(pair, up, draw) is not None
    pair.settle()
    assert in_step(pair)


@BOTH
def test_a_name_that_the_other_end_has_not_done_with_is_refused(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    draw = pair.draw(up)
    pair.settle()
    place = place_at(pair, down, draw)
    pair.end_draw(up, draw, used=True)
    pair.draw(up, draw=draw)
    while pair.a.outgoing or pair.b.outgoing:
        for end in (pair.a, pair.b):
            pair.receive(end)
    assert failures(pair, up, draw) == [ev.DrawFailure.REFUSED]
    assert place_at(pair, down, draw) == place
    assert failures(pair, down, draw) == []
    assert pair.disconnect_reasons == []


@BOTH
def test_a_relay_does_not_draw_twice_under_one_name_nor_nothing_nor_use_what_it_has_not_got(upstream: str) -> None:
    pair = LinkPair().ready()
    up, _ = ends(pair, upstream)
    draw = pair.draw(up)
    with pytest.raises(LocalProtocolError, match="twice"):
        pair.draw(up, draw=draw)
    with pytest.raises(LocalProtocolError, match="used"):
        pair.end_draw(up, draw, used=True)
    for length in (0, 1 << 32):
        with pytest.raises(LocalProtocolError, match="length"):
            pair.draw(up, length)


def test_what_is_not_open_is_ended_without_harm() -> None:
    pair = LinkPair().ready()
    for end in (pair.a, pair.b):
        pair.end_draw(end, TransferId(b"never drawn here"), used=True)
    assert works(pair)


# --- what breaks ----------------------------------------------------------------------------------------------------


@BOTH
def test_without_a_connection_nothing_is_drawn(upstream: str) -> None:
    pair = LinkPair().ready()
    up, _ = ends(pair, upstream)
    pair.disconnect()
    draw = pair.draw(up)
    assert failures(pair, up, draw) == [ev.DrawFailure.UNREACHABLE]
    pair.connect()
    pair.settle()
    assert works(pair)


@BOTH
def test_a_lost_connection_ends_what_is_not_in_hands_and_leaves_the_rest(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    kept = pair.draw(up)
    pair.settle()
    lost = pair.draw(up)
    if up is pair.b:
        pair.receive(pair.a)
    pair.receive(pair.b)
    pair.disconnect()
    for end in (up, down):
        assert failures(pair, end, lost) == [ev.DrawFailure.UNREACHABLE]
        assert failures(pair, end, kept) == []
    pair.connect()
    pair.rest()
    for end in (up, down):
        assert place_at(pair, end, kept)
        assert not erased(end, place_at(pair, end, kept))
        assert (relayed(end), burned(end, BurnReason.ABANDONED)) == (128, 128)
    assert works(pair)


def test_an_ask_for_a_range_ends_with_its_connection() -> None:
    pair = LinkPair().ready()
    draw = pair.draw(pair.b)
    pair.disconnect()
    assert failures(pair, pair.b, draw) == [ev.DrawFailure.UNREACHABLE]
    pair.connect()
    pair.rest()
    assert burned(pair.a) == burned(pair.b) == 0
    assert pair.draw(pair.b, draw=draw) == draw
    pair.settle()
    assert place_at(pair, pair.a, draw)


def _steps(pair: LinkPair) -> list[Callable[[], None]]:
    """What happens, one thing after another, to a draw of either end."""
    a, b = pair.a, pair.b
    return [
        lambda: pair.receive(a),
        lambda: pair.sync(a),
        lambda: pair.receive(b),
        lambda: pair.sync(b),
        lambda: pair.receive(a),
        lambda: pair.sync(a),
    ]


@pytest.mark.parametrize("steps", range(7))
@pytest.mark.parametrize("what", ["crash a", "crash b", "crash both", "fail a", "fail b", "disconnect"])
@BOTH
def test_whatever_breaks_at_whichever_step_no_bit_is_used_twice(upstream: str, what: str, steps: int) -> None:
    pair = LinkPair().ready()
    up, _ = ends(pair, upstream)
    drawn = pair.draw(up)
    for step in _steps(pair)[:steps]:
        step()
    had = set(pair.draws.all_places())
    match what.split():
        case ["disconnect"]:
            pair.disconnect()
        case ["crash", "both"]:
            pair.crash(pair.a)
            pair.crash(pair.b)
        case [how, which]:
            getattr(pair, how)(getattr(pair, which))
            pair.disconnect()  # also where nothing was being written
    pair.connect()
    pair.rest()
    pair.tick(2.0)
    pair.rest()
    for end in (pair.a, pair.b):
        pair.key_arrives(end)
    pair.settle()
    assert set(pair.draws.all_places()) == had
    assert drawn not in up.waiting
    assert works(pair)  # and finds that nothing overlaps what was in anybody's hands before


@BOTH
def test_a_store_that_refuses_takes_all_ranges_back(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    had = pair.draw(up)
    pair.settle()
    lost = pair.draw(up)
    for end in (pair.a, pair.b):
        pair.receive(end)
    commit = up.unsynced.popleft()
    pair.handle(up, ev.CommitFailed(commit.token, "the disk is full"))
    for draw in (had, lost):
        assert failures(pair, up, draw) == [ev.DrawFailure.STOPPED]
    later = pair.draw(up)
    assert failures(pair, up, later) == [ev.DrawFailure.STOPPED]
    pair.end_draw(up, had, used=True)
    assert place_at(pair, down, had)


@BOTH
def test_after_a_start_what_was_drawn_counts_as_relayed_and_is_erased(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    draw = pair.draw(up)
    pair.settle()
    place = place_at(pair, up, draw)
    pair.crash(up)
    pair.connect()
    pair.rest()
    assert relayed(up) == relayed(down) == 128
    assert erased(up, place)
    assert not erased(down, place)
    pair.end_draw(up, draw, used=False)  # by nobody that knows of it
    assert relayed(up) == 128


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("restored", ["a", "b"])
@BOTH
def test_a_restored_store_uses_nothing_that_was_drawn_before(upstream: str, restored: str, noticed: bool) -> None:
    """Also if its neighbour has not heard of its last commit: then the neighbour's head says what is used."""
    pair = LinkPair().ready()
    end = getattr(pair, restored)
    backup = end.disk.copy()
    draw = pair.draw(ends(pair, upstream)[0])
    pair.settle()
    if noticed:
        pair.handle(end, ev.Want(PAIRS[0], "{}", 1, urgent=True))  # whatever it says carries its commit number
        pair.settle()
    other = pair.other(end)
    pair.restore(end, backup)
    pair.connect()
    pair.rest()
    assert place_at(pair, other, draw)
    assert relayed(other) == 128
    assert burned(end, BurnReason.RESTORED) == (8 * CAPACITY if noticed else 0)
    assert burned(end, BurnReason.SKIPPED) == (0 if noticed else 128)
    pair.tick(2.0)
    pair.rest()
    for each in (pair.a, pair.b):
        pair.key_arrives(each)
    pair.settle()
    pair.draw(pair.a)
    pair.draw(pair.b)
    pair.settle()
    assert len(pair.draws.places) == 3
    pair.check()
    pair.balanced()


def test_a_range_that_was_refused_is_burned_at_once() -> None:
    """The owner may be using it; and if its store is put back, the other end's head is what tells."""
    pair = LinkPair(max_draws=1).ready()
    pair.draw(pair.b)
    pair.settle()
    backup = pair.a.disk.copy()
    pair.end_draw(pair.a, next(iter(pair.draws.ready[pair.a.name])), used=True)
    draw = pair.draw(pair.a)
    pair.sync(pair.a)
    place = place_at(pair, pair.a, draw)
    pair.settle()  # B has one open, and refuses this one
    assert place is not None
    assert place[1].stop == pair.b.disk.streams[place[0]].head
    pair.crash(pair.b)
    pair.restore(pair.a, backup)
    pair.connect()
    pair.rest()
    later = pair.draw(pair.b)
    pair.settle()
    assert place_at(pair, pair.a, later) not in (None, place)
    pair.check()


# --- afterwards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [True, False])
@BOTH
def test_a_range_is_erased_at_an_end_once_it_is_ended_there(upstream: str, used: bool) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    draw = pair.draw(up)
    pair.settle()
    pair.reserve(pair.a)
    pair.rest()
    place = place_at(pair, up, draw)
    assert not erased(up, place)
    pair.end_draw(up, draw, used=used)
    pair.rest()
    assert erased(up, place)
    assert not erased(down, place)
    assert (relayed(up), burned(up, BurnReason.ABANDONED)) == ((128, 0) if used else (0, 128))
    assert (relayed(down), burned(down)) == (128, 0)
    assert in_step(pair)


@BOTH
def test_a_range_that_nobody_ends_counts_as_used_after_a_while(upstream: str) -> None:
    pair = LinkPair().ready()
    up, _ = ends(pair, upstream)
    draw = pair.draw(up)
    pair.settle()
    place = place_at(pair, up, draw)
    pair.tick(OPEN_S - 2.0)
    pair.rest()
    for end in (pair.a, pair.b):
        assert not erased(end, place)
    pair.tick(1.0)
    pair.rest()
    for end in (pair.a, pair.b):
        assert erased(end, place)
        assert (relayed(end), burned(end)) == (128, 0)
    pair.end_draw(up, draw, used=False)
    assert relayed(up) == 128
    for end in (pair.a, pair.b):  # whoever has it still must not end another one of its name
        (gone,) = (effect for effect in end.effects if isinstance(effect, ev.DrawFailed))
        assert (gone.draw, gone.reason, gone.own) == (draw, DrawFailure.STOPPED, end is up)


@BOTH
def test_tags_have_no_range_that_is_longer_than_they_need(upstream: str) -> None:
    pair = LinkPair().ready(chunks=128)
    up, _ = ends(pair, upstream)
    pair.handle(up, ev.Draw(TransferId(b"t" * 16), wire.MAX_TAGS_BYTES + 1, urgent=True, purpose=wire.Purpose.TAGS))
    pair.settle()
    assert [effect.reason for effect in up.effects if isinstance(effect, ev.DrawFailed)] == [DrawFailure.LIMIT]
    pair.handle(up, ev.Draw(TransferId(b"u" * 16), wire.MAX_TAGS_BYTES, urgent=True, purpose=wire.Purpose.TAGS))
    pair.settle()
    assert [effect.purpose for effect in up.effects if isinstance(effect, ev.DrawReady)] == [wire.Purpose.TAGS]


def test_a_stream_is_not_forgotten_while_a_relay_has_a_range_of_it() -> None:
    pair = LinkPair().ready(chunks=1)
    draw = pair.draw(pair.a, 64)
    pair.settle()
    place = place_at(pair, pair.a, draw)
    assert place is not None
    for end in (pair.a, pair.b):
        pair.end_session(end, *PAIRS)
    pair.rest()
    assert place[0] in {record.stream for record in pair.a.link.streams}
    pair.end_draw(pair.a, draw, used=True)
    pair.rest()
    assert place[0] not in {record.stream for record in pair.a.link.streams}
    assert place[0] in {record.stream for record in pair.b.link.streams}
    assert pair.a.link.peer.past.relayed == 8 * 64
    pair.end_draw(pair.b, draw, used=False)
    pair.rest()
    assert place[0] not in {record.stream for record in pair.b.link.streams}
    assert pair.b.link.peer.past.burned == {BurnReason.ABANDONED: 8 * 64}
    pair.kept_its_books()


# --- wants ----------------------------------------------------------------------------------------------------------


@BOTH
def test_what_one_end_wants_the_other_hears_unread(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    pair.handle(up, ev.Want(PAIRS[1], '{"max_hops":3}', 4096, urgent=False))
    pair.settle()
    assert [e for e in down.effects if isinstance(e, ev.Wanted)] == [
        ev.Wanted(PAIRS[1], '{"max_hops":3}', 4096, urgent=False)
    ]
    assert not up.unsynced
    assert not down.unsynced


def test_what_is_wanted_without_a_connection_is_not_said_later() -> None:
    pair = LinkPair().ready()
    pair.disconnect()
    pair.handle(pair.a, ev.Want(PAIRS[0], "{}", 1, urgent=True))
    pair.connect()
    pair.rest()
    assert said(pair.a, wire.Want) == []


@BOTH
@pytest.mark.parametrize("urgent", [True, False])
def test_tags_get_the_last_of_what_is_left_and_relays_do_not(upstream: str, urgent: bool) -> None:
    pair = LinkPair(relay_floor_bytes=CAPACITY - 8, capacity_bytes=CAPACITY).ready()
    up, _ = ends(pair, upstream)
    names = {purpose: pair.draw(up, purpose=purpose, urgent=urgent) for purpose in wire.Purpose}
    pair.settle()
    assert failures(pair, up, names[wire.Purpose.RELAY]) == [ev.DrawFailure.SHORTAGE]
    assert place_at(pair, up, names[wire.Purpose.TAGS]) is not None
    rest = pair.draw(up, CAPACITY - 16, purpose=wire.Purpose.TAGS, urgent=urgent)
    pair.settle()
    assert place_at(pair, up, rest) is not None
    assert in_step(pair)


@BOTH
def test_both_ends_hear_what_a_range_is_for_and_so_does_whoever_does_not_get_it(upstream: str) -> None:
    pair = LinkPair().ready()
    up, down = ends(pair, upstream)
    for purpose in wire.Purpose:
        draw = pair.draw(up, purpose=purpose)
        pair.settle()
        assert place_at(pair, up, draw) == place_at(pair, down, draw) is not None
        heard = [e.purpose for end in (up, down) for e in end.effects if isinstance(e, ev.DrawReady) and e.draw == draw]
        assert heard == [purpose, purpose]
        refused = pair.draw(up, 2 * CAPACITY, purpose=purpose)
        pair.settle()
        failed = [e for e in up.effects if isinstance(e, ev.DrawFailed) and e.draw == refused]
        assert [(e.reason, e.purpose) for e in failed] == [(ev.DrawFailure.SHORTAGE, purpose)]
