"""Being called: one port, mutual TLS, several paths, each with its protocol versions.

Refused: callers without certificate, plain HTTP requests, callers that share no protocol version, more connections
than agreed (`accepting`). Whoever does not finish connecting in time is cut off. Not here: which caller may do what; a
handler looks at `connection.peer` first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import hdrs, web

from qss.model.errors import ConnectionLost, LocalProtocolError, QssError
from qss.transport.accepting import Acceptor
from qss.transport.http_connection import HttpConnection
from qss.transport.telling import Lasting, Telling
from qss.transport.websocket import CLOSING_S, MAX_FRAME_BYTES, SILENCE_S, WebSocketConnection

OPENING_S = 5.0
"""How long a caller may take for the TLS handshake, and again for its request."""

MAX_CONNECTIONS = 256
"""How many connections are open at a time if nothing else is said."""

_SHOWN_CHARACTERS = 100
"""How much of a path that is not here is logged."""

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
        silence_s: float = SILENCE_S,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Make a listener for `host` (a name or an IP address) and `port` (0: any free one)."""
        if context.verify_mode is not ssl.CERT_REQUIRED:
            raise LocalProtocolError("a listener demands its callers' certificates: give it a server_context")
        self._routes = dict(routes)
        self._silence_s = silence_s
        self._acceptor: Acceptor[HttpConnection] = Acceptor(
            host, port, context, max_connections=max_connections, handshake_s=OPENING_S
        )
        self._serving: dict[WebSocketConnection, asyncio.Task[object]] = {}
        self._telling = Telling()
        self._lasting = Lasting()

    def offer(self, path: str, route: Route) -> None:
        """Have something at this path from now on."""
        self._routes[path] = route

    def withdraw(self, path: str) -> None:
        """Have nothing at this path any more; connections that stand go on."""
        self._routes.pop(path, None)

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and port that are listened on. Raises `LocalProtocolError` before the start."""
        return self._acceptor.address

    async def start(self) -> None:
        """Begin to listen. Raises `ListenError` if the address cannot be had."""
        server = web.Server(self._answer)
        await self._acceptor.start(lambda admit: HttpConnection(server, idle_s=OPENING_S, admit=admit))

    async def close(self) -> None:
        """Listen no more, and end every connection. Can be called twice, and before the start.

        A handler that does not return within `CLOSING_S` after its connection has ended is cancelled.
        """
        await self._acceptor.stop()
        await asyncio.gather(*(connection.close() for connection in self._serving))
        for http in self._acceptor.established:
            http.force_close()
        if self._serving:
            await asyncio.wait([*self._serving.values()], timeout=CLOSING_S)
        for serving in self._serving.values():
            serving.cancel()
        await self._acceptor.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        http = request.protocol
        assert isinstance(http, HttpConnection)
        if not http.admitted:
            return http.refusal(503, "too many connections")
        route = self._routes.get(request.path)
        if route is None:
            self._tell_of_no_path(request, http)
            return http.refusal(404, "there is nothing at this path")
        transport = request.transport
        if transport is None or http.peer is None:
            return http.refusal(403, "a client certificate is needed")
        offered = [name.strip() for name in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]
        common = next((name for name in route.subprotocols if name in offered), None)
        if common is None:
            refusal = http.refusal(400, f"no common protocol version: this end speaks {', '.join(route.subprotocols)}")
            refusal.headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = ", ".join(route.subprotocols)
            return refusal
        socket = web.WebSocketResponse(
            protocols=(common,),
            autoping=False,
            autoclose=False,
            compress=False,
            timeout=CLOSING_S,
            max_msg_size=route.max_frame + 1,  # aiohttp refuses a message of just that size
        )
        if not socket.can_prepare(request):
            return http.refusal(400, "this path takes WebSocket connections only")
        await socket.prepare(request)
        connection = WebSocketConnection(
            socket,
            transport,
            http.peer,
            common,
            max_frame=route.max_frame,
            silence_s=self._silence_s,
            release=_nothing_to_release,
        )
        await self._serve(connection, route, request.path)
        return socket

    def _tell_of_no_path(self, request: web.BaseRequest, http: HttpConnection) -> None:
        """Log it once a minute for each certificate: the path is the caller's own, and there is no end of paths.

        Sites that start together may ask for what is about to be there: only if that goes on is something wrong.
        """
        certificate = http.peer.uris if http.peer is not None else None
        told = {"path": request.path[:_SHOWN_CHARACTERS], "address": request.remote, "certificate": certificate}
        lasts = self._lasting.lasts(certificate)
        if (unsaid := self._telling.unsaid(("path", certificate, lasts))) is None:
            return
        if lasts:
            _log.warning(
                "somebody goes on asking for a path that is not here",
                **told,
                remedy="if it is a neighbour: compare the UUIDs of links and device pairs at both ends, and whether a "
                "QKD module (peer_module) or the routing module (routing) is said to be in this process. If it is a "
                "far site, and the path that of an end-to-end stream (/sync): see in this log why there is none",
                unsaid=unsaid,
            )
        else:
            _log.info("somebody asked for a path that is not here, or not yet", **told, unsaid=unsaid)

    async def _serve(self, connection: WebSocketConnection, route: Route, path: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[connection] = task
        try:
            await route.handler(connection)
        except ConnectionLost:
            pass
        except QssError as error:
            kind = type(error).__name__
            if (unsaid := self._telling.unsaid((path, connection.peer.uris, kind))) is not None:
                _log.warning("connection ended", path=path, error=kind, reason=str(error), unsaid=unsaid)
        finally:
            await connection.close()
            del self._serving[connection]


async def _nothing_to_release() -> None:
    """A server's connection owns nothing besides its transport."""
