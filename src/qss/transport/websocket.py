"""A WebSocket (RFC 6455) over mutual TLS as a `Connection`: bounded, and awake to a silent peer.

Held here: what both ends of an established connection do; `dialling` and `listening` establish it. One binary message
is one frame.

**Bounds.** A frame has at most `max_frame` bytes. Received frames wait in a buffer of that size; when it is full,
nothing more is read, and the other end's `send` waits. `send` waits while about 64 KiB of its own are unsent.

**Silence.** Each end sends a PING three times within `silence_s` seconds. An end that is reading and hears nothing for
`silence_s`, or up to a third longer, gives the connection up; a frame must arrive whole within that time. An end that
is not reading, because nobody takes its frames, judges nobody: it cannot hear.

**End.** Frames that came before the end can still be received, unless this end closed. Closing takes at most
`CLOSING_S`, whatever the other end does. There is no text message and no compression.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohttp
from aiohttp import WSCloseCode, WSMessage, WSMsgType

from qss.model.certificates import PeerCertificate
from qss.model.errors import ConnectionLost, LocalProtocolError
from qss.transport.proof import security_of

MAX_FRAME_BYTES = 1 << 20
"""Largest frame if nothing else is said."""

SILENCE_S = 5.0
"""How long a peer may be silent if nothing else is said."""

CLOSING_S = 1.0
"""How long closing waits for the other end to have read everything."""

# How many PINGs are sent, and how often is listened for the peer, within the time that it may be silent.
_TICKS = 3

# What a received frame costs in the buffer besides its bytes, so that empty frames are bounded too.
_FRAME_OVERHEAD = 64
_NORMAL_CLOSURE = struct.pack("!H", WSCloseCode.OK)


class Socket(Protocol):
    """What aiohttp's two WebSockets, the client's and the server's, have in common. Both come without autoping."""

    async def receive(self) -> WSMessage:
        """Return the next message of any type."""
        ...

    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None:
        """Send one message."""
        ...


