"""Connections in memory: two ends that carry frames to each other, bounded; they can be cut and tampered with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from qss.model.certificates import PeerCertificate
from qss.model.errors import ConnectionLost


class MemoryConnection:
    """One end. Implements `qss.transport.connection.Connection`."""

    def __init__(self, name: str, room: int) -> None:
        self.other: MemoryConnection = self
        self.sent: list[bytes] = []
        """What was sent, if `recording`."""
        self.recording = False
        self.altered: Callable[[bytes], bytes] = bytes
        """What is done to a frame on its way."""
        self._peer = PeerCertificate(None, (f"qks:{name}",), ())
        self._room = room
        self._frames: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    @property
    def peer(self) -> PeerCertificate:
        return self._peer

    @property
    def security(self) -> str:
        return "memory"

    @property
    def address(self) -> str:
        return "memory"

    @property
    def waiting(self) -> int:
        """Frames that have arrived and were not received."""
        return len(self._frames)

    async def send(self, frame: bytes) -> None:
        while len(self.other._frames) >= self._room and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if self._ended:
            raise ConnectionLost("the connection was cut")
        if self.recording:
            self.sent.append(frame)
        self.other._frames.append(self.altered(frame))
        self.other._changed.set()

    async def receive(self) -> bytes:
        while not self._frames:
            if self._ended:
                raise ConnectionLost("the connection was cut")
            self._changed.clear()
            await self._changed.wait()
        self.other._changed.set()
        return self._frames.popleft()

    async def close(self) -> None:
        self._frames.clear()
        self.cut()

    def cut(self) -> None:
        """End the connection for both; what has arrived can still be received."""
        for end in (self, self.other):
            end._ended = True
            end._changed.set()


def memory_pair(room: int = 4) -> tuple[MemoryConnection, MemoryConnection]:
    """Two ends, the first at site A, with room for so many frames each way."""
    a, b = MemoryConnection("B", room), MemoryConnection("A", room)
    a.other, b.other = b, a
    return a, b
