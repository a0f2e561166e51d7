"""Messages to the peer. Whatever gathers while the last frame is under way travels in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from qss.model.errors import ConnectionLost
from qss.transport.connection import Connection


class Outbox[M]:
    """The sending half of one connection. It ends with the connection."""

    def __init__(
        self,
        connection: Connection,
        frames: Callable[[Sequence[M]], Iterable[bytes]],
        max_waiting: int,
        heartbeat_s: float | None = None,
    ) -> None:
        """Send what `frames` makes of messages, each frame when the one before has left.

        It is asked for the frames of no messages after `heartbeat_s` of silence. At most `max_waiting` messages wait.
        """
        self._connection = connection
        self._frames = frames
        self._max_waiting = max_waiting
        self._heartbeat_s = heartbeat_s
        self._waiting: list[M] = []
        self._wake = asyncio.Event()

    def put(self, messages: Sequence[M]) -> None:
        """Queue messages. Raises `ConnectionLost` if the peer has not taken the last `max_waiting`."""
        if len(self._waiting) + len(messages) > self._max_waiting:
            raise ConnectionLost(f"the peer has not taken {self._max_waiting} messages")
        self._waiting.extend(messages)
        self._wake.set()

    async def run(self) -> None:
        """Send until the connection is lost: always ends with an exception."""
        while True:
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            messages, self._waiting = self._waiting, []
            for frame in self._frames(messages):
                await self._connection.send(frame)
