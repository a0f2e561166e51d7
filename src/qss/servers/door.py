"""The door of a site: listens with TLS, carries requests to a handler and its responses back, and bounds everything.

Bounded are: the time for a TLS handshake, for a head, for a request to arrive and be answered, for the answer to be
taken, for idling; the sizes of head and body, and of all bodies together; the connections (`transport.accepting`), and
those of callers without a certificate. Connections above the limit are answered with 503. No exception reaches a
caller: what is not foreseen becomes a 503 that says nothing, and a line in the log that says type and place. Not here:
what a path means, who may do what.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog
from aiohttp import web

from qss.model.certificates import PeerCertificate
from qss.model.errors import BadRequest, LimitReached, LocalProtocolError, place_of
from qss.servers.conversation import Conversation, read_body, send
from qss.servers.messages import Guarded, Handler, Request, Response, error_response
from qss.transport.accepting import Acceptor

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener bears. Times in seconds.

    `request_s` is for a request to arrive and be answered, and once more for its answer to be taken. `idle_s` is for a
    connection between two requests, in which the next one's head must have come. `max_body_bytes` is for a handler that
    does not look at requests before their bodies are read (`Guarded`), `max_bodies_bytes` for all bodies that are read
    or answered at one time, None being without limit. Callers who show no certificate have `max_anonymous` of the
    connections at most; what is more takes the place of the one of them that came first.
    """

    max_body_bytes: int = 65_536
    max_bodies_bytes: int | None = None
    max_connections: int = 1000
    max_anonymous: int = 100
    request_s: float = 30.0
    idle_s: float = 60.0
    handshake_s: float = 5.0


class HttpsListener:
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
        self._handler = handler
        self._limits = limits or Limits()
        self._on_refusal = on_refusal
        guard: object = handler
        most = self._limits.max_body_bytes
        self._entry: Callable[[Request], Response | int] = guard.entry if isinstance(guard, Guarded) else lambda _: most
        self._acceptor: Acceptor[Conversation] = Acceptor(
            host,
            port,
            context,
            max_connections=self._limits.max_connections,
            handshake_s=self._limits.handshake_s,
        )
        self._answering: dict[Conversation, asyncio.Task[object]] = {}
        self._bodies_bytes = 0
        self._closing = False

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and port that are listened on. Raises `LocalProtocolError` before the start."""
        return self._acceptor.address

    async def start(self) -> None:
        """Begin to listen. Raises `ListenError` if the address cannot be had."""
        server = web.Server(self._answer)
        await self._acceptor.start(
            lambda admit: Conversation(
                server, idle_s=self._limits.idle_s, admit=admit, refused=self._on_refusal, anonymous=self._make_room
            )
        )

    async def close(self, drain_s: float = 0.0) -> None:
        """Accept no more, let requests under way finish for at most `drain_s` seconds, then end every connection.

        Can be called twice, and before the start.
        """
        self._closing = True
        await self._acceptor.stop()
        for conversation in self._acceptor.established:
            if conversation not in self._answering:
                conversation.force_close()
        if self._answering and drain_s > 0:
            await asyncio.wait([*self._answering.values()], timeout=drain_s)
        for answering in self._answering.values():
            answering.cancel()
        await self._acceptor.close()

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
            return self._refusal(503, "this key server has too many connections: try again later"), True
        deadline = asyncio.get_running_loop().time() + self._limits.request_s
        asked = _request(request, b"", conversation.peer)
        entry = self._look_at(asked)
        if isinstance(entry, Response):
            return entry, False
        try:
            with self._room(request, entry):
                return await self._served(request, asked, entry, deadline)
        except LimitReached as error:
            return self._refusal(503, str(error)), False

    def _look_at(self, asked: Request) -> Response | int:
        """Return how much body is read, or the answer, if that needs none."""
        try:
            return self._entry(asked)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must not see it
            return self._failed(error)

    async def _served(
        self, request: web.BaseRequest, asked: Request, max_body: int, deadline: float
    ) -> tuple[Response, bool]:
        try:
            async with asyncio.timeout_at(deadline):
                body = await read_body(request, max_body) if max_body else b""
        except TimeoutError:
            return self._refusal(400, f"the request did not arrive within {self._limits.request_s:g} s"), True
        except BadRequest as error:
            return self._refusal(400, error.message), True
        try:
            async with asyncio.timeout_at(deadline):
                return await self._handler(replace(asked, body=body)), False
        except TimeoutError:
            return self._refusal(503, f"no answer within {self._limits.request_s:g} s: try again later"), False
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must not see it
            return self._failed(error), False

    def _failed(self, error: Exception) -> Response:
        _log.error("request failed", error=type(error).__name__, place=place_of(error))
        return self._refusal(503, "the request failed in the key server: see its log")

    @contextmanager
    def _room(self, request: web.BaseRequest, max_body: int) -> Iterator[None]:
        """Have room for a request's body until it is answered. Raises `LimitReached`."""
        length = request.content_length
        wanted = min(max_body, length) if length is not None else max_body if request.can_read_body else 0
        most = self._limits.max_bodies_bytes
        if most is not None and self._bodies_bytes + wanted > most:
            raise LimitReached("too much is being sent here at this time: try again later")
        self._bodies_bytes += wanted
        try:
            yield
        finally:
            self._bodies_bytes -= wanted

    def _make_room(self) -> None:
        """Another caller without a certificate has come: end the first of too many that is not being answered.

        So whoever opens such connections and says nothing takes no place from those who show one, nor from probes.
        """
        anonymous = [each for each in self._acceptor.established if each.peer is None and not each.ending]
        if len(anonymous) > self._limits.max_anonymous:
            next((each for each in anonymous if each not in self._answering), anonymous[-1]).abort()

    def _refusal(self, status: int, message: str) -> Response:
        self._on_refusal(status)
        return error_response(status, message)


def _request(request: web.BaseRequest, body: bytes, peer: PeerCertificate | None) -> Request:
    return Request(
        request.method,
        request.rel_url.raw_path,
        request.rel_url.raw_query_string,
        {name.lower(): value for name, value in request.headers.items()},
        body,
        peer,
    )
