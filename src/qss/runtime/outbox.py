"""Messages to the peer. What is put while nothing is under way leaves at once; else it gathers for the next frame.

"At once" is before `put` returns, if the connection takes it: no message waits for its turn in the event loop. What
else is put in the same turn shares the next frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from qss.model.errors import ConnectionLost
from qss.runtime.tasks import begun
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
        self._idle = False
        """It runs, and nothing is under way."""
        self._sender: asyncio.Task[None] | None = None
        self._silent_since = 0.0
        self._failure: Exception | None = None
        self._failed = asyncio.Event()

    def put(self, messages: Sequence[M]) -> None:
        """Queue messages, or send them. Raises `ConnectionLost` if the peer has not taken the last `max_waiting`."""
        self._waiting_weight += sum(map(self._weight, messages))
        if self._waiting_weight > self._max_waiting:
            raise ConnectionLost("the peer does not take what it is sent")
        self._waiting.extend(messages)
        if self._idle:
            self._begin()

    async def run(self) -> None:
        """Send until the connection is lost: always ends with an exception."""
        now = asyncio.get_running_loop().time
        self._silent_since = now()
        self._idle = True
        if self._waiting:
            self._begin()
        try:
            while self._failure is None:
                left = None if self._heartbeat_s is None else self._silent_since + self._heartbeat_s - now()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._failed.wait()
                if self._heartbeat_s is None or now() < self._silent_since + self._heartbeat_s:
                    continue
                self._silent_since = now()
                if self._idle:
                    self._begin()
            raise self._failure
        finally:
            self._idle = False
            if self._sender is not None:
                self._sender.cancel()
                await asyncio.wait([self._sender])

    def _begin(self) -> None:
        self._idle = False
        self._sender = begun(self._send_waiting())

    async def _send_waiting(self) -> None:
        try:
            while True:
                messages, self._waiting, self._waiting_weight = self._waiting, [], 0
                for frame in self._frames(messages):
                    await self._connection.send(frame)
                self._silent_since = asyncio.get_running_loop().time()
                await asyncio.sleep(0)
                if not self._waiting:
                    break
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._failure = error
            self._failed.set()
        else:
            self._idle = True
