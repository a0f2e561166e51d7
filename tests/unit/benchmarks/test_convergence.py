"""Figures of routing as lines of a benchmark."""

from __future__ import annotations

import pytest
from benchmarks.convergence import Convergence, Rest, Spread, measure


def test_a_spread_is_in_milliseconds() -> None:
    assert Spread.of([0.001, 0.004, 0.002]) == Spread(pytest.approx(2), pytest.approx(4))


def test_what_rest_costs_is_told_for_a_minute() -> None:
    spread = Spread(1, 2)
    measured = Convergence(1000, 0.5, spread, {1: 1.0}, spread, spread, Rest(20, 0.1, 9000))
    lines = {line.name: (line.value, line.unit) for line in measured.lines("frr_line_10")}
    assert lines["frr_line_10_rest_cpu"] == (pytest.approx(0.3), "s/min")
    assert lines["frr_line_10_rest_sent"] == (9000, "B/min")
    assert lines["frr_line_10_link_down_worst"] == (2, "ms")


class Two:
    """Two routers of which the clock is made up: each change takes a second longer than the one before."""

    def __init__(self):
        self.changes = 0
        self.asked = []

    async def cold_start(self):
        self.asked.append("start")
        return 3.0

    async def announce(self, number):
        self.asked.append(number)
        return {1: float(number)}

    async def flap(self):
        self.changes += 1
        return float(self.changes), 10.0 * self.changes

    async def rest(self, seconds):
        return Rest(seconds, 1.0, 60.0)

    def cpu_s(self):
        return 0.5


async def test_whoever_routes_is_asked_the_same() -> None:
    bed = Two()
    measured = await measure(bed, changes=3, rest_s=2.0)
    assert bed.asked == ["start", 1, 2, 3]
    assert (measured.cold_start_ms, measured.cold_start_cpu_s) == (3000, 0.5)
    assert measured.prefix == Spread(2000, 3000)
    assert measured.prefix_by_router_ms == {1: 2000}
    assert (measured.link_down, measured.link_up) == (Spread(2000, 3000), Spread(20_000, 30_000))
    assert measured.rest == Rest(2.0, 1.0, 60.0)
