"""Several device pairs on one link: a stream for each, requests spread over them, and pairs that come and go."""

from __future__ import annotations

import pytest

from qss.core.reservation import events as ev
from qss.core.reservation.pairs import MAX_PAIRS
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import PairId, StreamId
from qss.wire import external as wire
from support.link_pair import PAIRS, End, LinkPair

ONE, TWO = PAIRS


def streams_of(end: End) -> dict[PairId, StreamId | None]:
    return {pair: end.link.open_stream(pair) for pair in PAIRS}


def asked_for(end: End, pair: PairId) -> int:
    """How often this end's module of a pair was asked for a stream."""
    return sum(isinstance(effect, ev.OpenSource) and effect.pair == pair for effect in end.effects)


def taken_from(pair: LinkPair) -> dict[StreamId, int]:
    """How many bytes masters got of each stream."""
    taken: dict[StreamId, int] = {}
    for parts in pair.master_got.values():
        for stream, part in parts:
            taken[stream] = taken.get(stream, 0) + len(part)
    return taken


def pass_time(pair: LinkPair, seconds: float = 2.0) -> None:
    pair.settle()
    pair.tick(seconds)
    pair.settle()


def test_each_pair_has_a_stream_and_the_ends_join_at_the_same_pair() -> None:
    pair = LinkPair(pairs=2).ready()
    assert streams_of(pair.a) == streams_of(pair.b)
    assert len({*streams_of(pair.a).values()} - {None}) == 2
    assert pair.a.modules == pair.b.modules == streams_of(pair.a)


def test_a_pair_that_is_attached_later_gets_a_stream_at_once() -> None:
    pair = LinkPair().ready()
    pair.attach(pair.b, TWO)
    pair.settle()
    assert streams_of(pair.a)[TWO] is None, "the owner has no module of it"
    pair.attach(pair.a, TWO)
    pair.settle()
    assert streams_of(pair.a)[TWO] == streams_of(pair.b)[TWO] is not None


def test_a_pair_that_the_other_end_lacks_is_told_and_tried_again_after_the_pause() -> None:
    pair = LinkPair().ready()
    pair.attach(pair.a, TWO)
    pair.settle()
    assert ev.PairAbsent(TWO) in pair.b.effects
    assert streams_of(pair.a)[TWO] is streams_of(pair.b)[TWO] is None
    assert asked_for(pair.a, TWO) == 1
    pair.tick(0.2)
    pair.settle()
    assert asked_for(pair.a, TWO) == 1
    pair.attach(pair.b, TWO)
    pass_time(pair)
    assert asked_for(pair.a, TWO) == 2
    assert streams_of(pair.a)[TWO] == streams_of(pair.b)[TWO] is not None
    assert pair.disconnect_reasons == []


def test_what_is_closed_for_want_of_a_module_has_mark_0_and_leaves_nothing_behind() -> None:
    pair = LinkPair().ready()
    pair.attach(pair.a, TWO)
    pair.sync(pair.a)
    pair.open_source(pair.a)
    pair.key_arrives(pair.a, pair=TWO)  # what one end has alone is burned
    pair.b.effects.clear()
    pair.settle()
    sent = [message for effect in pair.b.effects if isinstance(effect, ev.Send) for message in effect.messages]
    assert [message.mark for message in sent if isinstance(message, wire.Close)] == [0]
    pass_time(pair, 0.2)
    pair.rest()
    pair.balanced()
    assert pair.a.disk.peer is not None
    assert pair.a.disk.peer.past.burned_total == 8 * 64


def test_each_pair_has_a_pause_of_its_own() -> None:
    pair = LinkPair(pairs=2).ready(0)
    before = asked_for(pair.a, TWO)
    pair.end_session(pair.a, ONE)
    pair.settle()
    pair.tick(0.2)
    pair.end_session(pair.a, TWO)
    pair.settle()
    pair.tick(0.9)
    assert ONE in pair.a.opening
    assert TWO not in pair.a.opening
    pass_time(pair, 0.2)
    assert asked_for(pair.a, TWO) == before + 1
    assert streams_of(pair.a) == streams_of(pair.b)


def test_a_pair_that_is_detached_while_its_module_is_asked_is_asked_anew_only_when_that_has_answered() -> None:
    pair = LinkPair(pairs=2).ready(0)
    pair.end_session(pair.a, TWO)
    pair.settle()
    pair.tick(2.0)
    assert TWO in pair.a.opening
    asked = asked_for(pair.a, TWO)
    pair.handle(pair.a, ev.SourceDetached(TWO, "it is gone"))
    pair.handle(pair.a, ev.SourceAttached(TWO))
    pair.tick(2.0)
    assert asked_for(pair.a, TWO) == asked
    del pair.a.opening[TWO]
    pair.handle(pair.a, ev.SourceEnded(TWO, None))
    pair.tick(2.0)
    assert asked_for(pair.a, TWO) == asked + 1


