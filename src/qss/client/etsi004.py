"""The client of ETSI GS QKD 004, for asyncio: one server, one connection, made anew when it was lost.

Calls go one after the other: the answer to one is there before the next is sent. A call whose connection is lost is
sent once more on a new one; our server answers a repeated GET_KEY with the same bytes. A server that does not answer
in time is given up. Refused: a server that is not the one that was meant, answers that are none to what was asked.
Calls that fail say so in their status; only what is no answer raises.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

from qss.model.addresses import Address
from qss.model.certificates import PeerCertificate
from qss.model.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError, Unauthorised
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.transport.proof import peer_of, seconds_left, security_of
from qss.wire.etsi004.framing import ANSWERS, FORGE_VERSION, FrameDecoder, Version
from qss.wire.etsi004.messages import (
    MAX_NUMBER,
    NULL_KSID,
    Answer,
    Close,
    CloseAnswer,
    Error,
    Form,
    GetKey,
    GetKeyAnswer,
    Message,
    OpenConnect,
    OpenConnectAnswer,
    QoS,
    Request,
    decode,
    encode,
)
from qss.wire.etsi004.status import Edition, Status, status_of

CONNECT_S = 5.0
"""How long it may take to connect."""

MARGIN_S = 5.0
"""How much longer than a call's own Timeout its answer may take."""

