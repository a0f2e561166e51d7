"""Figures of routing as lines of a benchmark."""

from __future__ import annotations

import pytest
from benchmarks.convergence import Convergence, Rest, Spread


def test_a_spread_is_in_milliseconds() -> None:
    assert Spread.of([0.001, 0.004, 0.002]) == Spread(pytest.approx(2), pytest.approx(4))


def test_what_rest_costs_is_told_for_a_minute() -> None:
    spread = Spread(1, 2)
    measured = Convergence(1000, 0.5, spread, {1: 1.0}, spread, spread, Rest(20, 0.1, 9000))
    lines = {line.name: (line.value, line.unit) for line in measured.lines("frr_line_10")}
    assert lines["frr_line_10_rest_cpu"] == (pytest.approx(0.3), "s/min")
    assert lines["frr_line_10_rest_sent"] == (9000, "B/min")
    assert lines["frr_line_10_link_down_worst"] == (2, "ms")
