"""An event loop whose time is virtual: it runs what is ready, then jumps to the next timer. Nothing waits for real.

Runs are repeatable: the order of callbacks depends on the program alone. What would run in another thread runs at once,
in this one. Refused: input and output of the operating system; a program that waits for it, or for what never comes,
is told so by a `RuntimeError` instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


class _NoSelector(selectors.BaseSelector):
    """Watches nothing. Waiting moves the clock."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        fd = _number(fileobj)
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._keys.pop(_number(fileobj))

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen: every task waits, and none for a time")
        self._advance(timeout)
        return []

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return {key.fileobj: key for key in self._keys.values()}

    def get_key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._keys[_number(fileobj)]


def _number(fileobj: FileDescriptorLike) -> int:
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at 0 seconds.

    `between_steps` is called between any two rounds of callbacks: a simulation lets things break there.
    """

    def __init__(self, between_steps: Callable[[], None] = lambda: None) -> None:
        self._now = 0.0
        self._between_steps = between_steps
        super().__init__(_NoSelector(self._advance))

    def _advance(self, seconds: float) -> None:
        if seconds > 0:
            self._now += seconds
        self._between_steps()

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

    def run_in_executor[*Args, Result](
        self, executor: Executor | None, func: Callable[[*Args], Result], *args: *Args
    ) -> asyncio.Future[Result]:
        """Run it at once; its result, or its exception, is there when the caller looks."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits it
            future.set_exception(error)
        return future
