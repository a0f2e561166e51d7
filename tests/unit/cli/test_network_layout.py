"""Places for the sites of a network that is drawn."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest

from qss.cli.network_layout import placed
from qss.simulation.topologies import geant, line, nsfnet, ring, tangle

NETWORKS = {
    "two": line(2), "line": line(3), "ring": ring(8), "nsfnet": nsfnet(), "geant": geant(), "300": tangle(300, 1)
}  # fmt: skip


@pytest.mark.parametrize("roads", NETWORKS.values(), ids=NETWORKS.keys())
def test_there_is_room_for_every_site_and_for_what_is_written_at_a_link(roads) -> None:
    sites = sorted(set(itertools.chain.from_iterable(roads)))
    places = placed(sites, roads, link=150, room=120)
    assert places == placed(sites, roads, link=150, room=120)
    assert list(places) == sites
    lengths = [math.dist(places[one], places[other]) for one, other in roads]
    assert statistics.fmean(lengths) >= 149.9
    (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in zip(*places.values(), strict=True))
    assert (left, top) == (0, 0)
    assert math.hypot(right, bottom) >= 119.9 * math.sqrt(len(sites)) / math.sqrt(2)
    if len(sites) < 50:  # a picture of many is rough
        assert min(itertools.starmap(math.dist, itertools.combinations(places.values(), 2))) > 36


def test_a_line_lies_across() -> None:
    places = placed(["A", "B"], [("A", "B")], link=150, room=120)
    assert sorted(places.values()) == [(0, 0), (pytest.approx(169.7, abs=0.1), pytest.approx(0, abs=1e-9))]


def test_sites_without_a_link_have_places_too() -> None:
    assert placed(["A"], [], link=150, room=120) == {"A": (0, 0)}
    places = placed(["A", "B", "C"], [("A", "B")], link=150, room=120)
    assert min(itertools.starmap(math.dist, itertools.combinations(places.values(), 2))) > 80
