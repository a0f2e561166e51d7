"""Every kind of device that must keep the port's contract: each test runs on a pair of each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import pytest

from qss.adapters.devices.simulator import RateSetSimulator, UnsafeSeededSimulator
from qss.model.errors import ConnectionLost
from qss.ports.device import Device

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


MAKERS: dict[str, Callable[[], Device]] = {
    "simulator": lambda: RateSetSimulator(50e6, block_bytes=2048),
    "seeded-simulator": lambda: UnsafeSeededSimulator(50e6, 7, block_bytes=2048),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Device]:
    return MAKERS[request.param]


@pytest.fixture
async def devices(make: Callable[[], Device]) -> AsyncIterator[tuple[Device, Device]]:
    """Both ends, not started."""
    pair = make(), make()
    yield pair
    for device in pair:
        await device.stop()


@pytest.fixture
def channels() -> tuple[MemoryChannel, MemoryChannel]:
    return MemoryChannel.pair()
