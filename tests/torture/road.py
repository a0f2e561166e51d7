"""The road between two sites: a TCP proxy through which all their connections go, and that can be out of order.

It hands bytes on and understands none of them: External and Sync, both under TLS, look alike to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from qss.cli.demo.nodes import Name
from qss.model.identifiers import QksId

_PIECE_BYTES = 16_384


class Road:
    """Each end, and each module that is called over the road, has a door of its own. Use it as `async with`."""

    def __init__(self, ends: tuple[QksId, ...], listeners: dict[Name, tuple[str, int]]) -> None:
        """`listeners` says where each of them listens. A road with one end is where everybody calls that site."""
        self.ends = ends
        self._listeners = listeners
        self._doors: dict[Name, asyncio.Server] = {}
        self._travellers: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._closed = False
        self._tearing = False
        self.connections = 0
        """How many there have been."""

    async def __aenter__(self) -> Self:
        for end in self._listeners:
            self._doors[end] = await asyncio.start_server(self._door_to(end), "127.0.0.1", 0, limit=_PIECE_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        for door in self._doors.values():
            door.close()
        travellers = list(self._travellers)
        self.cut()
        for traveller in travellers:
            traveller.cancel()
        await asyncio.gather(*travellers, return_exceptions=True)
        for door in self._doors.values():
            await door.wait_closed()

    def door(self, end: Name) -> str:
        """Where to call one of them: host and port."""
        host, port = self._doors[end].sockets[0].getsockname()
        return f"{host}:{port}"

    # --- out of order ---------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End all connections abruptly. What is under way is gone."""
        for writers in self._travellers.values():
            for writer in writers:
                writer.transport.abort()

    def tear(self) -> None:
        """Hand on half of the next piece, then cut, somewhere within a record; every connection, until `mend`."""
        self._tearing = True

    def stall(self) -> None:
        """Let connections stand, without a byte on them."""
        self._flowing.clear()

    def close(self) -> None:
        """End all connections and refuse new ones."""
        self._closed = True
        self.cut()

    def mend(self) -> None:
        """Put everything in order."""
        self._closed = self._tearing = False
        self._flowing.set()

    # --- in order -------------------------------------------------------------------------------------------------

    def _door_to(self, end: Name) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._travellers[task] = (writer,)
            try:
                await self._travel(task, end, reader, writer)
            finally:
                for opened in self._travellers.pop(task):
                    opened.transport.abort()

        return come

    async def _travel(
        self, task: asyncio.Task[None], end: Name, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._closed:
            return
        with suppress(OSError):
            there, onwards = await asyncio.open_connection(*self._listeners[end], limit=_PIECE_BYTES)
            self._travellers[task] = (writer, onwards)
            self.connections += 1
            ways = [
                asyncio.ensure_future(self._carry(reader, onwards)),
                asyncio.ensure_future(self._carry(there, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Hand on until one side ends. The other is ended with it: nobody on this road uses half-closed connections."""
        while piece := await source.read(_PIECE_BYTES):
            await self._flowing.wait()
            if self._tearing:
                sink.write(piece[: len(piece) // 2])
                return
            sink.write(piece)
            await sink.drain()
