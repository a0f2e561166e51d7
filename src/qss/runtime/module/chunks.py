"""One key stream's accepted bytes at this end: appended by the module, cut into chunks, handed out once and in order.

Not bounded here: the core stops the device when too much waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from qss.model.errors import DeviceError, StreamEnded
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial

MAX_CHUNKS = 1 << 32
"""How many chunks the index of ETSI GS QKD 004 (clause 6) can count: a stream ends with the last one."""


class ChunkQueue:
    """What waits to be pulled of one stream."""

    def __init__(self, stream: StreamId, chunk_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.chunk_bytes = chunk_bytes
        self._clock = clock
        self._bytes = bytearray()
        self._came = 0
        self._blocks: deque[tuple[int, float]] = (
            deque()
        )  # where each block that waits ends in the stream, and since when
        self._next = 0
        self._ended: str | None = None
        self._changed = asyncio.Event()

    def append(self, block: KeyMaterial) -> None:
        """Add an accepted block."""
        self._bytes += block.reveal()
        self._came += len(block)
        self._blocks.append((self._came, self._clock()))
        self._changed.set()

    def end(self, reason: str) -> None:
        """Nothing more is added. Whole chunks that are there can still be taken."""
        self._ended = self._ended or reason
        self._changed.set()

    def destroy(self) -> int:
        """Destroy what waits, and return how many bytes it was. The stream must have ended."""
        destroyed = len(self._bytes)
        self._bytes.clear()
        return destroyed

    @property
    def ready(self) -> int:
        """Whole chunks that wait."""
        return len(self._bytes) // self.chunk_bytes

    def take_ready(self) -> tuple[KeyMaterial, float]:
        """Return the next chunk, which must be `ready`, and since when it has been (seconds of the clock)."""
        assert len(self._bytes) >= self.chunk_bytes
        chunk = KeyMaterial(memoryview(self._bytes)[: self.chunk_bytes])
        del self._bytes[: self.chunk_bytes]
        self._next += 1
        end = self._next * self.chunk_bytes
        while self._blocks[0][0] < end:
            self._blocks.popleft()
        return chunk, self._blocks[0][1]

    async def take(self, index: int) -> KeyMaterial:
        """Return chunk `index`, waiting until it is there. A caller that is cancelled has taken nothing.

        Raises `StreamEnded` if it will not be there, `DeviceError` if it is not the next one.
        """
        while True:
            if index != self._next:
                raise DeviceError(f"chunk {index} was asked for, but chunk {self._next} is next: each is given once")
            if index >= MAX_CHUNKS:
                raise StreamEnded("the key stream has no more indices; open a successor")
            if len(self._bytes) >= self.chunk_bytes:
                return self.take_ready()[0]
            if self._ended is not None:
                raise StreamEnded(self._ended)
            self._changed.clear()
            await self._changed.wait()
