"""Streams of another policy: a request is served from those of its own alone, at both ends."""

from __future__ import annotations

import pytest

from qss.core.reservation import events as ev
from qss.core.reservation.pairs import Pairs
from qss.model.errors import Shortage
from qss.model.identifiers import ReservationId, StreamId
from qss.model.records import StreamRecord
from support.link_pair import PAIRS, LinkPair

RELAYED = "{}"


def pair_with_a_relay() -> LinkPair:
    """The second of two device pairs is the relay, at both ends."""
    pair = LinkPair(2)
    for end in (pair.a, pair.b):
        pair.handle(end, ev.SourceAttached(PAIRS[1], RELAYED))
    return pair.ready()


@pytest.mark.parametrize("master", ["a", "b"])
@pytest.mark.parametrize("policy", ["", RELAYED])
def test_keys_come_from_streams_of_the_policy_that_was_asked_for(master: str, policy: str) -> None:
    pair = pair_with_a_relay()
    end = getattr(pair, master)
    streams = {record.policy: record.stream for record in end.link.streams}
    assert set(streams) == {"", RELAYED}
    for _ in range(3):
        reservation = pair.reserve(end, policy=policy)
        pair.settle()
        assert {stream for stream, _ in pair.master_got[reservation]} == {streams[policy]}
    assert end.link.key_count(16, policy) == end.link.key_count(16, RELAYED if not policy else "") - 3


@pytest.mark.parametrize("master", ["a", "b"])
def test_there_is_no_key_of_a_policy_without_a_stream(master: str) -> None:
    pair = pair_with_a_relay()
    end = getattr(pair, master)
    reservation = pair.reserve(end, policy='{"max_hops":2}')
    pair.settle()
    assert isinstance(pair.refused[reservation], Shortage)
    assert end.link.key_count(16, '{"max_hops":2}') == 0


@pytest.mark.parametrize("crashed", ["a", "b"])
def test_a_stream_keeps_its_policy_over_a_crash(crashed: str) -> None:
    pair = pair_with_a_relay()
    pair.crash(getattr(pair, crashed))
    pair.connect()
    pair.settle()
    assert {record.policy for record in getattr(pair, crashed).link.streams} == {"", RELAYED}
    reservation = pair.reserve(pair.b, policy=RELAYED)
    pair.settle()
    assert reservation in pair.master_got


def relayed_record(pair: LinkPair, name: str) -> StreamRecord:
    (record,) = (record for record in getattr(pair, name).link.streams if record.policy == RELAYED)
    return record


@pytest.mark.parametrize("end", ["a", "b"])
def test_a_stream_tells_the_most_repeaters_also_after_a_crash_and_never_fewer(end: str) -> None:
    pair = pair_with_a_relay()
    stream = relayed_record(pair, end).stream
    for repeaters, known in ((2, 2), (1, 2), (4, 4)):
        pair.handle(getattr(pair, end), ev.KeyRelayed(stream, repeaters))
        assert relayed_record(pair, end).repeaters == known
    for name in ("a", "b"):
        pair.key_arrives(getattr(pair, name), pair=PAIRS[1])
    pair.settle()
    pair.crash(getattr(pair, end))
    assert relayed_record(pair, end).repeaters == 4
    pair.connect()
    pair.settle()
    known = {record.stream: record.repeaters for record in pair.other(getattr(pair, end)).link.streams}
    assert known[stream] == 0  # each end notes what it knows itself


def test_what_is_said_of_a_stream_that_is_not_here_is_passed_over() -> None:
    pair = pair_with_a_relay()
    before = pair.a.link.streams
    pair.handle(pair.a, ev.KeyRelayed(StreamId(b"never opened ..."), 2))
    assert pair.a.link.streams == before


@pytest.mark.parametrize("end", ["a", "b"])
def test_which_row_and_stream_a_reservation_is_of(end: str) -> None:
    pair = pair_with_a_relay()
    reservation = pair.reserve(pair.a, policy=RELAYED)
    pair.settle()
    link = getattr(pair, end).link
    row, stream = link.rows_of(reservation)
    assert (row.id, row.stream) == (reservation, stream.stream)
    assert stream == relayed_record(pair, end)
    assert link.rows_of(ReservationId.from_entropy(bytes(16))) is None


def test_what_applications_leave_for_relaying_is_not_kept_of_relayed_key() -> None:
    pair = LinkPair(2, relay_reserve_bytes=1 << 20)
    for end in (pair.a, pair.b):
        pair.handle(end, ev.SourceAttached(PAIRS[1], RELAYED))
    pair.ready()
    plain, relayed = pair.reserve(pair.a), pair.reserve(pair.a, policy=RELAYED)
    pair.settle()
    assert relayed in pair.master_got
    assert isinstance(pair.refused[plain], Shortage)


def test_what_is_left_of_another_policy_takes_no_room() -> None:
    """Key that nobody asks for any more does not keep a link from being filled with what is asked for."""
    pair = LinkPair(2, capacity_bytes=512)
    for end in (pair.a, pair.b):
        pair.handle(end, ev.SourceAttached(PAIRS[1], RELAYED))
    pair.ready(chunks=20)
    for end in (pair.a, pair.b):
        assert sum(record.available for record in end.link.streams if record.policy == RELAYED) == 512
        pair.detach(end, PAIRS[1])
        pair.end_session(end, PAIRS[1])
    pair.rest()
    for end in (pair.a, pair.b):
        end.attached.add(PAIRS[1])
        pair.handle(end, ev.SourceAttached(PAIRS[1], '{"max_hops":2}'))
    for _ in range(8):
        pair.tick(1.0)
        pair.rest()
    for _ in range(4):
        for end in (pair.a, pair.b):
            pair.key_arrives(end, pair=PAIRS[1])
    pair.settle()
    reservation = pair.reserve(pair.b, policy='{"max_hops":2}')
    pair.settle()
    assert reservation in pair.master_got


def test_the_end_that_joins_forgets_pairs_that_are_gone() -> None:
    pairs = Pairs()
    pairs.attach(PAIRS[0], RELAYED)
    pairs.forget(PAIRS[0])
    assert pairs.attached == {PAIRS[0]}
    pairs.detach(PAIRS[0])
    pairs.forget(PAIRS[0])
    assert pairs.policy_of(PAIRS[0]) == ""
