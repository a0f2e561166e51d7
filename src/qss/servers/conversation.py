"""One connection at the door: requests in, responses out, each within its limits.

Held here: when a connection has really ended, and that whatever the HTTP parser cannot read gets the same form of
refusal as everything else. Logs name the type and place of a failure, never a value: it might be secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import structlog
from aiohttp import HttpVersion11, hdrs, web

from qss.model.errors import BadRequest
from qss.servers.messages import Response, error_response

LINGERING_SECONDS = 1.0
"""How long a connection is still read after a refusal, so that a caller who is sending finds the answer."""

MAX_LINE_BYTES = 8190
"""Longest request line, and longest header."""

MAX_HEADERS = 64
"""Headers in one request."""

_NOT_READABLE = 400  # what aiohttp's parser says; its status for an exception is 500
_PIECE_BYTES = 1 << 16

_log = structlog.get_logger(__name__)


class Conversation(web.RequestHandler):
    """One connection. `admit` is asked after the handshake; whom it refuses hears so and is closed."""

    def __init__(
        self, server: web.Server, *, idle_s: float, admit: Callable[[], bool], refused: Callable[[int], None]
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=idle_s,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for none, and does not say so
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=LINGERING_SECONDS,
            auto_decompress=False,  # a small body that unpacks into a large one is not read at all
            timeout_ceil_threshold=float("inf"),
        )
        self.admitted = False
        """Whether its requests are answered."""
        self._admit = admit
        self._refused = refused
        self._socket: asyncio.Transport | None = None
        self._finished = asyncio.Event()
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read requests."""
        self._socket = cast("asyncio.Transport", transport)
        self.admitted = self._admit()
        super().connection_made(transport)

    @property
    def established(self) -> bool:
        """Whether the handshake is done."""
        return self._socket is not None

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

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP. Everything that is HTTP is answered by the door, unless the caller has gone."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status == _NOT_READABLE:
            _log.info("no HTTP", error=type(exc).__name__)
            refusal = error_response(400, "the request is no well-formed HTTP/1.1, or its head is too large")
        else:
            _log.error("request failed", error=type(exc).__name__, place=place_of(exc))
            refusal = error_response(503, "the request failed in the key server: see its log")
        self._refused(refusal.status)
        result = web.Response(status=refusal.status, headers=_headers(refusal), body=refusal.body)
        result.force_close()
        return result

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log what aiohttp could not handle."""
        error = kw.get("exc_info")
        _log.error("connection failed", error=type(error).__name__, place=place_of(error))


async def send(request: web.BaseRequest, response: Response, *, closing: bool) -> web.StreamResponse:
    """Send the response and wait until nearly all of it has left.

    It goes in pieces, because only between writes does asyncio's TLS wait for a slow reader.
    """
    result = web.StreamResponse(status=response.status, headers=_headers(response))
    result.content_length = len(response.body)
    if closing:
        result.force_close()
    await result.prepare(request)
    if request.method != hdrs.METH_HEAD:
        for start in range(0, len(response.body), _PIECE_BYTES):
            await result.write(response.body[start : start + _PIECE_BYTES])
    await result.write_eof()
    return result


def _headers(response: Response) -> dict[str, str]:
    return {**response.headers, hdrs.SERVER: "qss"}


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """Return the body. Raises `BadRequest` if it has more than `limit` bytes, as soon as that is known.

    Raises `ConnectionError` if the connection ends before the body does.
    """
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    if request.version >= HttpVersion11 and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer has been sent
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except web.RequestPayloadError:
        raise BadRequest("the body does not arrive as its headers say: check its length or its chunks") from None
    return bytes(body)


def place_of(error: object) -> str:
    """Return file name and line where `error` was raised, for the log."""
    trace = error.__traceback__ if isinstance(error, BaseException) else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "unknown" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _too_large(limit: int) -> BadRequest:
    return BadRequest(f"the body is too large: at most {limit} bytes are read")
