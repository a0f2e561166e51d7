"""Tests in virtual time: the loop's clock goes on only when nothing else is to be done, and then at once.

Not for tests with threads, sockets or processes: these take real time. What waits for something that can never happen
fails instead of hanging.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Selector(selectors.SelectSelector):
    """Never waits: what would be waited for has passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("nothing will ever happen: every task waits, and none for a time")
        if not ready and timeout is not None:
            self.now += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def in_virtual_time[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a loop of its own, whose clock begins at 0. It fails if it leaves tasks behind."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(_alone(test(*args, **kwargs)))

    return run


async def _alone(test: Coroutine[Any, Any, None]) -> None:
    await test
    await asyncio.sleep(0)  # what is about to end may end
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"{len(left)} tasks outlive the test, cancel and await them: {left}"


async def settled() -> None:
    """Return when everything that can go on without time has gone on."""
    await asyncio.sleep(1e-6)
