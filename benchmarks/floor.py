"""The floor under Get key: two processes that do what cannot be left out, and nothing else.

A request comes over TLS; one row is made durable here and, told over a kept TLS connection, in the other process at the
same time; when both are, an answer of the same size leaves. No reservation, no policy, no parsing, no key.

    python -m benchmarks.floor far FOLDER        the other process: says its port on stdout
    python -m benchmarks.floor near FOLDER PORT SIZE     the one that is asked: says its port on stdout
    python -m benchmarks.floor constant FOLDER 0 SIZE    an aiohttp server that answers a constant body
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import apsw
from aiohttp import web

from qss.adapters.stores.sqlite.room import LogRoom
from qss.adapters.stores.sqlite.schema import PAGE_BYTES
from qss.cli.demo.network import SITES, Network
from qss.pki.contexts import client_context, northbound_context, server_context

_ROW = b"\x5a" * 200  # what a reservation's row and its stream's row come to, about


class Disk:
    """A bare SQLite file with the product's durability, room in its log as there, and one thread."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, row BLOB)")
        self._connection.wal_autocheckpoint(0)
        self._room = LogRoom(path, PAGE_BYTES)
        self._connection.set_wal_hook(self._grew)
        self._thread = ThreadPoolExecutor(1)

    async def commit(self) -> None:
        """Make one row durable."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._insert)

    def _insert(self) -> None:
        self._connection.execute("INSERT INTO t (row) VALUES (?)", (_ROW,))
        self._thread.submit(self._room.make)

    def _grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._room.note(pages)
        return apsw.SQLITE_OK


def contexts(folder: Path, site: int) -> tuple[ssl.SSLContext, ssl.SSLContext, ssl.SSLContext]:
    """Return a site's contexts: as server for sites, as client, as server for applications."""
    pki = Network(folder).pki
    pair, authority = pki.site(SITES[site]), pki.authority.certificate
    own = (pair.certificate, pair.key, authority)
    return server_context(*own), client_context(*own), northbound_context(*own, ssl.TLSVersion.TLSv1_3)


async def far(folder: Path) -> None:
    """Make a row durable for every 8 bytes that come, and send them back."""
    disk = Disk(folder / "far.sqlite")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(8):
            await disk.commit()
            writer.write(data)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=contexts(folder, 1)[0])
    await _serve(server)


async def near(folder: Path, port: int, size: int) -> None:
    """Answer every request once a row is durable here and there."""
    disk = Disk(folder / "near.sqlite")
    _, as_client, for_applications = contexts(folder, 0)
    there, to_there = await asyncio.open_connection("127.0.0.1", port, ssl=as_client, server_hostname="")
    answer = _answer(size)
    numbers, waiting = itertools.count(), dict[bytes, asyncio.Future[None]]()

    async def hear() -> None:
        while data := await there.read(8):
            waiting.pop(data).set_result(None)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            number = next(numbers).to_bytes(8)
            done = waiting[number] = asyncio.get_running_loop().create_future()
            to_there.write(number)
            await disk.commit()
            await done
            writer.write(answer)

    hearing = asyncio.create_task(hear())
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=for_applications)
    await _serve(server)
    hearing.cancel()


class Hop:
    """A site's kept connection to `far`: what a hop cannot do without is one round trip and one commit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, folder: Path, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=contexts(folder, 0)[1], server_hostname=""))

    async def timed(self) -> float:
        """Have a row made durable there; return the milliseconds until that was said."""
        began = time.perf_counter()
        self._writer.write(bytes(8))
        await self._reader.readexactly(8)
        return 1000 * (time.perf_counter() - began)


async def constant(folder: Path, size: int) -> None:
    """Answer every request with the same bytes, through aiohttp as the product does."""
    body = b"x" * size

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=contexts(folder, 0)[2])
    await site.start()
    _say(runner.addresses[0][1])
    await asyncio.Event().wait()


def _answer(size: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size


async def _serve(server: asyncio.Server) -> None:
    _say(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _say(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


@asynccontextmanager
async def process(*arguments: object) -> AsyncIterator[int]:
    """Run one of these as a process of its own; yield the port on which it listens."""
    command = (sys.executable, "-m", "benchmarks.floor", *map(str, arguments))
    started = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert started.stdout is not None
    try:
        yield int(await started.stdout.readline())
    finally:
        started.kill()
        await started.wait()


def main(kind: str, folder: str, port: str = "0", size: str = "0") -> None:
    """Run one of the processes, on the event loop that the product runs on."""
    import uvloop

    if kind == "far":
        uvloop.run(far(Path(folder)))
    elif kind == "near":
        uvloop.run(near(Path(folder), int(port), int(size)))
    else:
        uvloop.run(constant(Path(folder), int(size)))


if __name__ == "__main__":
    main(*sys.argv[1:])
