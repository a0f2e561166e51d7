"""Messages to the peer. Whatever gathers while the last frame is under way travels in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from qss.model.errors import ConnectionLost
from qss.transport.connection import Connection
from qss.wire.external import Frame, Message, encode

MAX_WAITING = 50_000
"""Messages that may wait; a peer that lets more gather is cut off."""

MAX_PER_FRAME = 1_000
"""Messages in one frame."""


class Outbox:
    """The sending half of one connection."""

    def __init__(self, connection: Connection, frame: Callable[[tuple[Message, ...]], Frame]) -> None:
        self._connection = connection
        self._frame = frame
        self._waiting: list[Message] = []
        self._wake = asyncio.Event()

    def put(self, messages: tuple[Message, ...]) -> None:
        """Queue messages. Raises `ConnectionLost` if the peer has not taken the last `MAX_WAITING`."""
        if len(self._waiting) + len(messages) > MAX_WAITING:
            raise ConnectionLost(f"the peer has not taken {MAX_WAITING} messages")
        self._waiting.extend(messages)
        self._wake.set()

    async def run(self, heartbeat_s: float) -> None:
        """Send until the connection is lost; an empty frame whenever `heartbeat_s` pass without a message."""
        greeted = False
        while True:
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self._wake.wait()
            except TimeoutError:
                if not greeted:
                    continue
            self._wake.clear()
            messages, self._waiting = tuple(self._waiting[:MAX_PER_FRAME]), self._waiting[MAX_PER_FRAME:]
            if self._waiting:
                self._wake.set()
            greeted = greeted or bool(messages)
            await self._connection.send(encode(self._frame(messages)))
