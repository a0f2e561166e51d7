"""Ranges against sets of places: erasure and burning rest on them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.ranges import Range, subtract, union

RANGES = st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda pair: Range(pair[0], sum(pair)))
LISTS = st.lists(RANGES, max_size=8)


def places(*ranges: Range) -> set[int]:
    return {place for part in ranges for place in range(part.start, part.stop)}


def assert_fewest_in_order(ranges: list[Range]) -> None:
    assert all(len(part) for part in ranges)
    for before, after in itertools.pairwise(ranges):
        assert before.stop < after.start  # neither overlapping nor adjoining: fewer would not do


@given(RANGES, LISTS)
def test_subtract_leaves_what_no_hole_covers(whole, holes) -> None:
    rest = subtract(whole, holes)
    assert places(*rest) == places(whole) - places(*holes)
    assert sum(len(part) for part in rest) == len(places(*rest))  # no place twice
    assert all(len(part) for part in rest)
    assert rest == sorted(rest)


@given(RANGES, LISTS.map(lambda holes: [hole for hole in holes if len(hole)]))
def test_subtract_leaves_the_fewest_ranges(whole, holes) -> None:
    assert_fewest_in_order(subtract(whole, holes))


@given(LISTS)
def test_union_covers_the_same_places_with_the_fewest_ranges(ranges) -> None:
    merged = union(ranges)
    assert places(*merged) == places(*ranges)
    assert_fewest_in_order(merged)
    assert union(merged) == merged


@given(RANGES, RANGES)
def test_intersection_and_containment_are_those_of_the_places(one, other) -> None:
    common = one.intersection(other)
    assert places(*([common] if common else [])) == places(one) & places(other)
    assert common is None or len(common)
    assert one.intersection(other) == other.intersection(one)
    if len(other):
        assert (other in one) == (places(other) <= places(one))


def test_huge_ranges_cost_nothing() -> None:
    whole = Range(0, 1 << 62)
    assert subtract(whole, [Range(1, 1 << 61)]) == [Range(0, 1), Range(1 << 61, 1 << 62)]
    assert len(whole) == 1 << 62


@pytest.mark.parametrize(("start", "stop"), [(-1, 0), (2, 1), (-5, -3)])
def test_a_range_runs_forward_from_zero_on(start, stop) -> None:
    with pytest.raises(ValueError, match="no range"):
        Range(start, stop)
