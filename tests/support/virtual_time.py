"""Tests in virtual time: the loop's clock goes on only when nothing else is to be done, and then at once.

Not for tests with threads, sockets or processes: these take real time. What waits for something that can never happen
fails instead of hanging (`qss.simulation.clock`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from qss.simulation.clock import VirtualTimeLoop


def in_virtual_time[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a loop of its own, whose clock begins at 0. It fails if it leaves tasks behind."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
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
