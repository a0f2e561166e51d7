"""What benchmarks say, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.__main__ import SETS
from benchmarks.results import Line, percentile, slope, write


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [(None, 1.0, None), ("<= 1.5", 1.5, True), ("<= 1.5", 1.6, False), (">= 30", 30.0, True), (">= 30", 29.0, False)],
)
def test_a_line_says_whether_its_goal_is_met(goal: str | None, value: float, met: bool | None) -> None:
    line = Line("name", value, "ms", goal)
    assert line.met is met
    assert ("NOT met" in str(line)) == (met is False)


def test_lines_are_written_as_objects(tmp_path: Path) -> None:
    write([Line("a", 1.0, "ms", "<= 2"), Line("b", 2.0, "1/s")], tmp_path / "build" / "bench.json")
    assert json.loads((tmp_path / "build" / "bench.json").read_text("utf-8")) == [
        {"name": "a", "value": 1.0, "unit": "ms", "goal": "<= 2", "met": True},
        {"name": "b", "value": 2.0, "unit": "1/s", "goal": None, "met": None},
    ]


def test_percentiles_and_slopes() -> None:
    assert percentile(range(101), 0.99) == 99
    assert percentile([5.0], 0.99) == 5.0
    assert slope([(10, 1), (100, 10), (1000, 100)]) == pytest.approx(1.0)


def test_every_set_of_the_default_run_is_there() -> None:
    assert set(SETS) == {"getkey", "rate", "batch", "pair", "ingest", "memory", "growth"}
