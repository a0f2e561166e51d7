"""Places of key for tags: each piece once, in order, whatever the neighbour tells or has lost."""

from __future__ import annotations

import pytest

from qss.core.routing.tag_key import (
    LONGEST_PAUSE_S,
    PAUSE_S,
    PIECE_BYTES,
    RANGE_BYTES,
    UNHELD_S,
    NeighboursKey,
    OwnKey,
    TagRange,
    is_range,
)
from qss.model.identifiers import StreamId
from qss.model.ranges import Range
from qss.wire.routing import HeldRange

ONE, OTHER = StreamId(b"one stream of it"), StreamId(b"the other stream")
PIECES = 4
PARTS = tuple(Range(start, start + PIECES * PIECE_BYTES) for start in (0, 1024, 4096))


def held(stream: StreamId, part: Range, pieces: int = 0) -> HeldRange:
    return HeldRange(stream.value, part.start + pieces * PIECE_BYTES, part.stop)


def own(*parts: Range) -> OwnKey:
    key = OwnKey()
    for part in parts:
        key.came(ONE, part, 0.0)
    key.told(tuple(held(ONE, part) for part in parts), 0.0)
    return key


def theirs(*parts: Range) -> NeighboursKey:
    key = NeighboursKey()
    for part in parts:
        key.came(ONE, part, 0.0)
    return key


def places(key: OwnKey, number: int) -> list[int]:
    return [key.take().place for _ in range(number)]


# --- what this end tags with ------------------------------------------------------------------------------------------


def test_pieces_are_taken_in_order_and_ranges_one_after_the_other() -> None:
    key = own(*PARTS[:2])
    assert key.left == 2 * PIECES
    assert places(key, 2 * PIECES) == [part.start + n * PIECE_BYTES for part in PARTS[:2] for n in range(PIECES)]
    assert (key.left, [each.part for each in key.forgotten]) == (0, list(PARTS[:2]))


def test_a_range_that_was_not_told_held_is_not_used_and_one_drawn_before_never_after() -> None:
    key = own(*PARTS)
    key.told((held(ONE, PARTS[1]), held(ONE, PARTS[2])), 1.0)
    assert places(key, 1) == [PARTS[1].start]
    key = OwnKey()
    for part in PARTS[:2]:
        key.came(ONE, part, 0.0)
    key.told((held(ONE, PARTS[1]),), 0.0)
    assert places(key, 1) == [PARTS[1].start]
    key.told((held(ONE, PARTS[0]), held(ONE, PARTS[1])), 0.0)
    assert places(key, 1) == [PARTS[1].start + PIECE_BYTES]
    assert [each.part for each in key.forgotten] == [PARTS[0]]


def test_a_new_connection_has_been_told_nothing() -> None:
    key = own(PARTS[0])
    key.connected(5.0)
    assert key.left == 0
    key.told((held(ONE, PARTS[0]),), 5.0)
    assert key.left == PIECES


