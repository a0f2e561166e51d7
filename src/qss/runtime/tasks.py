"""Tasks that belong to somebody: none is forgotten, and a defect in one is never silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Defect = Callable[[BaseException], None]
"""Hears of an exception that nobody expected: it ends the site (decision 0006)."""


def begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Return `work` as a task that has run to where it first waits."""
    loop = asyncio.get_running_loop()
    factory: Any = loop.get_task_factory()
    if factory is None:
        return asyncio.Task(work, loop=loop, eager_start=True)
    task = factory(loop, work, eager_start=True)  # the protocol of Python 3.14
    assert isinstance(task, asyncio.Task)
    return task


class Tasks:
    """The tasks of one owner."""

    def __init__(self, defect: Defect) -> None:
        self._defect = defect
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their beginning

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], name: str | None = None) -> asyncio.Task[None]:
        """Begin `work` as a task of this owner."""
        return self._own(asyncio.create_task(work, name=name))

    def start_now(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """As `start`, and `work` has run to where it first waits when this returns."""
        return self._own(begun(work))

    def _own(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    async def finished(self) -> None:
        """Wait until no task is left."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def cancelled(self) -> None:
        """Cancel all tasks, and wait until none is left."""
        for task in list(self._tasks):
            task.cancel()
        await self.finished()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._defect(error)
