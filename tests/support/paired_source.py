"""Two ends of a key source without devices between them: both yield the same bytes under the same index."""

from __future__ import annotations

import asyncio
import hashlib
import itertools

from qss.model.errors import DeviceError, StreamEnded
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.key_source import OpenedStream


class PairedSource:
    """One end. `other` is the other; a session that ends here ends there. Yields `chunks` a stream, then waits."""

    _streams = itertools.count(1)

    def __init__(self, chunk_bytes: int = 1024, chunks: int = 64) -> None:
        self.other = self
        self.chunk_bytes = chunk_bytes
        self.chunks = chunks
        self._ended: dict[StreamId, asyncio.Event] = {}

    @classmethod
    def pair(cls, chunk_bytes: int = 1024, chunks: int = 64) -> tuple[PairedSource, PairedSource]:
        one, two = cls(chunk_bytes, chunks), cls(chunk_bytes, chunks)
        one.other, two.other = two, one
        return one, two

    async def open_connect(
        self, source: QksId, destination: QksId, stream: StreamId | None, chunk_bytes: int | None
    ) -> OpenedStream:
        assert source != destination
        if self._ended and not all(event.is_set() for event in self._ended.values()):
            raise DeviceError("a stream is open")
        name = stream or StreamId.from_entropy(next(self._streams).to_bytes(16))
        self._ended[name] = asyncio.Event()
        return OpenedStream(name, chunk_bytes or self.chunk_bytes)

    async def get_key(self, stream: StreamId, index: int, most: int = 1) -> KeyMaterial:
        if index >= self.chunks:
            await self._ended[stream].wait()
        if self._ended[stream].is_set():
            raise StreamEnded("the stream is closed")
        await asyncio.sleep(0)
        seed = stream.value + index.to_bytes(8)
        return KeyMaterial(hashlib.shake_256(seed).digest(self.chunk_bytes))

    async def close(self, stream: StreamId) -> None:
        self.end(stream)
        self.other.end(stream)

    def end(self, stream: StreamId) -> None:
        if stream in self._ended:
            self._ended[stream].set()