@pytest.mark.parametrize(("told", "next_one"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_of_both_ends_places_the_later_counts(told: int, next_one: int) -> None:
    key = own(PARTS[0])
    places(key, 2)
    key.told((held(ONE, PARTS[0], told),), 0.0)
    assert places(key, 1) == [PARTS[0].start + next_one * PIECE_BYTES]


@pytest.mark.parametrize(
    "claim",
    [
        held(OTHER, PARTS[0]),
        HeldRange(ONE.value, 1, PARTS[0].stop),
        HeldRange(ONE.value, PARTS[0].stop + PIECE_BYTES, PARTS[0].stop),
        HeldRange(ONE.value, 0, PARTS[0].stop - PIECE_BYTES),
        held(ONE, PARTS[1], -1),
    ],
    ids=["another stream", "between pieces", "beyond the end", "another end", "before the begin"],
)
def test_a_claim_that_cannot_be_is_none(claim: HeldRange) -> None:
    part = PARTS[1] if claim.stop == PARTS[1].stop else PARTS[0]
    key = OwnKey()
    key.came(ONE, part, 0.0)
    key.told((claim,), 0.0)
    assert key.left == 0


def test_the_next_range_is_drawn_when_half_of_one_is_used_and_once_at_a_time() -> None:
    key = OwnKey()
    assert [key.wants(0.0), key.wants(1.0)] == [True, False]
    whole = Range(0, RANGE_BYTES)
    key.came(ONE, whole, 1.0)
    key.told((held(ONE, whole),), 1.0)
    half = RANGE_BYTES // PIECE_BYTES // 2
    places(key, half - 1)
    assert not key.wants(2.0)
    places(key, 1)
    assert [key.wants(2.0), key.wants(2.0)] == [True, False]


def test_draws_in_vain_come_ever_more_seldom_until_one_is_used() -> None:
    key, now, pauses = OwnKey(), 0.0, []
    for _ in range(9):
        assert key.wants(now)
        key.failed(now)
        began = now
        while not key.wants(now):
            now += PAUSE_S / 2
        pauses.append(now - began)
        key.failed(now)
        now += 1000
    assert pauses[:3] == [PAUSE_S, 4 * PAUSE_S, 16 * PAUSE_S]
    assert set(pauses[4:]) == {LONGEST_PAUSE_S}
    assert key.wants(now)
    key.came(ONE, PARTS[0], now)
    key.told((held(ONE, PARTS[0]),), now)
    places(key, PIECES)
    key.wants(now)
    key.failed(now)
    assert [key.wants(now + PAUSE_S / 2), key.wants(now + PAUSE_S)] == [False, True]


def test_what_is_never_told_held_is_forgotten_in_time_and_what_was_and_is_no_more_at_once() -> None:
    key = OwnKey()
    key.came(ONE, Range(0, RANGE_BYTES), 0.0)
    key.connected(3.0)
    key.told((), 3.0)
    assert not key.wants(3.0 + UNHELD_S - 0.1)
    assert key.ranges
    key.wants(3.0 + UNHELD_S)
    assert not key.ranges
    key = own(PARTS[0])
    key.told((), 1.0)
    assert not key.ranges


# --- what the neighbour tags with -------------------------------------------------------------------------------------


def test_a_piece_is_accepted_once_and_none_before_it_nor_a_range_that_was_drawn_before() -> None:
    key = theirs(*PARTS)
    for part, piece in ((PARTS[0], 2), (PARTS[1], 0), (PARTS[1], 3)):
        place = part.start + piece * PIECE_BYTES
        found = key.find(ONE.value, place)
        assert found is not None
        key.accept(found, place)
        before = [other.start + n * PIECE_BYTES for other in PARTS for n in range(PIECES)]
        assert [key.find(ONE.value, each) is None for each in before] == [each <= place for each in before]
    assert [each.part for each in key.forgotten] == list(PARTS[:2])
    assert key.told == (held(ONE, PARTS[2]),)


@pytest.mark.parametrize(
    ("stream", "place"),
    [
        (OTHER, 0),
        (ONE, 1),
        (ONE, PIECE_BYTES - 1),
        (ONE, PARTS[0].stop),
        (ONE, PARTS[0].stop - PIECE_BYTES + 1),
        (ONE, PARTS[1].start - PIECE_BYTES),
    ],
)
def test_what_is_no_piece_is_not_found(stream: StreamId, place: int) -> None:
    assert theirs(*PARTS[:2]).find(stream.value, place) is None


def test_which_lengths_make_ranges() -> None:
    lengths = {0: False, 31: False, 32: True, 33: False, 2048: True, 4096: True, 4128: False}
    assert {length: is_range(Range(7, 7 + length)) for length in lengths} == lengths


def test_a_range_counts_its_pieces() -> None:
    assert [TagRange(ONE, PARTS[0], PIECE_BYTES * n).left for n in range(PIECES + 1)] == [4, 3, 2, 1, 0]
