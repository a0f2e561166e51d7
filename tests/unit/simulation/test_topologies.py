"""Shapes of networks."""

from __future__ import annotations

import itertools

import pytest

from qss.simulation.topologies import Roads, geant, grid, line, nsfnet, numbered, ring, scattered, site, tangle

ALL = {
    "line": line(4), "ring": ring(5), "grid": grid(4), "nsfnet": nsfnet(), "geant": geant(),
    **{f"tangle {size}, {seed}": tangle(size, seed) for size in (2, 3, 10, 50) for seed in range(10)},
    **{f"scattered {size}, {seed}": scattered(size, seed) for size in (5, 50) for seed in range(5)},
}  # fmt: skip


@pytest.mark.parametrize("roads", ALL.values(), ids=ALL.keys())
def test_every_network_is_in_one_piece_and_names_no_road_twice(roads: Roads) -> None:
    assert len({frozenset(road) for road in roads}) == len(roads)
    assert all(one < other for one, other in roads)
    sites = set(itertools.chain.from_iterable(roads))
    reached = {roads[0][0]}
    for _ in sites:
        reached |= {end for road in roads if reached & set(road) for end in road}
    assert reached == sites


def test_a_line_has_two_ends_and_a_ring_has_none() -> None:
    assert numbered(line(4)) == ((0, 1), (1, 2), (2, 3))
    assert numbered(ring(4)) == ((0, 1), (0, 3), (1, 2), (2, 3))
    with pytest.raises(ValueError, match="take a line"):
        ring(2)


def test_a_random_network_is_the_same_for_the_same_seed() -> None:
    assert tangle(50, 1) == tangle(50, 1) != tangle(50, 2)
    assert len(tangle(50, 1)) == 100


def test_numbers_are_those_of_the_names() -> None:
    roads = tangle(50, 1)
    assert {(site(one), site(other)) for one, other in numbered(roads)} == set(roads)
    assert {number for edge in numbered(geant()) for number in edge} == set(range(40))
