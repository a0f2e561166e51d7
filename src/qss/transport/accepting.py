"""What every listener stands on: sockets, slots and TLS handshakes, bounded before anything is known of a caller.

A connection takes a slot before it is accepted, and gives it back when it has ended. There are as many slots as
connections that may be used, and `SPARE_CONNECTIONS` more: for handshakes under way, and for callers who only hear that
there are too many. Above that, callers wait in the operating system's queue. Whoever does not finish its handshake in
time is cut off. Not here: what is said on a connection, and how one that is in use is asked to end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

import structlog

from qss.model.errors import LocalProtocolError
from qss.transport.binding import bind
from qss.transport.proof import seconds_left

SPARE_CONNECTIONS = 32
"""Connections above the limit that are accepted only to hear that there are too many."""

SHUTDOWN_S = 2.0
"""How long the other end may take to agree to a TLS connection's end."""

_ACCEPT_PAUSE_S = 0.5

_log = structlog.get_logger(__name__)


class Accepted(Protocol):
    """What a listener asks of a connection, whatever is said on it; also an `asyncio.Protocol`.

    `admit`, which it was made with, is to be asked once, after the handshake.
    """

    admitted: bool
    """Whether there was room for it. If not, it is there to hear so."""

    @property
    def established(self) -> bool:
        """Whether the handshake is done."""
        ...

    async def ended(self) -> None:
        """Return when the connection is closed and nothing works on it any more."""
        ...

    def abort(self) -> None:
        """End the connection at once, whatever is still to be sent."""
        ...


class Acceptor[C: Accepted]:
    """Accepts connections at one port, on every address of a host, from `start` to `stop`."""

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, *, max_connections: int, handshake_s: float
    ) -> None:
        """Make an acceptor for `host` (a name or an IP address) and `port` (0: any free one)."""
        self._host = host
        self._port = port
        self._context = context
        self._max_connections = max_connections
        self._handshake_s = handshake_s
        self._slots = asyncio.Semaphore(max_connections + SPARE_CONNECTIONS)
        self._connections: dict[asyncio.Task[None], C] = {}
        self._admitted = 0
        self._sockets: tuple[socket.socket, ...] = ()
        self._accepting: tuple[asyncio.Task[None], ...] = ()
        self._address: tuple[str, int] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The IP address (of several, the first) and port. Raises `LocalProtocolError` before the start."""
        if self._address is None:
            raise LocalProtocolError("the listener has not been started")
        return self._address

    @property
    def established(self) -> list[C]:
        """The connections whose handshake is done and that have not ended."""
        return [connection for connection in self._connections.values() if connection.established]

    async def start(self, make: Callable[[Callable[[], bool]], C]) -> None:
        """Begin to accept. `make` gets the `admit` of the connection that it makes, for each caller.

        Raises `ListenError` if the address cannot be had.
        """
        self._sockets = await bind(self._host, self._port)
        self._address = self._sockets[0].getsockname()[:2]
        self._accepting = tuple(asyncio.create_task(self._accept(listening, make)) for listening in self._sockets)

    async def stop(self) -> None:
        """Accept no more, and cut off the handshakes under way. Can be called twice, and before the start."""
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listening in self._sockets:
            listening.close()
        for holding, connection in self._connections.items():
            if not connection.established:
                holding.cancel()

    async def close(self) -> None:
        """After `stop`: wait for `SHUTDOWN_S` until every connection has ended, then end what is left the hard way.

        Can be called twice.
        """
        if self._connections:
            await asyncio.wait([*self._connections], timeout=SHUTDOWN_S)
        for holding, connection in self._connections.items():
            holding.cancel()
            connection.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, listening: socket.socket, make: Callable[[Callable[[], bool]], C]) -> None:
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
            connection = make(self._admit)
            holding = asyncio.create_task(self._hold(connected, address[0], connection))
            self._connections[holding] = connection
            holding.add_done_callback(self._release)

    def _admit(self) -> bool:
        """Whether one more connection may be used. Handshakes under way do not count: they end soon."""
        if self._admitted >= self._max_connections:
            _log.warning("connection refused", connections=self._max_connections)
            return False
        self._admitted += 1
        return True

    def _release(self, holding: asyncio.Task[None]) -> None:
        self._admitted -= self._connections.pop(holding).admitted
        self._slots.release()

    async def _hold(self, connected: socket.socket, caller: str, connection: C) -> None:
        """Hold one connection, from the handshake to its end, or to the end of the caller's certificate."""
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: cast("asyncio.BaseProtocol", connection),
                connected,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except (OSError, ValueError) as error:  # SSLError is an OSError; ValueError: names in a certificate are no text
            _log.info("TLS handshake failed", caller=caller, reason=_reason(error))
            return
        try:
            async with asyncio.timeout(seconds_left(transport.get_extra_info("ssl_object"))):
                await connection.ended()
        except TimeoutError:
            _log.warning("connection ended: the caller's certificate has expired", caller=caller)
            connection.abort()
            await connection.ended()


def _reason(error: Exception) -> str:
    """Say what the TLS library has against a caller, its certificate for one."""
    return getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__
