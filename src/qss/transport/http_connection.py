"""One HTTP/1.1 connection that a listener has accepted: within limits, and known to have ended when it has.

Held here: what all listeners ask of a connection, whatever is said on it. Whatever the HTTP parser cannot read, and
whatever fails unforeseen, is refused in the listener's own form. Logs name the type and place of a failure, never a
value: it might be secret. Not here: requests and what they mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import structlog
from aiohttp import web

from qss.model.certificates import PeerCertificate
from qss.model.errors import place_of
from qss.transport.proof import peer_of

LINGERING_S = 1.0
"""How long a connection is still read after a refusal, so that a caller who is sending finds the answer."""

LINGERING_BYTES = 1 << 24
"""How much is still read after a refusal."""

MAX_LINE_BYTES = 8190
"""Longest request line, and longest header."""

MAX_HEADERS = 64
"""Headers in one request."""

_NOT_READABLE = 400  # what aiohttp's parser says; its status for an exception is 500

_log = structlog.get_logger(__name__)


class HttpConnection(web.RequestHandler):
    """One connection. `admit` is asked once, after the handshake: whether the connection may be used."""

    def __init__(self, server: web.Server, *, idle_s: float, admit: Callable[[], bool]) -> None:
        """`idle_s` is for a head to come, from the beginning of the connection or from the answer before."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=idle_s,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for none, and does not say so
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=0,  # it would read any amount: see `finish_response`
            auto_decompress=False,  # a small body that unpacks into a large one is not read at all
            timeout_ceil_threshold=float("inf"),
        )
        self.admitted = False
        """Whether there was room for it. If not, it is there to hear so."""
        self.peer: PeerCertificate | None = None
        """The names in the other end's verified certificate, once established; None where it showed none."""
        self._admit = admit
        self._socket: asyncio.Transport | None = None
        self._finished = asyncio.Event()
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read requests."""
        self._socket = cast("asyncio.Transport", transport)
        self.peer = peer_of(self._socket.get_extra_info("ssl_object"))
        self.admitted = self._admit()
        super().connection_made(transport)

    @property
    def established(self) -> bool:
        """Whether the handshake is done."""
        return self._socket is not None

    @property
    def ending(self) -> bool:
        """Whether it was ended, and is perhaps not closed yet."""
        return self._socket is not None and self._socket.is_closing()

    async def start(self) -> None:
        """Read and answer requests until the connection ends."""
        try:
            await super().start()
        finally:
            self._finished.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note the end."""
        super().connection_lost(exc)
        self._lost.set()

    async def ended(self) -> None:
        """Return when the connection is closed and nothing works on it any more."""
        await self._finished.wait()
        await self._lost.wait()

    def abort(self) -> None:
        """End the connection at once, whatever is still to be sent."""
        self.force_close()
        if self._socket is not None:
            self._socket.abort()

    def refusal(self, status: int, text: str) -> web.Response:
        """Return an answer that says why there is no other, after which the connection is closed."""
        refused = web.Response(status=status, text=text + "\n")
        refused.force_close()
        return refused

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Finish the answer, and end the connection if the rest of a request that nobody read does not end soon."""
        result = await super().finish_response(request, resp, start_time)
        with suppress(TimeoutError, ConnectionError, web.RequestPayloadError):
            async with asyncio.timeout(LINGERING_S):
                left = LINGERING_BYTES
                while left > 0 and not request.content.is_eof():
                    left -= len(await request.content.readany())
        if not request.content.is_eof():
            self.abort()
        return result

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, and what failed unforeseen, unless the caller has gone."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status == _NOT_READABLE:
            _log.info("no HTTP", error=type(exc).__name__)
            return self.refusal(400, "the request is no well-formed HTTP/1.1, or its head is too large")
        _log.error("request failed", error=type(exc).__name__, place=place_of(exc))
        return self.refusal(503, "the request failed in the key server: see its log")

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log what aiohttp could not handle."""
        error = kw.get("exc_info")
        _log.error("connection failed", error=type(error).__name__, place=place_of(error))
