"""How fast chunks are pulled from a module by ETSI GS QKD 004, against a bare mutual-TLS socket with the same frames.

Measured is the interface: server, sessions, the module's queue, and the key source at the other end of the connection,
in a process each. The key is there already, because making it has a benchmark of its own (`ingest`). The bare pair of
processes sends the same frames on the same event loop, and looks at none.

    python -m benchmarks.southbound serve FOLDER             a module's server: says its port on stdout
    python -m benchmarks.southbound bare FOLDER              the bare one
    python -m benchmarks.southbound pull FOLDER PORT BYTES   says on stdout how many chunks a second came
    python -m benchmarks.southbound bare_pull FOLDER PORT BYTES
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import structlog
from benchmarks.results import Line

from qss.adapters.sources.etsi004 import Etsi004Source
from qss.core.module import ModuleSettings
from qss.model.addresses import Address
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from qss.pki.contexts import client_context, server_context
from qss.pki.folder import PkiFolder
from qss.ports.device import Device, DeviceChannel, DeviceRole, DeviceStatus, RawBlock
from qss.runtime.module import QkdModule
from qss.runtime.module.southbound import Southbound
from qss.servers.counts import CallCounts
from qss.servers.etsi004 import Etsi004Server
from qss.transport.dialling import connect
from qss.transport.listening import Listener, Route
from qss.wire import sync
from qss.wire.etsi004.framing import FORGE_VERSION
from qss.wire.etsi004.messages import GetKey, GetKeyAnswer, encode

A, B = QksId("A"), QksId("B")
SIZES = (32, 1024, 16 * 1024, 64 * 1024)
SECONDS = 1.0
TURNS = 3
_GOAL = ">= 0.5"
_FILLED_BYTES = 8 << 20
_BLOCK = KeyMaterial(os.urandom(64 * 1024))


async def southbound() -> AsyncIterator[Line]:
    """Chunks and bits per second for each size, in turns with the bare socket."""
    with tempfile.TemporaryDirectory(prefix="qss-bench-") as name:
        folder = Path(name)
        pki = PkiFolder(folder)
        pki.create("benchmark", days=2)
        for site in (A, B):
            pki.issue_site(site, ("localhost", "127.0.0.1"), 1)
        async with _process("serve", folder) as port, _process("bare", folder) as bare_port:
            for size in SIZES:
                ours, bare = [], []
                for _ in range(TURNS):
                    ours.append(await _pulled("pull", folder, port, size))
                    bare.append(await _pulled("bare_pull", folder, bare_port, size))
                rate, floor = statistics.median(ours), statistics.median(bare)
                yield Line(f"chunks_rate_{size}", rate, "1/s")
                yield Line(f"southbound_mbit_s_{size}", rate * size * 8 / 1e6, "Mbit/s")
                yield Line(f"southbound_ratio_{size}", rate / floor, "x", _GOAL)


@asynccontextmanager
async def _process(kind: str, folder: Path) -> AsyncIterator[int]:
    command = (sys.executable, "-m", "benchmarks.southbound", kind, str(folder))
    started = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert started.stdout is not None
    try:
        yield int(await started.stdout.readline())
    finally:
        started.kill()
        await started.wait()


async def _pulled(kind: str, folder: Path, port: int, size: int) -> float:
    command = (sys.executable, "-m", "benchmarks.southbound", kind, str(folder), str(port), str(size))
    started = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await started.communicate()
    return float(out)


def _server_context(folder: Path, site: QksId) -> ssl.SSLContext:
    pki = PkiFolder(folder)
    return server_context(pki.site(site).certificate, pki.site(site).key, pki.authority.certificate)


def _client_context(folder: Path, site: QksId) -> ssl.SSLContext:
    pki = PkiFolder(folder)
    return client_context(pki.site(site).certificate, pki.site(site).key, pki.authority.certificate)


# --- ours -----------------------------------------------------------------------------------------------------------


class _Silent(Device):
    """A device that yields nothing: the benchmark puts key where a device's would be."""

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        pass

    async def read(self) -> RawBlock:
        await asyncio.Event().wait()
        raise AssertionError

    async def stop(self) -> None:
        pass

    def status(self) -> DeviceStatus:
        return DeviceStatus("silent", running=True, rate_bps=1e9, qber=0.0, simulated=True)


def _fail(error: BaseException) -> None:
    raise error


