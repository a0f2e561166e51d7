"""A connection whose other end is the test: what comes, what is taken, what fails, and how long closing takes."""

from __future__ import annotations

import asyncio
from collections import deque

from qss.model.certificates import PeerCertificate
from qss.model.errors import ConnectionLost


class ScriptedConnection:
    """Implements `qss.transport.connection.Connection`."""

    def __init__(self, name: str = "B", closing_s: float = 0.0, address: str = "192.0.2.1") -> None:
        self.address = address
        self.sent: list[bytes] = []
        self.fails: Exception | None = None
        """What sending raises."""
        self.takes = asyncio.Event()
        """Clear it, and sending waits."""
        self.takes.set()
        self.closed = False
        """Closing has begun."""
        self._peer = PeerCertificate(None, (f"qks:{name}",), ())
        self._closing_s = closing_s
        self._came: deque[bytes | Exception] = deque()
        self._changed = asyncio.Event()

    @property
    def peer(self) -> PeerCertificate:
        return self._peer

    @property
    def security(self) -> str:
        return "scripted"

    def put(self, *came: bytes | Exception) -> None:
        """Let these come, in order: frames, or what receiving raises."""
        self._came.extend(came)
        self._changed.set()

    async def send(self, frame: bytes) -> None:
        await self.takes.wait()
        if self.fails is not None:
            raise self.fails
        if self.closed:
            raise ConnectionLost("this end closed the connection")
        self.sent.append(frame)

    async def receive(self) -> bytes:
        while not self._came:
            if self.closed:
                raise ConnectionLost("this end closed the connection")
            self._changed.clear()
            await self._changed.wait()
        came = self._came.popleft()
        if isinstance(came, Exception):
            raise came
        return came

    async def close(self) -> None:
        self.closed = True
        self._came.clear()
        self._changed.set()
        self.takes.set()
        await asyncio.sleep(self._closing_s)
