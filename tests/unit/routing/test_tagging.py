"""Updates under one-time tags (Routing 12): agreed on or demanded, refused when they are wrong, waiting for key."""

from __future__ import annotations

import msgspec
import pytest

from qss.core.routing import events as ev
from qss.core.routing.link_tags import SENT_BURST, SENT_PER_SECOND
from qss.core.routing.tag_key import PIECE_BYTES, RANGE_BYTES
from qss.core.routing.tagging import WAIT_S
from qss.model.ranges import Range
from qss.wire import routing as wire
from support.tagged_routers import OTHER, STREAM, A, B, TaggedPair, tag_of

PER_RANGE = RANGE_BYTES // PIECE_BYTES


def ready(here: str = "required", there: str = "required") -> TaggedPair:
    pair = TaggedPair(here, there)
    pair.connect()
    pair.run(3)
    assert pair.phases == ["full", "full"]
    assert pair.agree()
    return pair


def dropped(pair: TaggedPair) -> int:
    return sum(count for (_, reason), count in pair.dropped.items() if reason is ev.Reason.TAG)


def last_tagged(pair: TaggedPair, by: str) -> wire.Tagged:
    return next(message for sender, message in reversed(pair.sent) if sender == by and isinstance(message, wire.Tagged))


def told_by(pair: TaggedPair, origin: str) -> list[wire.Header]:
    """Return what A knows of an origin."""
    return [each.header for each in pair.routers[A].database if each.header.key.origin == origin]


# --- what is agreed on (12.1, 12.2) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [("off", "off"), ("off", "offered"), ("offered", "off")])
def test_who_does_not_tag_works_with_who_offers_it_and_no_key_is_drawn(ends) -> None:
    pair = ready(*ends)
    assert (pair.updates(tagged=True), bool(pair.updates(tagged=False)), sum(pair.drawn.values())) == (0, True, 0)
    assert not pair.breaks


@pytest.mark.parametrize("ends", [("required", "required"), ("offered", "required"), ("required", "offered")])
def test_where_one_end_requires_tags_nothing_comes_or_leaves_without(ends) -> None:
    pair = ready(*ends)
    pair.tell(A, "sae:a", "sae:more")
    pair.run(1)
    assert pair.agree()
    assert (pair.updates(tagged=False), pair.updates(tagged=True) > 2) == (0, True)
    assert pair.drawn == {A: 1, B: 1}
    assert not pair.breaks


def test_where_both_offer_what_there_is_key_for_is_tagged() -> None:
    pair = ready("offered", "offered")
    before = pair.updates(tagged=False)
    for number in range(5):
        pair.tell(B, "sae:b", f"sae:{number}")
        pair.run(1)
    assert pair.agree()
    assert pair.updates(tagged=False) == before
    assert pair.updates(tagged=True) >= 5


@pytest.mark.parametrize("ends", [("required", "off"), ("off", "required")])
def test_who_requires_tags_ends_the_connection_with_who_does_not_tag(ends) -> None:
    pair = TaggedPair(*ends)
    pair.connect()
    pair.run(10, reconnect=True)
    demanding = A if ends[0] == "required" else B
    assert {site for site, _ in pair.breaks} == {demanding}
    assert {why for _, why in pair.breaks} == {
        "it does not tag, and tags are required here: set link_tags to offered or required at both ends"
    }
    assert pair.routers[demanding].dropped == {(OTHER[demanding], ev.Reason.TAG): len(pair.breaks)}
    assert pair.updates(tagged=True) == pair.updates(tagged=False) == 0
    assert [len(router.calculate().homes) for router in pair.routers.values()] == [1, 1]


@pytest.mark.parametrize("there", ["required", "offered"])
def test_nobody_between_two_sites_can_talk_one_out_of_tags_that_it_requires(there) -> None:
    """Tags are taken away, and Updates out of their tags."""
    for strips in ({wire.Tags}, {wire.Tagged}, {wire.Tags, wire.Tagged}):
        pair = TaggedPair("required", there)

        def strip(_, message, strips=strips):
            if type(message) not in strips:
                return [message]
            return [wire.decode_update(message.update)] if isinstance(message, wire.Tagged) else []

        pair.disturb = strip
        pair.connect()
        pair.run(20, reconnect=True)
        assert set(pair.routers[A].calculate().homes) == {"sae:a"}
        assert pair.routers[A].dropped[B, ev.Reason.TAG] >= 1


