"""The channel between the two ends of a device pair, in memory: bounded, and it can be cut."""

from __future__ import annotations

import asyncio
from collections import deque

from qss.model.errors import ConnectionLost

WINDOW = 8


class MemoryChannel:
    """One end of a bounded channel in memory. Implements `qss.ports.device.DeviceChannel`."""

    def __init__(self) -> None:
        self.other = self
        self.ended = False
        self.frames: deque[bytes] = deque()
        self.changed = asyncio.Condition()

    @classmethod
    def pair(cls) -> tuple[MemoryChannel, MemoryChannel]:
        one, two = cls(), cls()
        one.other, two.other = two, one
        one.changed = two.changed
        return one, two

    async def send(self, frame: bytes) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.ended or len(self.other.frames) < WINDOW)
            if self.ended:
                raise ConnectionLost("the channel was cut")
            self.other.frames.append(frame)
            self.changed.notify_all()

    async def receive(self) -> bytes:
        async with self.changed:
            await self.changed.wait_for(lambda: self.ended or bool(self.frames))
            if self.ended:
                raise ConnectionLost("the channel was cut")
            self.changed.notify_all()
            return self.frames.popleft()

    async def cut(self) -> None:
        async with self.changed:
            self.ended = self.other.ended = True
            self.changed.notify_all()
