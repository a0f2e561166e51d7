"""A vendor's box with ETSI GS QKD 004 that says what a test has it say."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from qss.client.etsi004 import Etsi004Client
from qss.model.addresses import Address
from qss.model.key_material import KeyMaterial
from qss.pki.contexts import application_context
from qss.wire.etsi004.framing import FORGE_VERSION, REQUESTS, FrameDecoder
from qss.wire.etsi004.messages import (
    NULL_KSID,
    Answer,
    Close,
    CloseAnswer,
    GetKey,
    GetKeyAnswer,
    OpenConnect,
    OpenConnectAnswer,
    QoS,
    Request,
    decode,
    encode,
    failed_key,
)
from support.pki import Pki

KSID = bytes(range(16))
CHUNK_BYTES = 512

Odd = Callable[[Request], Answer | bytes | None]
"""What the box answers instead: an answer, bytes after which it hangs up, or None for what it always says."""


def chunk(index: int, size: int = CHUNK_BYTES) -> bytes:
    return hashlib.shake_128(index.to_bytes(4)).digest(size)


class ScriptedBox:
    """One box. `asked` is what came, in order; both boxes of a pair give the same chunks."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.odd: Odd = lambda _: None
        self.address = Address("127.0.0.1", 0)
        self.connections = 0
        self.transports: list[asyncio.WriteTransport] = []

    def answer(self, request: Request) -> Answer | bytes:
        self.asked.append(request)
        odd = self.odd(request)
        if odd is not None:
            return odd
        match request:
            case OpenConnect(qos=qos, stream=stream):
                size = qos.key_chunk_size or CHUNK_BYTES
                named = KSID if stream == NULL_KSID else stream
                return OpenConnectAnswer(0, QoS(key_chunk_size=size, timeout=100, ttl=60), named)
            case GetKey(index=index):
                return GetKeyAnswer(0, index, KeyMaterial(chunk(index)))
            case Close():
                return CloseAnswer(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.transports.append(writer.transport)
        decoder = FrameDecoder(REQUESTS)
        with suppress(OSError, ssl.SSLError):
            while data := await reader.read(65_536):
                for frame in decoder.feed(data):
                    request = decode(frame)
                    assert isinstance(request, Request)
                    answer = self.answer(request)
                    if isinstance(answer, bytes):
                        writer.write(answer)
                        await writer.drain()
                        writer.close()
                        return
                    writer.write(encode(answer, FORGE_VERSION))
        writer.transport.abort()

    def pulled(self) -> list[int]:
        return [request.index for request in self.asked if isinstance(request, GetKey)]

    def client(self, pki: Pki) -> Etsi004Client:
        pair = pki.sae("sae:device")
        context = application_context(pair.certificate, pair.key, pki.authority)
        return Etsi004Client(self.address, context, lambda _: None)


@asynccontextmanager
async def scripted(pki: Pki, *boxes: ScriptedBox) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for site, box in zip("AB", boxes, strict=False):
            server = await asyncio.start_server(box.serve, "127.0.0.1", 0, ssl=pki.server_context(site))
            stack.push_async_callback(_closed, server, box)
            box.address = Address(*server.sockets[0].getsockname()[:2])
        yield


async def _closed(server: asyncio.Server, box: ScriptedBox) -> None:
    server.close()
    for transport in box.transports:
        transport.abort()
    await server.wait_closed()
    await asyncio.sleep(0.01)  # the last connection's task ends


def refusing(call: type[Request], status: int, times: int = 10_000) -> Odd:
    """Answer a call by a status, so many times."""
    left = times

    def odd(request: Request) -> Answer | None:
        nonlocal left
        if not isinstance(request, call) or not left:
            return None
        left -= 1
        match request:
            case OpenConnect(form=form):
                return OpenConnectAnswer(status, QoS(), form=form)
            case GetKey(index=index, form=form):
                return failed_key(status, index, form)
            case _:
                return CloseAnswer(status)

    return odd
