"""The tables that routing has to reach."""

from __future__ import annotations

from benchmarks.shortest_paths import next_hops

RING = [(0, 1), (1, 2), (2, 3), (0, 3)]


def test_equal_paths_are_all_kept() -> None:
    assert next_hops(RING, 0) == {1: {1}, 3: {3}, 2: {1, 3}}


def test_what_is_not_reached_is_not_in_the_table() -> None:
    apart = [(1, 2), (2, 3)]
    assert next_hops(apart, 0) == {}
    assert next_hops(apart, 1) == {2: {2}, 3: {2}}