def test_one_that_offers_can_be_talked_out_of_tags_as_the_page_says() -> None:
    pair = TaggedPair("offered", "offered")
    pair.disturb = lambda _, message: [] if isinstance(message, wire.Tags) else [message]
    pair.connect()
    pair.run(3)
    assert pair.agree()
    assert pair.updates(tagged=True) == 0


def test_one_that_is_off_passes_tags_over_and_takes_nothing_tagged() -> None:
    pair = ready("off", "offered")
    pair.say(B, wire.Tags(True, ()))
    assert pair.phases == ["full", "full"]
    update = wire.encode_update(wire.Update(()))
    pair.say(B, wire.Tagged(STREAM.value, 0, update, bytes(16)))
    assert pair.breaks == [(A, "it tags, which was not agreed on")]


# --- what comes (12.6) ------------------------------------------------------------------------------------------------


def forged(pair: TaggedPair, **changed: object) -> wire.Tagged:
    """Return what B tagged last, taken on to the next place as B would, and then changed."""
    last = last_tagged(pair, B)
    place = last.place + PIECE_BYTES
    tag = tag_of(STREAM.value, place, wire.tagged_text(B, A, STREAM.value, place, last.update))
    return msgspec.structs.replace(last, **{"place": place, "tag": tag, **changed})


def test_what_the_neighbour_would_have_tagged_is_taken() -> None:
    """So what the forgeries below are refused for is what they change."""
    pair = ready()
    pair.say(B, forged(pair))
    assert not pair.breaks


