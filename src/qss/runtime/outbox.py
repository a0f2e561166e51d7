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
        weight: Callable[[M], int] = lambda _: 1,
        heartbeat_s: float | None = None,
    ) -> None:
        """Send what `frames` makes of messages, each frame when the one before has left.

        It is asked for the frames of no messages after `heartbeat_s` of silence. What waits has a weight of at most
        `max_waiting`.
        """
        self._connection = connection
        self._frames = frames
        self._max_waiting = max_waiting
        self._heartbeat_s = heartbeat_s
        self._weight = weight
        self._waiting: list[M] = []
        self._waiting_weight = 0
        self._wake = asyncio.Event()

    def put(self, messages: Sequence[M]) -> None:
        """Queue messages. Raises `ConnectionLost` if the peer has not taken the last `max_waiting`."""
        self._waiting_weight += sum(map(self._weight, messages))
        if self._waiting_weight > self._max_waiting:
            raise ConnectionLost("the peer does not take what it is sent")
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
            messages, self._waiting, self._waiting_weight = self._waiting, [], 0
            for frame in self._frames(messages):
                await self._connection.send(frame)
