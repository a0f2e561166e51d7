"""A client that costs little: requests made beforehand, over kept TLS connections, and nothing of an answer is parsed
but its status and length. It asks a bare server as well, so that nobody takes its limit for qss's.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self

from benchmarks.namespaces import Namespace

from qss.cli.demo.network import Network
from qss.model.identifiers import SaeId
from qss.pki.contexts import application_context

_HELD_BYTES = 1 << 24  # so much of an answer is taken from the socket before it is asked for


@dataclass(frozen=True)
class Target:
    """Where to ask, and as whom."""

    port: int
    context: ssl.SSLContext
    namespace: Namespace | None = None
    """The network namespace that it is in, if not ours."""

    @classmethod
    def of(cls, network: Network, sae: SaeId, port: int | None = None) -> Self:
        """Return the SAE's own key server, or another server of the network on `port`."""
        pair = network.pki.sae(sae)
        context = application_context(pair.certificate, pair.key, network.pki.authority.certificate)
        return cls(port or network.ports[network.homes[sae]].northbound, context)


class Refused(Exception):
    """A server answered with something else than 200."""


def post(path: str, body: bytes = b"") -> bytes:
    """Return a request."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str) -> bytes:
    """Return a request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class Caller:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, target: Target) -> Self:
        """Connect."""
        with nullcontext() if target.namespace is None else target.namespace.inside():
            plain = socket.create_connection(("127.0.0.1", target.port), timeout=5)
        plain.setblocking(False)  # noqa: FBT003 - the socket module has it so
        return cls(
            *await asyncio.open_connection(
                sock=plain, ssl=target.context, server_hostname="localhost", limit=_HELD_BYTES
            )
        )

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer. Raises `Refused`."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        at = lower.index(b"content-length:") + len(b"content-length:")
        body = await self._reader.readexactly(int(lower[at : lower.index(b"\r\n", at)]))
        if not head.startswith(b"HTTP/1.1 200"):
            raise Refused(body.decode("utf-8", "replace"))
        return body

    async def close(self) -> None:
        """End the connection."""
        self._writer.close()
        await self._writer.wait_closed()


async def timed(caller: Caller, request: bytes) -> float:
    """Ask, and return the milliseconds it took."""
    began = time.perf_counter()
    await caller.ask(request)
    return 1000 * (time.perf_counter() - began)


async def rate(target: Target, request: bytes, connections: int, seconds: float) -> float:
    """Return the requests per second that are answered on so many connections at once."""
    callers = [await Caller.to(target) for _ in range(connections)]
    until = time.perf_counter() + seconds

    async def go_on(caller: Caller) -> int:
        count = 0
        while time.perf_counter() < until:
            await caller.ask(request)
            count += 1
        return count

    try:
        began = time.perf_counter()
        counts = await asyncio.gather(*map(go_on, callers))
        return sum(counts) / (time.perf_counter() - began)
    finally:
        await asyncio.gather(*(caller.close() for caller in callers))


async def until_served(caller: Caller, request: bytes, patience_s: float = 60.0) -> bytes:
    """Ask until there is an answer, and return it."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await caller.ask(request)
        except Refused:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def connected(make: Callable[[], Target], patience_s: float = 30.0) -> Caller:
    """Connect as soon as somebody listens."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await Caller.to(make())
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
