"""Messages to the peer module: whatever gathers while the last frame is under way travels in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qss.model.errors import ConnectionLost
from qss.transport.connection import Connection
from qss.wire.sync import Message, encode, split_frames

MAX_WAITING = 4096
"""Messages that may wait. The windows of Sync allow fewer: only a peer that breaks the protocol lets more gather."""


class SyncSender:
    """The sending half of one Sync connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[Message] = []
        self._wake = asyncio.Event()

    def put(self, messages: Sequence[Message]) -> None:
        """Queue messages. Raises `ConnectionLost` if the peer has not taken the last `MAX_WAITING`."""
        if len(self._waiting) + len(messages) > MAX_WAITING:
            raise ConnectionLost(f"the peer module has not taken {MAX_WAITING} messages")
        self._waiting.extend(messages)
        self._wake.set()

    async def run(self) -> None:
        """Send until the connection is lost: always ends with `ConnectionLost`."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            messages, self._waiting = self._waiting, []
            for part in split_frames(messages):
                await self._connection.send(encode(part))