Verify = Callable[[PeerCertificate], object]
"""Raises `Unauthorised` if the server is not the one that is meant."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Answer to OPEN_CONNECT. `stream` None is NULL; `qos` None where the server said nothing of it."""

    status: Status
    qos: QoS | None
    stream: StreamId | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Answer to GET_KEY. `key` is None unless `status` is success; `room` is what the metadata needs where it tells."""

    status: Status
    index: int
    key: KeyMaterial | None
    metadata: bytes
    room: int


class Etsi004Client:
    """Calls one server with one certificate. Use it as `async with`, or `disconnect` it."""

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext,
        verify: Verify,
        *,
        edition: Edition = Edition.V2_1_1,
        form: Form = Form.FORGE,
        version: Version = FORGE_VERSION,
    ) -> None:
        """Make a client; no connection is made yet.

        `context` is one of `qss.pki.contexts`: it demands the server's certificate. `form` and `version` are those of
        the requests, for servers that take only one.
        """
        if context.verify_mode is not ssl.CERT_REQUIRED:
            raise LocalProtocolError("a client demands the server's certificate: give it a context of qss.pki")
        self._address = address
        self._context = context
        self._verify = verify
        self._edition = edition
        self._form = form
        self._version = version
        self._link: _Link | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.disconnect()

    @property
    def security(self) -> str | None:
        """How the connection is secured, for people to read; None without one."""
        return None if self._link is None else self._link.security

    def disconnect(self) -> None:
        """End the connection, if there is one; a call under way fails. Streams stay open. Can be called twice."""
        if self._link is not None:
            self._link.abort()
            self._link = None

    async def open_connect(self, source: str, destination: str, qos: QoS, stream: StreamId | None) -> Opened:
        """OPEN_CONNECT. Raises `ConnectionLost` if no answer came, `RemoteProtocolError` for one that is none.

        `source` and `destination` are URIs; `stream` None has the server name the stream.
        """
        name = NULL_KSID if stream is None else stream.value
        request = OpenConnect(source, destination, qos, name, self._form)
        answer = await self._call(request, OpenConnectAnswer, qos.timeout)
        named = None if answer.stream == NULL_KSID else StreamId(answer.stream)
        return Opened(status_of(answer.status, self._edition), answer.qos, named)

    async def get_key(
        self, stream: StreamId, index: int, metadata_size: int = 0, *, timeout_ms: int = 0, more: bool = False
    ) -> Chunk:
        """GET_KEY; raises as `open_connect`. `timeout_ms` is the stream's Timeout, as OPEN_CONNECT returned it.

        With `more`, a chunk that comes is followed by the request for the next index, which the server can work on
        while the caller is busy with this one. If that is what is asked next, its answer is under way already; if not,
        it is given up with its connection.
        """
        answer = await self._call(GetKey(stream.value, index, metadata_size, self._form), GetKeyAnswer, timeout_ms)
        status = status_of(answer.status, self._edition)
        if status is not Status.SUCCESS:
            return Chunk(status, answer.index, None, b"", answer.room_needed)
        if answer.key is None or not len(answer.key):
            raise RemoteProtocolError("the server answered GET_KEY with success, and no key")
        if more and index < MAX_NUMBER and self._link is not None:
            self._link.send_ahead(encode(GetKey(stream.value, index + 1, metadata_size, self._form), self._version))
        return Chunk(status, answer.index, answer.key, answer.metadata, 0)

    async def close_stream(self, stream: StreamId) -> Status:
        """CLOSE; raises as `open_connect`."""
        answer = await self._call(Close(stream.value), CloseAnswer, 0)
        return status_of(answer.status, self._edition)

    # --- one call -------------------------------------------------------------------------------------------------

    async def _call[A: Answer](self, request: Request, expected: type[A], timeout_ms: int) -> A:
        frame = encode(request, self._version)
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_ms / 1000 + MARGIN_S):
                    answer = await self._exchange(frame)
            except TimeoutError:
                self.disconnect()
                raise ConnectionLost(f"{self._address}: no answer within {timeout_ms / 1000 + MARGIN_S:g} s") from None
            except BaseException:
                self.disconnect()  # what it carries next would be the answer to this call
                raise
        if isinstance(answer, expected):
            return answer
        self.disconnect()
        if isinstance(answer, Error):
            raise ConnectionLost(
                f"{self._address}: the server serves no such call: see its log, and whether it admits this certificate"
            )
        raise RemoteProtocolError(f"{self._address} answered {type(request).__name__} by {type(answer).__name__}")

    async def _exchange(self, frame: bytes) -> Answer:
        link = self._link
        if link is not None and link.ahead not in (None, frame):
            self.disconnect()
        elif link is not None and not link.lost:
            try:
                return await link.exchange(frame)
            except ConnectionLost:
                if self._link is not link:
                    raise  # on purpose
        self._link = await self._connect()
        return await self._link.exchange(frame)

    async def _connect(self) -> _Link:
        loop = asyncio.get_running_loop()
        name = self._address.host if self._context.check_hostname else ""
        try:
            async with asyncio.timeout(CONNECT_S):
                _, link = await loop.create_connection(
                    _Link, self._address.host, self._address.port, ssl=self._context, server_hostname=name
                )
        except TimeoutError:
            raise ConnectionLost(f"{self._address}: cannot connect within {CONNECT_S:g} s; check the address") from None
        except (OSError, ValueError) as error:  # SSLError is an OSError; ValueError: names in a certificate are no text
            strerror = getattr(error, "strerror", None)
            reason = getattr(error, "verify_message", None) or strerror or type(error).__name__
            raise ConnectionLost(
                f"{self._address}: cannot connect ({reason}); check address and certificates"
            ) from error
        try:
            self._verify(link.peer)
        except Unauthorised as error:
            link.abort()
            raise ConnectionLost(f"{self._address}: another server than was meant: {error}") from error
        return link


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder(ANSWERS)
        self._awaited: asyncio.Future[Answer] | None = None
        self._arrived: Answer | None = None
        self.ahead: bytes | None = None
        """A request that was sent before anybody waits for its answer."""
        self._expiry: asyncio.TimerHandle | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        tls = self._transport.get_extra_info("ssl_object")
        peer = peer_of(tls)
        assert peer is not None  # the context demands it
        self.peer = peer
        self.security = security_of(tls)
        self._expiry = self._loop.call_later(seconds_left(tls) or 0.0, self.abort)

    def send_ahead(self, frame: bytes) -> None:
        """Send a request whose answer is waited for later, by `exchange` of the same bytes."""
        if not self.lost:
            self.ahead = frame
            self._transport.write(frame)

    async def exchange(self, frame: bytes) -> Answer:
        """Send a request, unless it was sent ahead, and return its answer.

        Raises `ConnectionLost`, `RemoteProtocolError`.
        """
        if self.lost:
            raise ConnectionLost("the connection has ended")
        if self.ahead is None:
            self._transport.write(frame)
        self.ahead = None
        if self._arrived is not None:
            answer, self._arrived = self._arrived, None
            return answer
        self._awaited = self._loop.create_future()
        try:
            return await self._awaited
        finally:
            self._awaited = None

    def abort(self) -> None:
        """End the connection at once."""
        self.lost = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take an answer."""
        try:
            for frame in self._decoder.feed(data):
                self._take(decode(frame))
        except RemoteProtocolError as error:
            self._fail(error)
            self.abort()

    def _take(self, answer: Message) -> None:
        if isinstance(answer, Answer):
            if self._awaited is not None and not self._awaited.done():
                self._awaited.set_result(answer)
                return
            if self.ahead is not None and self._arrived is None:
                self._arrived = answer
                return
        raise RemoteProtocolError("the server sent what nobody asked for")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.lost = True
        if self._expiry is not None:
            self._expiry.cancel()
        self._fail(
            ConnectionLost(f"the server broke off ({type(exc).__name__ if exc else 'it closed the connection'})")
        )

    def _fail(self, error: Exception) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(error)
