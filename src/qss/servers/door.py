"""The door of a site: listens with TLS, carries requests to a handler and its responses back, and bounds everything.

Bounded are: the time for a TLS handshake, for a head, for a request to arrive and be answered, for the answer to be
taken, for idling; the sizes of head and body; the connections. Connections above the limit are answered with 503; above
a few more, callers wait in the operating system's queue. No exception reaches a caller: what is not foreseen becomes a
503 that says nothing, and a line in the log that says type and place. Not here: what a path means, who may do what.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

from qss.model.errors import BadRequest, LocalProtocolError
from qss.servers.binding import bind
from qss.servers.conversation import Conversation, place_of, read_body, send
from qss.servers.messages import Handler, Request, Response, error_response
from qss.transport.proof import peer_of

SPARE_CONNECTIONS = 32
"""Connections above the limit that are accepted only to hear that there are too many."""

SHUTDOWN_SECONDS = 2.0
"""How long the other end may take to agree to a TLS connection's end."""

_ACCEPT_PAUSE_S = 0.5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener bears. Times in seconds.

    `request_s` is for a request to arrive and be answered, and once more for its answer to be taken. `idle_s` is for a
    connection between two requests, in which the next one's head must have come.
    """

    max_body_bytes: int = 65_536
    max_connections: int = 1000
    request_s: float = 30.0
    idle_s: float = 60.0
    handshake_s: float = 5.0


class Listener:
    """Listens on one port once started, until closed."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        handler: Handler,
        *,
        limits: Limits | None = None,
        on_refusal: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Make a listener for `host` (a name or an IP address) and `port` (0: any free one).

        `on_refusal` hears the status of every answer that the handler had no part in.
        """
        if context.verify_mode is ssl.CERT_NONE:
            raise LocalProtocolError("a listener looks at its callers' certificates: give it a context of qss.pki")
        self._host = host
        self._port = port
        self._context = context
        self._handler = handler
        self._limits = limits or Limits()
        self._on_refusal = on_refusal
        self._slots = asyncio.Semaphore(self._limits.max_connections + SPARE_CONNECTIONS)
        self._connections: dict[asyncio.Task[None], Conversation] = {}
        self._admitted = 0
        self._answering: dict[Conversation, asyncio.Task[object]] = {}
        self._sockets: tuple[socket.socket, ...] = ()
        self._accepting: tuple[asyncio.Task[None], ...] = ()
        self._closing = False
        self._address: tuple[str, int] | None = None
        self._server: web.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and port that are listened on. Raises `LocalProtocolError` before the start."""
        if self._address is None:
            raise LocalProtocolError("the listener has not been started")
        return self._address

    async def start(self) -> None:
        """Begin to listen. Raises `ListenError` if the address cannot be had."""
        self._sockets = await bind(self._host, self._port)
        self._address = self._sockets[0].getsockname()[:2]
        self._server = server = web.Server(self._answer)
        self._accepting = tuple(asyncio.create_task(self._accept(server, listening)) for listening in self._sockets)

    async def close(self, drain_s: float = 0.0) -> None:
        """Accept no more, let requests under way finish for at most `drain_s` seconds, then end every connection.

        Can be called twice, and before the start.
        """
        self._closing = True
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listening in self._sockets:
            listening.close()
        for connection, conversation in self._connections.items():
            if not conversation.established:
                connection.cancel()
            elif conversation not in self._answering:
                conversation.force_close()
        if self._answering and drain_s > 0:
            await asyncio.wait([*self._answering.values()], timeout=drain_s)
        for answering in self._answering.values():
            answering.cancel()
        if self._connections:
            await asyncio.wait([*self._connections], timeout=SHUTDOWN_SECONDS)
        for connection, conversation in self._connections.items():
            connection.cancel()
            conversation.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # --- connections ----------------------------------------------------------------------------------------------

    async def _accept(self, server: web.Server, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._slots.acquire()
            try:
                connected, address = await loop.sock_accept(listening)
            except OSError as error:  # no file descriptor left, for one
                self._slots.release()
                _log.error("no connection can be accepted", reason=error.strerror)
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            except BaseException:
                self._slots.release()
                raise
            conversation = Conversation(
                server,
                idle_s=self._limits.idle_s,
                admit=self._admit,
                refused=self._on_refusal,
            )
            task = asyncio.create_task(self._hold(connected, address[0], conversation))
            self._connections[task] = conversation
            task.add_done_callback(self._release)

    def _admit(self) -> bool:
        """Whether one more connection may be used. Handshakes under way do not count: they end soon."""
        if self._admitted >= self._limits.max_connections:
            return False
        self._admitted += 1
        return True

    def _release(self, task: asyncio.Task[None]) -> None:
        self._admitted -= self._connections.pop(task).admitted
        self._slots.release()

    async def _hold(self, connected: socket.socket, caller: str, conversation: Conversation) -> None:
        """Hold one connection, from the handshake to its end."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: conversation,
                connected,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:  # the library's SSLError is one
            _log.info("TLS handshake failed", caller=caller, reason=_reason(error))
            return
        await conversation.ended()

    # --- requests -------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        conversation, task = request.protocol, asyncio.current_task()
        assert isinstance(conversation, Conversation)
        assert task is not None
        self._answering[conversation] = task
        try:
            response, closing = await self._response(request, conversation)
            async with asyncio.timeout(self._limits.request_s):
                return await send(request, response, closing=closing or self._closing)
        except TimeoutError:
            _log.info("an answer was not taken in time")
            conversation.abort()
            raise ConnectionAbortedError from None
        finally:
            del self._answering[conversation]

    async def _response(self, request: web.BaseRequest, conversation: Conversation) -> tuple[Response, bool]:
        """Return the response, and whether the connection is of no more use."""
        if not conversation.admitted:
            _log.warning("connection refused", connections=self._limits.max_connections)
            return self._refusal(503, "this key server has too many connections: try again later"), True
        deadline = asyncio.get_running_loop().time() + self._limits.request_s
        try:
            async with asyncio.timeout_at(deadline):
                body = await read_body(request, self._limits.max_body_bytes)
        except TimeoutError:
            return self._refusal(400, f"the request did not arrive within {self._limits.request_s:g} s"), True
        except BadRequest as error:
            return self._refusal(400, error.message), True
        try:
            async with asyncio.timeout_at(deadline):
                return await self._handler(_request(request, body)), False
        except TimeoutError:
            return self._refusal(503, f"no answer within {self._limits.request_s:g} s: try again later"), False
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must not see it
            _log.error("request failed", error=type(error).__name__, place=place_of(error))
            return self._refusal(503, "the request failed in the key server: see its log"), False

    def _refusal(self, status: int, message: str) -> Response:
        self._on_refusal(status)
        return error_response(status, message)


def _reason(error: OSError) -> str:
    """Say what the TLS library has against a caller, its certificate for one."""
    return getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__


def _request(request: web.BaseRequest, body: bytes) -> Request:
    transport = request.transport
    return Request(
        request.method,
        request.rel_url.raw_path,
        request.rel_url.raw_query_string,
        {name.lower(): value for name, value in request.headers.items()},
        body,
        peer_of(transport.get_extra_info("ssl_object")) if transport else None,
    )
