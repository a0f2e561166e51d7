"""Two running modules with devices of a test's choice, on connections of a test's choice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from qss.adapters.devices.simulator import RateSetSimulator
from qss.core.module import ModuleSettings
from qss.model.identifiers import QksId, StreamId
from qss.model.simulator_settings import SimulatorSettings
from qss.ports.device import Device, DeviceRole
from qss.ports.key_source import OpenedStream
from qss.runtime.module import QkdModule
from qss.transport.connection import Connection
from support.connections import MemoryConnection, memory_pair

A, B = QksId("A"), QksId("B")
FAST_BPS = 100e6


def raise_defect(error: BaseException) -> None:
    """Nothing that a module meets in a test may be a defect of its own."""
    raise AssertionError(f"a defect: {error!r}") from error


def fast_simulator() -> RateSetSimulator:
    return RateSetSimulator(SimulatorSettings(rate_bps=FAST_BPS), block_bytes=1024)


class TwoModules:
    """Modules `a` (initiator) and `b`, connected on entry and stopped on exit."""

    def __init__(
        self, device_a: Device | None = None, device_b: Device | None = None, settings: ModuleSettings | None = None
    ) -> None:
        self.a = QkdModule(device_a or fast_simulator(), DeviceRole.INITIATOR, B, raise_defect, settings=settings)
        self.b = QkdModule(device_b or fast_simulator(), DeviceRole.RESPONDER, A, raise_defect, settings=settings)
        self.connections: tuple[MemoryConnection, MemoryConnection] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.a.stop(), self.b.stop())
        await asyncio.gather(*self._serving)

    async def connect(self) -> tuple[MemoryConnection, MemoryConnection]:
        """Give both modules a new connection."""
        self.connections = memory_pair()
        for module, connection in zip((self.a, self.b), self.connections, strict=True):
            self.serve(module.serve, connection)
        await until(lambda: all(module.status().phase != "down" for module in (self.a, self.b)))
        return self.connections

    def serve(self, serve: Callable[[Connection], Awaitable[None]], connection: Connection) -> None:
        async def serving() -> None:
            await serve(connection)

        task = asyncio.create_task(serving())
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def open(self, chunk_bytes: int | None = 1024) -> OpenedStream:
        """Open a stream at both ends."""
        opened = await self.a.open_connect(A, B, None, chunk_bytes)
        assert await self.b.open_connect(B, A, opened.stream, opened.chunk_bytes) == opened
        return opened


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, at most five seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def chunks(module: QkdModule, stream: StreamId, count: int, start: int = 0) -> list[bytes]:
    """Pull `count` chunks."""
    return [(await module.get_key(stream, index)).reveal() for index in range(start, start + count)]
