"""Being called: one port, mutual TLS, several paths, each with its protocol versions.

Refused: callers without certificate, plain HTTP requests, callers that share no protocol version, more connections
than agreed. Whoever does not finish connecting within `OPENING_SECONDS` is cut off. Not here: which caller may do
what; a handler looks at `connection.peer` first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import hdrs, web

from qss.model.errors import ConnectionLost, ListenError, LocalProtocolError, QssError
from qss.transport.proof import peer_of
from qss.transport.websocket import CLOSING_SECONDS, MAX_FRAME_BYTES, SILENCE_SECONDS, WebSocketConnection

OPENING_SECONDS = 5.0
"""How long a caller may take for the TLS handshake, and again for its request."""

MAX_CONNECTIONS = 256
"""How many connections are open at a time if nothing else is said."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """What is behind a path: the protocol versions spoken there, the preferred first, and who takes connections.

    The connection is closed when `handler` returns; it may raise `ConnectionLost`.
    """

    subprotocols: tuple[str, ...]
    handler: Callable[[WebSocketConnection], Awaitable[None]]
    max_frame: int = MAX_FRAME_BYTES


class Listener:
    """Listens on one port once started, until closed."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        routes: Mapping[str, Route],
        *,
        silence_s: float = SILENCE_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Make a listener for `host` (a name or an IP address) and `port` (0: any free one)."""
        if context.verify_mode is not ssl.CERT_REQUIRED:
            raise LocalProtocolError("a listener demands its callers' certificates: give it a server_context")
        self._host = host
        self._port = port
        self._context = context
        self._routes = dict(routes)
        self._silence_s = silence_s
        self._slots = asyncio.Semaphore(max_connections)
        self._connections: set[WebSocketConnection] = set()
        self._opening: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._address: tuple[str, int] | None = None
        self._http: web.Server | None = None
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and port that are listened on. Raises `LocalProtocolError` before the start."""
        if self._address is None:
            raise LocalProtocolError("the listener has not been started")
        return self._address

    async def start(self) -> None:
        """Begin to listen. Raises `ListenError` if the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._http = http = web.Server(self._answer, access_log=None)

        def admit() -> web.RequestHandler:
            protocol = http()
            self._opening[protocol] = loop.call_later(2 * OPENING_SECONDS, self._cut_off, protocol)
            return protocol

        try:
            self._server = await loop.create_server(
                admit,
                self._host,
                self._port,
                ssl=self._context,
                ssl_handshake_timeout=OPENING_SECONDS,
                ssl_shutdown_timeout=CLOSING_SECONDS,
            )
        except OSError as error:
            raise ListenError(
                f"cannot listen on {self._host} port {self._port} ({error.strerror or error}): "
                "stop what uses it, or configure another address"
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        self._address = (host, port)

    async def close(self) -> None:
        """Listen no more, and end every connection. Can be called twice, and before the start."""
        if self._server is None or self._http is None:
            return
        self._server.close()
        for opening in self._opening.values():
            opening.cancel()
        self._opening.clear()
        await asyncio.gather(*(connection.close() for connection in self._connections))
        self._http.pre_shutdown()
        await self._http.shutdown(CLOSING_SECONDS)

    def _cut_off(self, protocol: web.RequestHandler) -> None:
        del self._opening[protocol]
        protocol.force_close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        opening = self._opening.pop(request.protocol, None)
        if opening is not None:
            opening.cancel()
        route = self._routes.get(request.path)
        if route is None:
            return _refusal(404, "there is nothing at this path")
        transport = request.transport
        peer = peer_of(transport.get_extra_info("ssl_object")) if transport else None
        if transport is None or peer is None:
            return _refusal(403, "a client certificate is needed")
        offered = [name.strip() for name in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]
        common = next((name for name in route.subprotocols if name in offered), None)
        if common is None:
            refusal = _refusal(400, f"no common protocol version: this end speaks {', '.join(route.subprotocols)}")
            refusal.headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = ", ".join(route.subprotocols)
            return refusal
        socket = web.WebSocketResponse(
            protocols=(common,),
            autoping=False,
            autoclose=False,
            compress=False,
            timeout=CLOSING_SECONDS,
            max_msg_size=route.max_frame + 1,  # aiohttp refuses a message of just that size
        )
        if not socket.can_prepare(request):
            return _refusal(400, "this path takes WebSocket connections only")
        if self._slots.locked():
            _log.warning("connection refused", path=request.path, connections=len(self._connections))
            return _refusal(503, "too many connections")
        async with self._slots:
            await socket.prepare(request)
            connection = WebSocketConnection(
                socket,
                transport,
                peer,
                common,
                max_frame=route.max_frame,
                silence_s=self._silence_s,
                release=_nothing_to_release,
            )
            await self._serve(connection, route, request.path)
        return socket

    async def _serve(self, connection: WebSocketConnection, route: Route, path: str) -> None:
        self._connections.add(connection)
        try:
            await route.handler(connection)
        except ConnectionLost:
            pass
        except QssError as error:
            _log.warning("connection ended", path=path, error=type(error).__name__, reason=str(error))
        finally:
            await connection.close()
            self._connections.discard(connection)


def _refusal(status: int, text: str) -> web.Response:
    response = web.Response(status=status, text=text + "\n")
    response.force_close()
    return response


async def _nothing_to_release() -> None:
    """A server's connection owns nothing besides its transport."""