@pytest.mark.parametrize("where", ["a", "b"])
def test_a_detached_pairs_stream_is_used_up_and_keys_flow_on_from_the_other(where) -> None:
    pair = LinkPair(pairs=2).ready(2)
    gone = streams_of(pair.a)[TWO]
    assert gone is not None
    pair.detach(getattr(pair, where), TWO)
    pair.settle()
    assert streams_of(pair.a)[TWO] is streams_of(pair.b)[TWO] is None
    for _ in range(16):  # two streams of two chunks, eight keys each
        pair.reserve(pair.b)
        pair.settle()
    assert taken_from(pair) == {gone: 128, streams_of(pair.a)[ONE]: 128}
    for end in (pair.a, pair.b):
        pair.key_arrives(end)
    pair.settle()
    last = pair.reserve(pair.a)
    pair.settle()
    assert last in pair.master_got
    pair.attach(getattr(pair, where), TWO)
    pass_time(pair)
    assert streams_of(pair.a)[TWO] == streams_of(pair.b)[TWO] is not None
    assert pair.disconnect_reasons == []
    pair.balanced()


def test_no_stream_is_opened_for_a_pair_that_is_gone() -> None:
    pair = LinkPair(pairs=2).ready()
    pair.detach(pair.a, TWO)
    asked = asked_for(pair.a, TWO)
    for _ in range(3):
        pass_time(pair)
    assert asked_for(pair.a, TWO) == asked
    assert pair.a.link.attached == {ONE}


def test_two_pairs_of_different_rate_are_both_drawn_on_in_the_measure_of_their_rates() -> None:
    pair = LinkPair(pairs=2).ready(0)
    for _ in range(40):
        for end in (pair.a, pair.b):
            for _ in range(3):
                pair.key_arrives(end, pair=ONE)
            pair.key_arrives(end, pair=TWO)
        pair.settle()
        for _ in range(14):  # of the 16 that there are
            pair.reserve(pair.a)
        pair.settle()
    taken = taken_from(pair)
    one, two = (taken[stream] for stream in streams_of(pair.a).values() if stream is not None)
    assert one + two == 40 * 14 * 16
    assert 2 < one / two < 4


def test_a_request_lies_within_one_stream() -> None:
    pair = LinkPair(pairs=2).ready(2)
    assert pair.a.link.key_count(16) == 16
    too_long = pair.reserve(pair.a, 9)
    assert "not enough key" in str(pair.refused[too_long])
    fitting = pair.reserve(pair.a, 8)
    pair.settle()
    assert fitting in pair.master_got


def test_two_ends_that_are_full_of_different_streams_come_to_hold_the_same() -> None:
    pair = LinkPair(pairs=2, capacity_bytes=1024).ready(0)
    for _ in range(32):
        pair.key_arrives(pair.a, pair=ONE)
        pair.key_arrives(pair.b, pair=TWO)
    pair.settle()
    assert pair.a.link.key_count(16) == 0
    for _ in range(32):
        pair.key_arrives(pair.a, pair=TWO)
        pair.key_arrives(pair.b, pair=ONE)
    pair.settle()
    assert pair.a.link.key_count(16) == 1024 // 16
    for end in (pair.a, pair.b):
        assert sum(record.available for record in end.link.streams) == 1536


def test_what_closed_streams_hold_counts_first() -> None:
    pair = LinkPair(pairs=2, capacity_bytes=1024).ready(0)
    for _ in range(32):
        for end in (pair.a, pair.b):
            pair.key_arrives(end, pair=ONE)
    pair.settle()
    pair.end_session(pair.a, ONE)
    pass_time(pair)
    for each in PAIRS:
        stream = pair.a.link.open_stream(each)
        assert stream is not None
        assert not pair.a.link.wants_key(stream)


def test_more_pairs_than_may_be_are_refused() -> None:
    pair = LinkPair()
    for number in range(1, MAX_PAIRS):
        pair.attach(pair.a, PairId(bytes([number, *bytes(15)])))
    with pytest.raises(LocalProtocolError):
        pair.attach(pair.a, PairId(bytes(16)))


# --- before the index ends --------------------------------------------------------------------------------------------


def test_a_successor_opens_before_the_index_ends_and_no_key_is_lost() -> None:
    pair = LinkPair(successor_chunks=4).ready(3)
    first = streams_of(pair.a)[ONE]
    assert asked_for(pair.a, ONE) == 1
    for end in (pair.b, pair.a):
        pair.key_arrives(end)  # the fourth chunk
    while pair.a.unsynced:
        pair.sync(pair.a)
    pair.tick()
    assert asked_for(pair.a, ONE) == 2
    assert pair.a.link.open_stream(ONE) == first, "it takes key until its successor is there"
    pair.key_arrives(pair.a)
    pair.settle()
    assert streams_of(pair.a)[ONE] == streams_of(pair.b)[ONE] != first
    assert pair.a.link.key_count(16) == 16, "four chunks that both ends hold"
    for _ in range(16):
        pair.reserve(pair.b)
    pair.settle()
    assert taken_from(pair) == {first: 256}
    pair.rest()
    pair.balanced()


def test_a_successor_that_cannot_be_had_is_tried_again_while_the_stream_goes_on() -> None:
    pair = LinkPair(successor_chunks=4).ready(4)
    first = streams_of(pair.a)[ONE]
    pair.tick()
    assert ONE in pair.a.opening
    del pair.a.opening[ONE]
    pair.handle(pair.a, ev.SourceEnded(ONE, None))
    pair.tick()
    assert ONE not in pair.a.opening
    assert streams_of(pair.a)[ONE] == first
    pass_time(pair)
    assert streams_of(pair.a)[ONE] == streams_of(pair.b)[ONE] != first
