"""One at a time under each name: who comes second waits until the first has come to an end, well or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """Whose turn it is. All methods belong to the event loop's thread; as many names are known as are in use."""

    def __init__(self) -> None:
        self._taken: dict[Hashable, asyncio.Event] = {}

    @asynccontextmanager
    async def of(self, name: Hashable) -> AsyncIterator[None]:
        """Wait for the turn of this name, and have it."""
        while name in self._taken:
            await self._taken[name].wait()
        over = self._taken[name] = asyncio.Event()
        try:
            yield
        finally:
            del self._taken[name]
            over.set()
