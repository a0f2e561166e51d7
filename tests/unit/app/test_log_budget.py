"""A log that others cannot flood: budgets of our events and of libraries', counted drops, and short values."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from qss.app import log_budget
from qss.app.log_budget import INFO_LINES, MAX_EVENTS, WARNING_LINES, LogBudget
from qss.app.logs import configure_logs


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put back what configuring the log changes in this process."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


def log_in_json() -> Clock:
    """Configure the log, in the test itself: only there is stderr what the test reads. Return its clock."""
    clock = Clock()
    configure_logs("json", clock)
    return clock


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr().err
    assert "Logging error" not in captured
    return [json.loads(line) for line in captured.splitlines()]


def test_what_is_above_the_budget_is_dropped_and_counted(capsys) -> None:
    clock = log_in_json()
    log = structlog.get_logger()
    for number in range(INFO_LINES + 7):
        log.info("knock", number=number)
    for _ in range(WARNING_LINES + 3):
        log.warning("refused")
    log.error("another event")
    shown = lines(capsys)
    events = [line["event"] for line in shown]
    assert (events.count("knock"), events.count("refused"), events[-1]) == (INFO_LINES, WARNING_LINES, "another event")
    assert [line for line in shown if "suppressed" in line] == []

    clock.now += 59
    log.info("knock")
    assert lines(capsys) == []
    clock.now += 1
    log.info("knock")
    log.info("knock")
    log.warning("refused")
    assert [(line["event"], line.get("suppressed")) for line in lines(capsys)] == [
        ("knock", 8),
        ("knock", None),
        ("refused", 3),
    ]


def test_libraries_have_budgets_too_by_the_place_that_logs(capsys) -> None:
    clock = log_in_json()
    library = logging.getLogger("library")
    for turn in range(2):
        for number in range(WARNING_LINES + 5):
            library.warning(f"broken by {number}")
        library.error("something else %d", turn)
        clock.now += 60
    shown = lines(capsys)
    told = [line for line in shown if str(line["event"]).startswith("broken")]
    assert len(told) == 2 * WARNING_LINES
    assert [(line["event"], line["suppressed"]) for line in shown if "suppressed" in line] == [("broken by 0", 5)]
    assert len(shown) - len(told) == 2


def test_the_subject_begins_the_event(capsys) -> None:
    log_in_json()
    structlog.get_logger().bind(subject="sync", peer="B").info("connected")
    (line,) = lines(capsys)
    assert (line["event"], line["peer"], "subject" in line) == ("sync connected", "B", False)


def test_long_values_are_cut(capsys) -> None:
    log_in_json()
    structlog.get_logger().info("said", reason="x" * 10_000, fine="y" * 500, number=10**600)
    logging.getLogger("library").warning("z" * 10_000)
    ours, theirs = lines(capsys)
    assert ours["reason"] == "x" * 499 + "…"
    assert ours["fine"] == "y" * 500
    assert theirs["event"] == "z" * 499 + "…"


def test_events_that_are_counted_are_bounded_and_the_first_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_budget, "INFO_LINES", 1)
    budget = LogBudget(Clock())
    for number in range(MAX_EVENTS):
        assert budget.admit(f"event {number}", logging.INFO) == 0
    assert budget.admit("event 0", logging.INFO) is None
    assert budget.admit("one more", logging.INFO) == 0
    assert budget.admit("event 1", logging.INFO) is None
    assert budget.admit("event 0", logging.INFO) == 0  # begins anew
    assert len(budget._spent) == MAX_EVENTS
