"""Topologies and the shortest paths on them."""

from __future__ import annotations

import pytest
from benchmarks.topologies import Edge, check, line, next_hops, nodes_of, random_connected, ring


def test_a_line_has_two_ends_and_a_ring_has_none() -> None:
    assert line(4) == [(0, 1), (1, 2), (2, 3)]
    assert ring(4) == [(0, 1), (1, 2), (2, 3), (0, 3)]
    with pytest.raises(ValueError, match="three nodes"):
        ring(2)


@pytest.mark.parametrize("n", [2, 3, 10, 50])
def test_a_random_graph_is_in_one_piece_and_the_same_for_the_same_seed(n: int) -> None:
    for seed in range(20):
        edges = random_connected(n, seed)
        check(edges)
        assert nodes_of(edges) == list(range(n))
        assert edges == random_connected(n, seed)


def test_a_random_graph_has_the_degree_asked_for() -> None:
    assert len(random_connected(50, 1, 3.5)) == round(50 * 3.5 / 2)


@pytest.mark.parametrize("edges", [[], [(0, 0)], [(0, 1), (1, 0)], [(0, 1), (2, 3)]])
def test_other_graphs_are_refused(edges: list[Edge]) -> None:
    with pytest.raises(ValueError, match=r"edge"):
        check(edges)


def test_equal_paths_are_all_kept() -> None:
    assert next_hops(ring(4), 0) == {1: {1}, 3: {3}, 2: {1, 3}}


def test_what_is_not_reached_is_not_in_the_table() -> None:
    assert next_hops(line(4)[1:], 0) == {}
    assert next_hops(line(4)[1:], 1) == {2: {2}, 3: {2}}
