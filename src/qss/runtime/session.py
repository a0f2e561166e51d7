"""A peer's connections, one at a time: frames in, messages out, and the end of each told once.

A newer connection takes the place of an older one. What the peer does wrong ends its connection; what this end does
wrong is a defect. Not here: what frames and messages mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from qss.model.errors import ConnectionLost, ProtocolError, RemoteProtocolError
from qss.runtime.outbox import Outbox
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.transport.telling import Telling

TOLD_LINES = 5
"""How often a minute each event of a session is logged: a peer may come and go as often as it likes."""


class Session[M]:
    """Serves the connections to one peer."""

    def __init__(
        self,
        outbox: Callable[[Connection], Outbox[M]],
        connected: Callable[[], None],
        received: Callable[[bytes], None],
        disconnected: Callable[[str], None],
        defect: Defect,
        log: FilteringBoundLogger,
    ) -> None:
        """Take what makes an outbox, and who hears of a connection's begin, its frames and its end."""
        self._make_outbox = outbox
        self._connected = connected
        self._received = received
        self._disconnected = disconnected
        self._log = log
        self._telling = Telling(TOLD_LINES)
        self._tasks = Tasks(defect)
        self._outbox: Outbox[M] | None = None
        self._connection: Connection | None = None
        self._next: Connection | None = None
        """The newest connection, which waits for the one before to end."""
        self._served: asyncio.Event | None = None
        self._stopped = False

    @property
    def security(self) -> str | None:
        """How the connection is secured; None without one."""
        return None if self._connection is None else self._connection.security

    async def serve(self, connection: Connection) -> None:
        """Serve this connection until it ends."""
        standing = self._connection
        if standing is not None and standing.address != connection.address:
            self._tell(
                self._log.warning,
                "a connection from another address takes the place of one that stands",
                address=connection.address,
                standing=standing.address,
                remedy="if that repeats itself, two processes claim to be that neighbour: end one of them",
            )
        superseded, self._next = self._next, connection
        if superseded is not None:
            await superseded.close()
        while self._served is not None:
            await self._end_connection()
        if self._stopped or self._next is not connection:
            await connection.close()
            return
        self._next = None
        served = self._served = asyncio.Event()
        self._connection = connection
        outbox = self._outbox = self._make_outbox(connection)
        sender = self._tasks.start(self._send(outbox, connection))
        reason = "this end stopped"
        try:
            self._tell(self._log.info, "connected", address=connection.address, security=connection.security)
            self._connected()
            while True:
                self._received(await connection.receive())
                await asyncio.sleep(0)  # other links have their turn, however many frames have gathered
        except (ConnectionLost, RemoteProtocolError) as error:
            reason = str(error)
        finally:
            self._outbox = self._connection = None
            sender.cancel()
            try:
                self._tell(self._log.info, "disconnected", reason=reason)
                self._disconnected(reason)
                await connection.close()
                await self._tasks.finished()
            finally:
                self._served = None
                served.set()

    def send(self, messages: tuple[M, ...]) -> None:
        """Send messages, in order; lost without a trace where there is no connection."""
        if self._outbox is None:
            return
        try:
            self._outbox.put(messages)
        except ConnectionLost as error:
            self.disconnect(str(error))

    def disconnect(self, reason: str) -> None:
        """End the connection, soon."""
        self._tell(self._log.warning, "disconnecting", reason=reason)
        if self._connection is not None:
            self._tasks.start(self._connection.close())

    async def end(self) -> None:
        """End the connection, if there is one, and wait until nothing is left of it."""
        while self._served is not None:
            await self._end_connection()

    async def stop(self) -> None:
        """As `end`, and take no further connection."""
        self._stopped = True
        await self.end()

    def _tell(self, log: Callable[..., object], event: str, **said: object) -> None:
        if (unsaid := self._telling.unsaid(event)) is not None:
            log(event, **said, **({"unsaid": unsaid} if unsaid else {}))

    async def _end_connection(self) -> None:
        served = self._served
        if self._connection is not None:
            await self._connection.close()
        if served is not None:
            await served.wait()

    async def _send(self, outbox: Outbox[M], connection: Connection) -> None:
        try:
            await outbox.run()
        except ConnectionLost:
            pass  # the receiving side notices too, and says why
        except ProtocolError as error:
            self._log.error("cannot send", reason=str(error))
        await connection.close()