async def serve(folder: Path) -> None:
    """Two modules; A's key is served by 004, B joins what A opens."""
    never = ModuleSettings(open_timeout_s=1e9)
    a = QkdModule(_Silent(), DeviceRole.INITIATOR, B, _fail, settings=never)
    b = QkdModule(_Silent(), DeviceRole.RESPONDER, A, _fail, settings=never)
    listener = Listener(
        "127.0.0.1", 0, _server_context(folder, B), {"/sync": Route((sync.SUBPROTOCOL,), b.serve, sync.MAX_FRAME_BYTES)}
    )
    await listener.start()
    url = f"wss://127.0.0.1:{listener.address[1]}/sync"
    connection = await connect(url, _client_context(folder, A), subprotocols=(sync.SUBPROTOCOL,))
    serving = asyncio.create_task(a.serve(connection))
    server = Etsi004Server(
        "127.0.0.1", 0, _server_context(folder, A), lambda: Southbound(a, A, B), lambda _: "A", CallCounts("A/1")
    )
    await server.start()
    _say(server.address[1])
    filling = asyncio.create_task(_fill(a, b))
    await asyncio.gather(serving, filling)


async def _fill(a: QkdModule, b: QkdModule) -> None:
    """Have B join, and keep A's queue full."""
    while True:
        announced = b.view().announced
        if announced is not None and b.view().stream != announced.stream:
            await b.open_connect(B, A, announced.stream, announced.chunk_bytes)
        queue = vars(a)["_queue"]
        if queue is not None:
            while queue.ready * queue.chunk_bytes < _FILLED_BYTES:
                queue.append(_BLOCK)
        await asyncio.sleep(0.005)


async def pull(folder: Path, port: int, size: int) -> float:
    """Pull for `SECONDS`; return chunks per second."""
    source = Etsi004Source(Address("127.0.0.1", port), _client_context(folder, A), lambda _: None)
    opened = await source.open_connect(A, B, None, size)
    for index in range(10):
        await source.get_key(opened.stream, index)
    index, began = 10, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < SECONDS:
        await source.get_key(opened.stream, index)
        index += 1
    await source.close(opened.stream)
    await source.stop()
    return (index - 10) / elapsed


# --- the bare socket ------------------------------------------------------------------------------------------------

_ASKED = encode(GetKey(bytes(16), 0), FORGE_VERSION)


def _answer(size: int) -> bytes:
    return encode(GetKeyAnswer(0, 0, KeyMaterial(os.urandom(size))), FORGE_VERSION)


class _Answers(asyncio.Protocol):
    """The first four bytes say the size; then every frame that comes is answered by the same frame."""

    def __init__(self) -> None:
        self._frame: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._frame is None:
            self._frame = _answer(int.from_bytes(data[:4]))
        else:
            self._transport.write(self._frame)


class _Asks(asyncio.Protocol):
    """Asks again as soon as a whole answer has come."""

    def __init__(self) -> None:
        self.length = 0
        self._came = 0
        self.whole: Callable[[], None] = lambda: None

    def data_received(self, data: bytes) -> None:
        self._came += len(data)
        if self._came == self.length:
            self._came = 0
            self.whole()


async def bare(folder: Path) -> None:
    """Answer frames."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answers, "127.0.0.1", 0, ssl=_server_context(folder, A))
    _say(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def bare_pull(folder: Path, port: int, size: int) -> float:
    """Ask for `SECONDS`; return answers per second."""
    loop = asyncio.get_running_loop()
    transport, asks = await loop.create_connection(
        _Asks, "127.0.0.1", port, ssl=_client_context(folder, A), server_hostname=""
    )
    transport.write(size.to_bytes(4))
    await asyncio.sleep(0.05)
    asks.length = len(_answer(size))
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < SECONDS:
        whole = loop.create_future()
        asks.whole = lambda whole=whole: whole.set_result(None)  # type: ignore[misc]
        transport.write(_ASKED)
        await whole
        count += 1
    transport.abort()
    return count / elapsed


def _say(value: float) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


def main(kind: str, folder: str, *numbers: str) -> None:
    """Run one of the processes, on the event loop that the product runs on."""
    import uvloop

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if kind in ("serve", "bare"):
        uvloop.run({"serve": serve, "bare": bare}[kind](Path(folder)))
    else:
        port, size = map(int, numbers)
        _say(uvloop.run({"pull": pull, "bare_pull": bare_pull}[kind](Path(folder), port, size)))


if __name__ == "__main__":
    main(*sys.argv[1:])