FORGERIES = {
    "another tag": {"tag": bytes(16)},
    "another text": {"update": wire.encode_update(wire.Update(()))},
    "a place that was used": {"place": 0},
    "another stream": {"stream": bytes(16)},
    "a place between two": {"place": PIECE_BYTES * 9 + 1},
    "a place beyond the range": {"place": 64 * RANGE_BYTES},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_ends_the_adjacency_is_counted_and_changes_nothing(forgery) -> None:
    pair = ready()
    before = told_by(pair, B)
    pair.say(B, forged(pair, **FORGERIES[forgery]))
    pair.run(0.1)
    assert [site for site, _ in pair.breaks] == [A]
    assert (pair.phases, dropped(pair)) == (["down", "down"], 1)
    assert told_by(pair, B) == before
    pair.run(4, reconnect=True)
    assert pair.phases == ["full", "full"]
    assert pair.drawn == {A: 1, B: 1}, "a forgery used up key"


def test_what_this_end_tagged_is_not_taken_as_the_neighbours() -> None:
    pair = ready()
    pair.say(B, last_tagged(pair, A))
    assert [site for site, _ in pair.breaks] == [A]


def test_a_replay_ends_the_adjacency() -> None:
    pair = ready()
    pair.say(B, last_tagged(pair, B))
    assert pair.breaks == [(A, "it tagged with key that is not held here, or was used")]


def test_a_tag_that_is_good_over_what_is_no_update_breaks_the_protocol() -> None:
    pair = ready()
    place = last_tagged(pair, B).place + PIECE_BYTES
    for junk in (b"junk", wire.encode([wire.Hello(True, True, 4000, bytes(8))])):
        pair.say(B, wire.Tagged(STREAM.value, place, junk, tag_of(STREAM.value, place, _text(place, junk))))
        assert "no frame" in pair.breaks.pop()[1]
        pair.connect()
        pair.run(1)
        place = last_tagged(pair, B).place + PIECE_BYTES
        assert pair.phases == ["full", "full"]


def _text(place: int, update: bytes) -> bytes:
    return wire.tagged_text(B, A, STREAM.value, place, update)


def test_an_update_without_a_tag_ends_the_adjacency() -> None:
    pair = ready("offered", "required")
    update = wire.decode_update(last_tagged(pair, A).update)
    pair.say(A, update)
    assert pair.breaks == [(B, "an Update came without a tag, and tags are demanded")]
    assert pair.phases == ["down", "down"]


def test_updates_that_get_lost_leave_no_gap_that_matters() -> None:
    pair = ready()
    lost = []
    pair.disturb = lambda _, message: lost.append(message) or [] if isinstance(message, wire.Tagged) else [message]
    pair.tell(A, "sae:a", "sae:lost")
    pair.run(3)
    assert len(lost) >= 2
    pair.disturb = lambda _, message: [message]
    pair.run(9)
    assert pair.agree()
    assert not pair.breaks


# --- key (12.3, 12.4) -------------------------------------------------------------------------------------------------


def test_key_is_used_up_range_after_range_and_drawn_before_it_ends() -> None:
    pair = ready()
    for number in range(200):
        pair.tell(A, "sae:a", f"sae:{number}")
        pair.run(1)
    assert pair.agree()
    assert not pair.breaks
    used = sum(sender == A for sender, message in pair.sent if isinstance(message, wire.Tagged))
    assert used > 3 * PER_RANGE
    assert pair.drawn[A] - used / PER_RANGE <= 1.5
    assert pair.drawn[B] == 1


def test_what_a_flood_costs_in_key_is_bounded() -> None:
    """An origin that changes all the time, and a neighbour that asks for all of it again and again."""
    pair = ready()
    before = pair.updates(tagged=True)
    keys = tuple(instance.header.key for instance in pair.routers[A].database)
    for number in range(400):
        pair.tell(A, "sae:a", f"sae:{number}")
        pair.say(B, wire.Request(keys))
        pair.run(0.05)
    sent = sum(sender == A for sender, message in pair.sent[before:] if isinstance(message, wire.Tagged))
    assert sent <= SENT_BURST + SENT_PER_SECOND * pair.now + 1
    pair.run(10)
    assert pair.agree()
    assert not pair.breaks


@pytest.mark.parametrize("neighbour_first", [True, False])
def test_it_does_not_matter_at_which_end_a_range_comes_first(neighbour_first) -> None:
    pair = TaggedPair("required", "required")
    pair.neighbour_first = neighbour_first
    pair.connect()
    pair.run(0.5)
    assert pair.phases == ["full", "full"]
    for number in range(100):
        pair.tell(A, "sae:a", f"sae:{number}")
        pair.run(1)
    assert pair.agree()
    assert not pair.breaks
    assert pair.drawn[A] > 1


def test_key_outlives_a_connection() -> None:
    pair = ready()
    for _ in range(5):
        pair.cut()
        pair.tell(B, "sae:b", f"sae:{pair.now}")
        pair.connect()
        pair.run(2)
        assert pair.agree()
        assert pair.phases == ["full", "full"]
    assert pair.drawn == {A: 1, B: 1}
    assert not pair.breaks


@pytest.mark.parametrize("site", [A, B])
def test_a_site_that_restarts_draws_anew_and_nothing_is_used_twice(site) -> None:
    pair = ready()
    for _ in range(6):
        pair.start(site)
        pair.connect()
        pair.run(4)
        assert pair.agree()
        assert pair.phases == ["full", "full"]
    assert not pair.breaks
    assert pair.drawn == {A: 7, B: 7}
    assert all(len(tagger.known) <= 2 * wire.MAX_HELD for tagger in pair.taggers.values())


def test_a_range_that_the_neighbour_could_not_read_is_forgotten_and_another_drawn_ever_more_seldom() -> None:
    pair = TaggedPair("required", "required")
    pair.lost_at.add(B)
    pair.connect()
    pair.run(200, reconnect=True)
    assert pair.phases == ["loading", "loading"]
    assert pair.updates(tagged=True) == 0
    assert 4 <= pair.drawn[A] <= 12
    pair.lost_at.clear()
    pair.run(80)
    assert pair.agree()


def test_of_ranges_without_end_the_oldest_are_forgotten() -> None:
    pair = ready()
    for number in range(20):
        start = (1000 + number) * RANGE_BYTES
        pair.give(A, Range(start, start + RANGE_BYTES), own=False)
    held = pair.routers[A].tags(B).theirs.told
    assert [each.place // RANGE_BYTES for each in held] == [1016, 1017, 1018, 1019]
    assert len(pair.taggers[A].known) == 5


@pytest.mark.parametrize("length", [0, 31, 33, 4128, 1 << 20])
def test_ranges_of_other_lengths_are_not_kept(length) -> None:
    pair = ready()
    pair.give(A, Range(1 << 30, (1 << 30) + length), own=False)
    assert len(pair.routers[A].tags(B).theirs.ranges) == 1
    assert len(pair.taggers[A].known) == 2


def test_a_neighbour_that_says_again_and_again_that_all_was_used_has_little_drawn() -> None:
    pair = ready()
    for _ in range(60):
        held = tuple(msgspec.structs.replace(each, place=each.stop) for each in pair.routers[B].tags(A).theirs.told)
        pair.say(B, wire.Tags(True, held))
        pair.run(1)
    assert pair.drawn[A] <= 12


def test_what_a_neighbour_says_it_holds_and_does_not_is_no_reason_to_use_anything_twice() -> None:
    pair = ready()
    (held,) = pair.routers[B].tags(A).theirs.told
    for place in (0, held.place - PIECE_BYTES, held.place + 1, held.stop + PIECE_BYTES, 2**63 - 1):
        pair.say(B, wire.Tags(True, (msgspec.structs.replace(held, place=place),)))
        pair.tell(A, "sae:a", f"sae:{place}")
        pair.run(2, reconnect=True)
    pair.run(20, reconnect=True)
    assert pair.agree()


# --- waiting for key (12.7) -------------------------------------------------------------------------------------------


def test_without_key_an_adjacency_that_demands_tags_waits_and_says_so_and_goes_on_by_itself() -> None:
    pair = TaggedPair("required", "offered")
    pair.has_key = False
    pair.connect()
    pair.run(60)
    assert pair.phases == ["loading", "loading"]
    assert pair.updates(tagged=False) == pair.updates(tagged=True) == 0
    assert [pair.happened(site, ev.Happening.TAG_KEY_SHORT) for site in (A, B)] == [1, 1]
    assert [pair.happened(site, ev.Happening.RESYNC) for site in (A, B)] == [0, 0]
    assert all(router.tags(OTHER[site]).is_short for site, router in pair.routers.items())
    assert 5 <= pair.drawn[A] <= 8
    assert all(router._neighbours[OTHER[site]].requests.asked for site, router in pair.routers.items())
    pair.has_key = True
    pair.run(70)
    assert pair.phases == ["full", "full"]
    assert pair.agree()
    assert not pair.breaks
    assert not any(router.tags(OTHER[site]).is_short for site, router in pair.routers.items())


def test_without_key_what_is_merely_offered_is_sent_without_tag() -> None:
    pair = TaggedPair("offered", "offered")
    pair.has_key = False
    pair.connect()
    pair.run(20)
    assert pair.agree()
    assert (pair.updates(tagged=False) > 0, pair.updates(tagged=True)) == (True, 0)
    assert [pair.happened(site, ev.Happening.TAG_KEY_SHORT) for site in (A, B)] == [0, 0]


def test_a_full_adjacency_whose_key_has_run_out_ends_and_is_full_again_with_key() -> None:
    pair = ready()
    pair.has_key = False
    number = 0
    while pair.phases == ["full", "full"] and number < 150:
        number += 1
        pair.tell(A, "sae:a", f"sae:{number}")
        pair.run(1)
    assert number > PER_RANGE / 2
    assert pair.breaks == [(A, f"there was no key to tag with for {WAIT_S:g} s, and tags are demanded")]
    assert pair.happened(A, ev.Happening.TAG_KEY_SHORT) == 1
    pair.run(30, reconnect=True)
    assert pair.phases == ["loading", "loading"]
    pair.has_key = True
    pair.run(70, reconnect=True)
    assert pair.agree()
    assert len(pair.breaks) == 1
