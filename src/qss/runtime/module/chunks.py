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
        self._blocks: deque[tuple[bytes, float]] = deque()  # what waits, and since when
        self._begun = 0  # how much of the first block has been taken
        self._waiting = 0
        self._next = 0
        self._ended: str | None = None
        self._changed = asyncio.Event()

    def append(self, block: KeyMaterial) -> None:
        """Add an accepted block."""
        if len(block):
            self._blocks.append((block.reveal(), self._clock()))
            self._waiting += len(block)
            self._changed.set()

    def end(self, reason: str) -> None:
        """Nothing more is added. Whole chunks that are there can still be taken."""
        self._ended = self._ended or reason
        self._changed.set()

    def destroy(self) -> int:
        """Destroy what waits, and return how many bytes it was. The stream must have ended."""
        destroyed, self._waiting = self._waiting, 0
        self._blocks.clear()
        return destroyed

    @property
    def ready(self) -> int:
        """Whole chunks that wait."""
        return self._waiting // self.chunk_bytes

    def take_ready(self, number: int = 1) -> tuple[KeyMaterial, float]:
        """Return the next chunks, which must be `ready`, and since when the last has been (seconds of the clock)."""
        length = number * self.chunk_bytes
        assert 0 < length <= self._waiting
        parts, missing, since = [], length, 0.0
        while missing:
            block, since = self._blocks[0]
            part = memoryview(block)[self._begun : self._begun + missing]
            parts.append(part)
            missing -= len(part)
            self._begun += len(part)
            if self._begun == len(block):
                self._blocks.popleft()
                self._begun = 0
        self._waiting -= length
        self._next += number
        return KeyMaterial(parts[0] if len(parts) == 1 else b"".join(parts)), since

    async def take(self, index: int, most: int = 1) -> KeyMaterial:
        """Return chunk `index`, waiting until it is there, and what is ready behind it, at most `most` in all.

        A caller that is cancelled has taken nothing.
        Raises `StreamEnded` if it will not be there, `DeviceError` if it is not the next one.
        """
        while True:
            if index != self._next:
                raise DeviceError(f"chunk {index} was asked for, but chunk {self._next} is next: each is given once")
            if index >= MAX_CHUNKS:
                raise StreamEnded("the key stream has no more indices; open a successor")
            if self.ready:
                return self.take_ready(min(most, self.ready, MAX_CHUNKS - index))[0]
            if self._ended is not None:
                raise StreamEnded(self._ended)
            self._changed.clear()
            await self._changed.wait()
