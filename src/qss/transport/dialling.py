"""Calling another site: a WebSocket over mutual TLS, and one protocol version that both ends speak.

Refused: plaintext; redirects, wherever they lead; a server that chooses no version. Not here: whether the site that
answers is the one that was meant; the caller compares `site_of(connection.peer)`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import aiohttp
from aiohttp import hdrs

from qss.model.errors import ConnectionLost, LocalProtocolError, NothingThere
from qss.transport.proof import peer_of, seconds_left
from qss.transport.websocket import CLOSING_S, MAX_FRAME_BYTES, SILENCE_S, WebSocketConnection

CONNECT_S = 5.0
"""How long it may take to connect if nothing else is said."""

_NOT_FOUND = 404


class _ClientSocket(aiohttp.ClientWebSocketResponse):
    """Shows what aiohttp keeps to itself, so that a connection can be ended whatever state aiohttp thinks it is in."""

    @property
    def transport(self) -> asyncio.Transport:
        return self._writer.transport

    def release(self) -> None:
        """Give the connection back to the session, to be closed."""
        self._response.close()


async def connect(
    url: str,
    context: ssl.SSLContext,
    *,
    subprotocols: Sequence[str],
    max_frame: int = MAX_FRAME_BYTES,
    silence_s: float = SILENCE_S,
    timeout_s: float = CONNECT_S,
) -> WebSocketConnection:
    """Connect to `url` (`wss://host:port/path`), offering `subprotocols`, the preferred first.

    Raises `ConnectionLost`, saying why, if no connection with a common protocol version is had within `timeout_s`:
    `NothingThere` if there is nothing at that path.
    """
    if not url.startswith("wss://") or context.verify_mode is not ssl.CERT_REQUIRED:
        raise LocalProtocolError(f"{url}: connections go to wss:// addresses and demand the server's certificate")
    redirects = aiohttp.TraceConfig()
    redirects.on_request_redirect.append(_refuse_redirect)  # before it is followed
    session = aiohttp.ClientSession(
        trace_configs=[redirects],
        connector=aiohttp.TCPConnector(ssl=context, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        ws_response_class=_ClientSocket,
    )
    try:
        async with asyncio.timeout(timeout_s):
            connection = await _open(session, url, subprotocols, max_frame, silence_s)
    except BaseException as error:
        await session.close()
        # ValueError: a name that cannot be one, in the address or in what the other end answers.
        if isinstance(error, TimeoutError | OSError | ssl.SSLError | aiohttp.ClientError | ValueError):
            nothing = isinstance(error, aiohttp.WSServerHandshakeError) and error.status == _NOT_FOUND
            kind = NothingThere if nothing else ConnectionLost
            raise kind(f"{url}: {_reason(error, subprotocols, timeout_s)}") from error
        raise
    return connection


class _RedirectedError(aiohttp.ClientError):
    """The other end wants to lead elsewhere."""


async def _refuse_redirect(*_: object) -> None:
    raise _RedirectedError


async def _open(
    session: aiohttp.ClientSession, url: str, subprotocols: Sequence[str], max_frame: int, silence_s: float
) -> WebSocketConnection:
    socket = await session.ws_connect(
        url,
        protocols=subprotocols,
        autoping=False,
        autoclose=False,
        max_msg_size=max_frame + 1,  # aiohttp refuses a message of just that size
        timeout=aiohttp.ClientWSTimeout(ws_close=CLOSING_S),
    )
    assert isinstance(socket, _ClientSocket)
    tls = socket.transport.get_extra_info("ssl_object")
    peer, valid_s = peer_of(tls), seconds_left(tls)
    if peer is None or valid_s is None or socket.protocol is None:
        socket.release()
        if peer is None:
            raise ConnectionLost(f"{url}: the other end led to a connection without TLS; nothing was sent")
        raise ConnectionLost(f"{url}: the other end chose none of the versions {', '.join(subprotocols)}; upgrade it")

    expiry = asyncio.get_running_loop().call_later(valid_s, socket.transport.abort)

    async def release() -> None:
        expiry.cancel()
        socket.release()
        await session.close()

    return WebSocketConnection(
        socket,
        socket.transport,
        peer,
        socket.protocol,
        max_frame=max_frame,
        silence_s=silence_s,
        release=release,
    )


def _reason(error: Exception, subprotocols: Sequence[str], timeout_s: float) -> str:
    match error:
        case aiohttp.WSServerHandshakeError(headers=headers) if headers and hdrs.SEC_WEBSOCKET_PROTOCOL in headers:
            theirs = headers[hdrs.SEC_WEBSOCKET_PROTOCOL][:200]
            return (
                f"no common protocol version: this end speaks {', '.join(subprotocols)}, the other end {theirs!r}; "
                "upgrade the older one"
            )
        case aiohttp.WSServerHandshakeError(status=status) if status == _NOT_FOUND:
            return (
                "the other end has nothing at this path: compare the UUIDs of links and device pairs at both ends, and "
                "whether the QKD module, or the routing module, there is a process of its own (then name its address "
                "in [[links]]: peer_module and sync, or routing)"
            )
        case aiohttp.WSServerHandshakeError(status=403):
            return "the other end lets whoever shows this certificate do nothing at this path: its log says why"
        case aiohttp.WSServerHandshakeError():
            return f"the other end answered with HTTP status {error.status} instead of opening a connection"
        case aiohttp.ClientConnectorCertificateError():
            return f"the other end's certificate is not accepted ({error.certificate_error})"
        case aiohttp.ClientConnectorError():
            return f"cannot connect ({error.os_error})"
        case ValueError():
            return "the address, or what the other end answered, is malformed; correct the link's address"
        case _RedirectedError():
            return "the other end led elsewhere (a redirect), and is not followed; correct the link's address"
        case TimeoutError():
            return f"no connection within {timeout_s:g} s"
        case _:
            # In TLS 1.3 a server that refuses the client's certificate says so after the client's handshake is done.
            return "the other end broke off while connecting; see its log, and whether it accepts our certificate"
