"""One connection at the door: bodies in and responses out, each within its limits, and refusals in the form of 014.

Not here: accepting connections and their own limits (`transport`), nor what a request means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import HttpVersion11, hdrs, web

from qss.model.errors import BadRequest
from qss.servers.messages import Response, error_response
from qss.transport.http_connection import HttpConnection

_PIECE_BYTES = 1 << 16


class Conversation(HttpConnection):
    """One connection. `refused` hears the status of every refusal that the door had no part in.

    `anonymous` hears that it stands and has shown no certificate.
    """

    def __init__(
        self,
        server: web.Server,
        *,
        idle_s: float,
        admit: Callable[[], bool],
        refused: Callable[[int], None],
        anonymous: Callable[[], None],
    ) -> None:
        super().__init__(server, idle_s=idle_s, admit=admit)
        self._refused = refused
        self._anonymous = anonymous

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read requests."""
        super().connection_made(transport)
        if self.peer is None:
            # Later, because a connection that is ended before it has begun to work would never be done.
            asyncio.get_running_loop().call_soon(self._anonymous)

    def refusal(self, status: int, text: str) -> web.Response:
        """Return the standard's Error data model, after which the connection is closed."""
        refused = error_response(status, text)
        self._refused(status)
        result = web.Response(status=status, headers=_headers(refused), body=refused.body)
        result.force_close()
        return result


async def send(request: web.BaseRequest, response: Response, *, closing: bool) -> web.StreamResponse:
    """Send the response and wait until nearly all of it has left.

    A large one goes in pieces, because only between writes does asyncio's TLS wait for a slow reader; a small one in a
    single write, head and all.
    """
    if len(response.body) <= _PIECE_BYTES:
        whole = web.Response(status=response.status, headers=_headers(response), body=response.body)
        if closing:
            whole.force_close()
        await whole.prepare(request)
        await whole.write_eof()
        return whole
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


def _too_large(limit: int) -> BadRequest:
    return BadRequest(f"the body is too large: at most {limit} bytes are read")
