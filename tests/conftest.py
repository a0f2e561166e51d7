"""What holds for every test: no task outlives it, and what this machine could not run is named at the end.

With CI=true in the environment a test that was skipped has failed, because nobody would look at it otherwise.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Generator

import pytest
from pytest_asyncio import is_async_test

IN_CI = os.environ.get("CI") == "true"
LEAK_CHECK = "no_task_outlives_the_test"


@pytest.fixture
async def no_task_outlives_the_test() -> AsyncIterator[None]:
    """Fail a test that leaves tasks behind. Set up before the test's own fixtures, and so checked after them."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # what is about to end may end
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    if leaked:
        names = ", ".join(sorted(f"{task.get_name()} ({task.get_coro()!r})" for task in leaked))
        pytest.fail(f"{len(leaked)} tasks outlive the test, cancel and await them: {names}", pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the leak check round every test that has an event loop, and round no other: a loop costs time."""
    for item in items:
        if isinstance(item, pytest.Function) and is_async_test(item):
            item.fixturenames.insert(0, LEAK_CHECK)


# --- gaps ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn a skipped test into a failed one."""
    report = yield
    return _refuse_gap(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI, turn a skipped module into a failed one."""
    report = yield
    return _refuse_gap(report)


def _refuse_gap[R: (pytest.TestReport, pytest.CollectReport)](report: R) -> R:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a gap, and CI may have none: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what this machine could not run."""
    gaps = terminalreporter.stats.get("skipped", [])
    terminalreporter.section("not run on this machine")
    for report in gaps:
        terminalreporter.line(f"{report.nodeid}: {_reason(report)}")
    if not gaps:
        terminalreporter.line("nothing: every test that was asked for ran")
