"""Key from the module into the ledger: pulls chunks, coalesces them, and waits until they are durable.

Chunks gather while the last ones are being made durable, so a fast link writes much at a time (the store cuts it into
blocks) and a slow one loses no time. What has been pulled and not stored when a feed ends is lost, and burned by the
limit that both ends agree on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from qss.model.errors import ConnectionLost, DeviceError
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.key_source import KeySource

PULLED_BYTES = 64 * 1024
"""Most bytes that are pulled at once; by as many a stream may come to hold more than it is to."""

BUFFER_BYTES = 1 << 20
"""Most bytes that wait for the store."""

_PAUSE_S = 0.05


class Feed:
    """Pulls one key stream until it ends."""

    def __init__(
        self,
        source: KeySource,
        stream: StreamId,
        chunk_bytes: int,
        wanted: Callable[[], bool],
        store: Callable[[KeyMaterial], Awaitable[None]],
    ) -> None:
        self._source = source
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._wanted = wanted
        self._store = store
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False
        self._ended = False

    def close(self) -> None:
        """Pull no more; `run` returns when what was pulled is durable or discarded. Close the source as well."""
        self._closed = True
        self._room.set()

    async def run(self) -> str:
        """Return, with the reason, when the stream has ended and all that it gave is durable or discarded."""
        async with asyncio.TaskGroup() as tasks:
            pulling = tasks.create_task(self._pull())
            tasks.create_task(self._push())
        return pulling.result()

    async def _pull(self) -> str:
        index, most = 0, max(1, PULLED_BYTES // self._chunk_bytes)
        try:
            while not self._closed:
                if not self._wanted():
                    await asyncio.sleep(_PAUSE_S)  # a query, whose answer nobody announces
                    continue
                if len(self._buffer) >= BUFFER_BYTES:
                    self._room.clear()
                    await self._room.wait()
                    continue
                chunks = await self._source.get_key(self._stream, index, most)
                self._buffer += chunks.reveal()
                index += len(chunks) // self._chunk_bytes
                self._changed.set()
        except (DeviceError, ConnectionLost) as error:
            return str(error)
        else:
            return "this end closed it"
        finally:
            self._ended = True
            self._changed.set()

    async def _push(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._buffer:
                taken = KeyMaterial(self._buffer)
                self._buffer.clear()
                self._room.set()
                await self._store(taken)
            if self._ended:
                return
