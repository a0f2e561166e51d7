"""ETSI GS QKD 004 over TLS: listens, tells who calls, carries calls to a module, or to key streams, and answers back.

Bounded are: connections and handshakes (`transport.accepting`), frames (`wire.etsi004.framing`), calls that wait on one
connection, the time for a frame to come, for an answer to be taken, for idling. Calls on one connection are answered
one after the other, in order. What cannot be read, or comes from somebody who may not call, is answered with an error
frame, and the connection ends. Not here: what a call is answered (`runtime.module.southbound` for a module,
`runtime.key_streams` for a key server).

A Key_stream_ID belongs to the caller that opened it, on whatever connection: the forge's C client makes a new one for
each call.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import structlog

from qss.model.certificates import PeerCertificate
from qss.model.errors import LocalProtocolError, QssError, RemoteProtocolError, place_of
from qss.servers.counts import CallCounts
from qss.transport.accepting import Acceptor
from qss.transport.proof import peer_of
from qss.wire.etsi004.framing import FORGE_VERSION, REQUESTS, Frame, FrameDecoder, Version
from qss.wire.etsi004.messages import Answer, Close, Error, GetKey, OpenConnect, Request, decode, encode
from qss.wire.etsi004.status import Status

MAX_PIPELINED = 64
"""Calls of one connection that may wait for those before them."""

Authorise = Callable[[PeerCertificate], str]
"""Returns the name of a caller, by which its key streams are known as its own, or raises `Unauthorised`."""


class CallService(Protocol):
    """What answers calls."""

    def ask(self, caller: str, request: Request, answer: Callable[[Answer, Status], None]) -> int:
        """Carry out a call; return its number, for `forget`. `answer` is called once, maybe before this returns."""
        ...

    def forget(self, call: int) -> None:
        """Nobody waits for this answer any more. Calls that were answered are no error."""
        ...

    def stop(self) -> None:
        """Answer nobody any more, and end what was opened, because nobody could reach it. Can be called twice."""
        ...


_METHODS = {OpenConnect: "open_connect", GetKey: "get_key", Close: "close"}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Etsi004Limits:
    """What one listener bears. Times in seconds.

    `request_s` is for a frame to come once its first byte has, and for an answer to be taken. `idle_s` is for a
    connection between two calls.
    """

    max_connections: int = 64
    max_of_one: int = 8
    """Connections of one caller: nobody takes up all of them."""
    request_s: float = 10.0
    idle_s: float = 600.0
    handshake_s: float = 5.0


class Etsi004Server:
    """Serves calls at one port, from `start` to `close`."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        serve: Callable[[], CallService],
        authorise: Authorise,
        counts: CallCounts,
        *,
        limits: Etsi004Limits | None = None,
    ) -> None:
        """Make a server for `host` (a name or an IP address) and `port` (0: any free one).

        `serve` begins what answers calls, which is stopped with the server. What is answered goes to `counts`.
        """
        if context.verify_mode is not ssl.CERT_REQUIRED:
            raise LocalProtocolError(
                "the southbound interface demands its callers' certificates: give a fitting context"
            )
        self._limits = limits or Etsi004Limits()
        self._authorise = authorise
        self._serve = serve
        self.counts = counts
        self._service: CallService | None = None
        self._callers: Counter[str] = Counter()
        self._acceptor: Acceptor[_Connection] = Acceptor(
            host,
            port,
            context,
            max_connections=self._limits.max_connections,
            handshake_s=self._limits.handshake_s,
        )

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and port that are listened on. Raises `LocalProtocolError` before the start."""
        return self._acceptor.address

    async def start(self) -> None:
        """Begin to listen. Raises `ListenError` if the address cannot be had."""
        service = self._serve()
        try:
            await self._acceptor.start(
                lambda admit: _Connection(service, self._authorise, self.counts, self._limits, self._callers, admit)
            )
        except QssError:
            service.stop()
            raise
        self._service = service

    async def close(self) -> None:
        """Listen no more, and end every connection. Can be called twice, and before the start.

        A key stream that was opened here is closed, because nobody could reach it any more.
        """
        await self._acceptor.stop()
        for connection in self._acceptor.established:
            connection.close()
        await self._acceptor.close()
        if self._service is not None:
            self._service.stop()
            self._service = None


class _Connection(asyncio.Protocol):
    """One caller's connection."""

    def __init__(
        self,
        service: CallService,
        authorise: Authorise,
        counts: CallCounts,
        limits: Etsi004Limits,
        callers: Counter[str],
        admit: Callable[[], bool],
    ) -> None:
        """`callers` has the connections of each caller, by its name."""
        self.admitted = False
        self._callers = callers
        self._service = service
        self._authorise = authorise
        self._counts = counts
        self._limits = limits
        self._admit = admit
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()
        self._caller = ""
        self._decoder = FrameDecoder(REQUESTS)
        self._frames: deque[Frame] = deque()
        self._call: int | None = None
        self._answering = False
        self._held_up = False
        self._closing = False
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- the connection -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out who calls."""
        self._transport = cast("asyncio.Transport", transport)
        peer = peer_of(self._transport.get_extra_info("ssl_object"))
        assert peer is not None  # the context demands it
        try:
            caller = self._authorise(peer)
        except QssError as error:
            _log.warning("caller refused", reason=str(error))
            self._refuse("its caller may not call here")
            return
        if self._callers[caller] >= self._limits.max_of_one:
            self._refuse(f"{caller} has {self._limits.max_of_one} connections already")
            return
        self.admitted = self._admit()
        if not self.admitted:
            self._refuse("there are too many connections")
            return
        self._caller = caller
        self._callers[caller] += 1
        self._give(self._limits.idle_s)

    @property
    def established(self) -> bool:
        """Whether the handshake is done."""
        return self._transport is not None

    async def ended(self) -> None:
        """Return when the connection is closed."""
        await self._lost.wait()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End the connection, after what was written."""
        self._closing = True
        self._frames.clear()
        if self._transport is not None:
            self._transport.close()
        self._give(self._limits.request_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the call under way: nobody waits for it."""
        del exc
        self._closing = True
        if self._caller:
            self._callers[self._caller] -= 1
            if not self._callers[self._caller]:
                del self._callers[self._caller]
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._timer = None
        if self._call is not None:
            self._service.forget(self._call)
            self._call = None
        self._lost.set()

    # --- calls ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take frames, and answer what can be answered."""
        if self._closing:
            return
        began = self._decoder.within_frame
        try:
            self._take(data)
            self._serve()
        except RemoteProtocolError as error:
            self._refuse(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must not see it
            _log.error("call failed", error=type(error).__name__, place=place_of(error))
            self.abort()
        else:
            if self._call is None and not began and self._decoder.within_frame:
                self._give(self._limits.request_s)

    def _take(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._frames.append(frame)
            if len(self._frames) > MAX_PIPELINED:
                raise RemoteProtocolError(f"more than {MAX_PIPELINED} calls wait for their answers")

    def _serve(self) -> None:
        """Carry out the calls that wait, as long as each is answered at once."""
        while self._frames and self._call is None and not self._held_up and not self._closing:
            frame = self._frames.popleft()
            request = decode(frame)
            assert isinstance(request, OpenConnect | GetKey | Close)
            self._due, self._answering = None, True
            call = self._service.ask(self._caller, request, partial(self._answer, frame.version, type(request)))
            if self._answering:
                self._call = call

    def _answer(self, version: Version, asked: type[Request], answer: Answer, status: Status) -> None:
        self._counts.add(_METHODS[asked], status)
        self._answering = False
        assert self._transport is not None
        self._transport.write(encode(answer, version))
        if not self._held_up:
            self._give(self._limits.request_s if self._decoder.within_frame else self._limits.idle_s)
        if self._call is not None:
            self._call = None
            self._loop.call_soon(self.data_received, b"")

    def _refuse(self, reason: str) -> None:
        self._counts.add_refusal()
        _log.info("connection refused", caller=self._caller, reason=reason)
        if self._transport is not None:
            self._transport.write(encode(Error(), FORGE_VERSION))
        self.close()

    # --- limits ---------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The caller does not take its answers: no more calls are carried out meanwhile."""
        self._held_up = True
        self._give(self._limits.request_s)

    def resume_writing(self) -> None:
        """The caller has taken them."""
        self._held_up = False
        self._give(self._limits.idle_s)
        self.data_received(b"")

    def _give(self, seconds: float) -> None:
        """Give the other end so many seconds for what is its turn, from now."""
        if self._lost.is_set():
            return
        self._due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return  # a call is being carried out, which has its own time
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
            return
        _log.info("connection ended: the other end took too long", caller=self._caller)
        self.abort()
