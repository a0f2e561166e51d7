"""`make bench`: what was measured is kept, whatever comes after it."""

from __future__ import annotations

import json

import pytest
from benchmarks import __main__ as bench
from benchmarks.results import Line


@pytest.fixture(autouse=True)
def _logging_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a benchmark sets for its process would hold for all tests after this one."""
    monkeypatch.setattr(bench.structlog, "configure", lambda **_: None)


async def whole():
    yield Line("first", 1.0, "ms")


async def broken():
    yield Line("second", 2.0, "ms")
    raise TimeoutError("a node does not start")


async def ended():
    yield Line("third", 3.0, "ms")
    raise KeyboardInterrupt


def test_figures_before_a_failure_are_printed_and_written(tmp_path, monkeypatch, capsys) -> None:
    results = tmp_path / "build" / "bench.json"
    monkeypatch.setattr(bench, "RESULTS", results)
    monkeypatch.setattr(bench, "SETS", {"whole": whole, "broken": broken})
    monkeypatch.setattr("sys.argv", ["bench", "whole", "broken"])
    with pytest.raises(TimeoutError, match="does not start"):
        bench.main()
    assert [line["name"] for line in json.loads(results.read_text("utf-8"))] == ["first", "second"]
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == ["first", "second"]
    assert "measuring broken" in printed.err


def test_ctrl_c_is_no_failure_and_says_where_the_figures_are(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "bench.json")
    monkeypatch.setattr(bench, "SETS", {"ended": ended})
    monkeypatch.setattr("sys.argv", ["bench", "ended"])
    with pytest.raises(SystemExit, match="130"):
        bench.main()
    assert json.loads((tmp_path / "bench.json").read_text("utf-8"))[0]["name"] == "third"
    assert "bench.json" in capsys.readouterr().err


def test_a_name_that_is_not_known_is_refused_with_those_that_are(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "speed"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "there is no speed: choose from getkey, " in capsys.readouterr().err