class WebSocketConnection:
    """An established connection. Implements `qss.transport.connection.Connection`."""

    def __init__(
        self,
        socket: Socket,
        transport: asyncio.Transport,
        peer: PeerCertificate,
        subprotocol: str,
        *,
        max_frame: int,
        silence_s: float,
        release: Callable[[], Awaitable[None]],
    ) -> None:
        """Take over an open WebSocket. `release` is called once when it has ended, to free what belongs to it."""
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self._socket = socket
        self._transport = transport
        self._peer = peer
        self._security = security_of(tls)
        self._address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        self._subprotocol = subprotocol
        self._max_frame = max_frame
        self._silence_s = silence_s
        self._release = release

        self._loop = asyncio.get_running_loop()
        self._end: str | None = None  # why the connection is over, once it is
        self._closing = False
        self._sending = asyncio.Lock()
        self._frames: deque[bytes] = deque()
        self._buffered = 0
        self._readable = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._quiet_ticks = 0
        self._pong_due: bytes | None = None
        self._pinged = asyncio.Event()
        self._silence = self._loop.call_later(silence_s / _TICKS, self._tick)
        self._keeper = asyncio.create_task(self._keep_alive(), name="websocket keeper")
        self._pump = asyncio.create_task(self._run(), name="websocket pump")

    @property
    def peer(self) -> PeerCertificate:
        """The names in the other end's verified certificate."""
        return self._peer

    @property
    def security(self) -> str:
        """TLS version, cipher suite and, where the library tells, key exchange group."""
        return self._security

    @property
    def address(self) -> str:
        """The host that the other end calls from or was called at, without its port."""
        return self._address

    @property
    def subprotocol(self) -> str:
        """The protocol version that was agreed upon."""
        return self._subprotocol

    async def send(self, frame: bytes) -> None:
        """Send one frame, waiting while the other end is slow.

        Raises `ConnectionLost`, and `LocalProtocolError` for a frame above the limit. If it is cancelled, the frame
        may have been sent.
        """
        if len(frame) > self._max_frame:
            raise LocalProtocolError(f"a frame of {len(frame)} bytes exceeds the limit of {self._max_frame}: split it")
        await self._write(frame, WSMsgType.BINARY)

    async def receive(self) -> bytes:
        """Return the next frame. Raises `ConnectionLost` when there will be no more. Can be cancelled without loss."""
        while not self._frames:
            if self._end is not None:
                raise ConnectionLost(self._end)
            self._readable.clear()
            await self._readable.wait()
        frame = self._frames.popleft()
        self._buffered -= len(frame) + _FRAME_OVERHEAD
        if self._buffered < self._max_frame:
            self._room.set()
        return frame

    async def close(self) -> None:
        """End the connection once the other end has read what was sent, or after `CLOSING_S`.

        Can be called twice. Frames not yet received are dropped.
        """
        if not self._closing:
            self._closing = True
            self._finish("this end has closed the connection")
            self._frames.clear()
            self._room.set()
            try:
                async with asyncio.timeout(CLOSING_S), self._sending:
                    await self._socket.send_frame(_NORMAL_CLOSURE, WSMsgType.CLOSE)
                    await asyncio.wait([self._pump])
            except (TimeoutError, OSError, aiohttp.ClientError):
                pass  # it ends the hard way
            finally:
                self._pump.cancel()
        await asyncio.wait([self._pump])

    async def _write(self, payload: bytes, kind: WSMsgType) -> None:
        async with self._sending:
            if self._end is not None:
                raise ConnectionLost(self._end)
            try:
                await self._socket.send_frame(payload, kind)
            except (OSError, aiohttp.ClientError) as error:
                raise self._lost_while_sending() from error
            if self._transport.is_closing():
                raise self._lost_while_sending()

    def _lost_while_sending(self) -> ConnectionLost:
        return ConnectionLost(self._end or "the connection broke while sending")

    async def _run(self) -> None:
        """Read until the end, then free everything."""
        try:
            self._finish(await self._read_all())
        finally:
            self._finish("the connection was given up")
            self._silence.cancel()
            self._keeper.cancel()
            self._transport.abort()
            await self._release()

    async def _read_all(self) -> str:
        """Move messages to the buffer until the connection ends; return why it did."""
        while True:
            message = await self._socket.receive()
            self._quiet_ticks = 0
            match message.type:
                case WSMsgType.BINARY:
                    await self._deliver(message.data)
                case WSMsgType.PING:
                    # Of several, the last one is answered (RFC 6455, clause 5.5.3), and not from here: an answer that
                    # has to wait for the other end to read would keep this end from reading.
                    self._pong_due = message.data
                    self._pinged.set()
                case WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE:
                    if not self._closing:
                        await self._answer_close()
                    return "the other end has closed the connection"
                case WSMsgType.TEXT:
                    return "the other end sent a text message, where frames are binary"
                case WSMsgType.ERROR if isinstance(message.data, aiohttp.WebSocketError):
                    if message.data.code == WSCloseCode.MESSAGE_TOO_BIG:
                        return f"the other end sent a frame above the limit of {self._max_frame} bytes"
                    return "the other end broke the WebSocket protocol"
                case _:
                    return "the connection broke"

    async def _deliver(self, frame: bytes) -> None:
        if self._closing:
            return
        self._frames.append(bytes(frame))
        self._buffered += len(frame) + _FRAME_OVERHEAD
        self._readable.set()
        if self._buffered >= self._max_frame:
            self._room.clear()
            await self._room.wait()

    async def _answer_close(self) -> None:
        # The answer is a courtesy: where it cannot leave at once, the end of the connection says the same.
        if not self._sending.locked():
            try:
                async with asyncio.timeout(CLOSING_S):
                    await self._socket.send_frame(_NORMAL_CLOSURE, WSMsgType.CLOSE)
            except (TimeoutError, OSError, aiohttp.ClientError):
                pass

    async def _keep_alive(self) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(self._silence_s / _TICKS):
                        await self._pinged.wait()
                except TimeoutError:
                    await self._write(b"", WSMsgType.PING)
                else:
                    self._pinged.clear()
                    pong, self._pong_due = self._pong_due, None
                    await self._write(pong or b"", WSMsgType.PONG)
        except ConnectionLost:
            pass  # the pump notices too, and says why

    def _tick(self) -> None:
        # Ticks are counted and not seconds: after this process was held up, it first reads what came meanwhile.
        self._quiet_ticks = self._quiet_ticks + 1 if self._room.is_set() else 0
        if self._quiet_ticks > _TICKS:
            self._finish(f"the other end was silent for {self._silence_s:g} s")
            self._transport.abort()
        else:
            self._silence = self._loop.call_later(self._silence_s / _TICKS, self._tick)

    def _finish(self, reason: str) -> None:
        """Note why the connection is over (the first reason stands) and wake whoever waits for a frame."""
        if self._end is None:
            self._end = reason
        self._readable.set()
