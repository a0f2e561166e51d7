"""Brings one key stream to the other site's, which has the lower ID: dials, offers, joins, and tries again (Streams 2).

Not here: what the other site says to it (`answering`), and what this site's caller is answered meanwhile (`streams`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from qss.core.module.calls import Announcement
from qss.model.errors import ConnectionLost, RemoteProtocolError, Unauthorised
from qss.runtime.key_streams import meeting
from qss.runtime.key_streams.key_stream import KeyStream
from qss.transport.connection import Connection
from qss.wire.stream_meeting import Found, Join, Offer, Reason

FIRST_PAUSE_S = 0.1
"""After so long it is dialled again; each time in vain doubles it."""

LONGEST_PAUSE_S = 5.0
"""But no longer."""

_log = structlog.get_logger(__name__)


class Offering:
    """The offers of one stream, from when its SAE asks for it until it has met."""

    def __init__(self, stream: KeyStream, chunk_bytes: int, call: Callable[[], Awaitable[Connection]]) -> None:
        """Offer chunks of so many bytes; `call` dials the other site."""
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._call = call
        self.looked = asyncio.Event()
        """Set once the other site has said something, or could not be asked."""
        self.announced: Announcement | None = None
        """What the other site has open."""
        self.refused: Reason | None = None
        """Why the stream cannot be met."""

    async def run(self) -> None:
        """Return when the stream has met and run, or cannot be met."""
        pause, told = FIRST_PAUSE_S, ""
        while self.refused is None:
            try:
                connection = await self._call()
                try:
                    if await self._meet(connection):
                        return
                finally:
                    await connection.close()
            except meeting.MeetingRefused as error:
                self.refused = error.reason
            except (ConnectionLost, RemoteProtocolError, Unauthorised) as error:
                if str(error) != told:
                    told = str(error)
                    _log.info(
                        "the other site cannot be asked about a key stream",
                        peer=self._stream.plan.peer,
                        stream=str(self._stream.stream),
                        reason=str(error),
                    )
            self.looked.set()
            if self.refused is None:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE_S)
        self._stream.give_up()

    async def _meet(self, connection: Connection) -> bool:
        """Run the stream over this connection once it is found; return False if it is found to be another one."""
        found = await meeting.offered(connection, self._offer())
        if found is None:
            self.looked.set()
            found = await meeting.found(connection)
        plan = self._stream.plan
        if not (plan.may_be_asked if found.initiator_asks else plan.may_ask):
            raise RemoteProtocolError("the other site wants a master that the rules of this one do not allow")
        self.announced = Announcement(self._stream.stream, found.chunk_bytes)
        self.looked.set()
        try:
            await self._joined(connection, found)
        finally:
            self.announced = None
        return self.refused is None

    async def _joined(self, connection: Connection, found: Found) -> None:
        await self._stream.is_open.wait()  # if it is refused, this is cancelled
        if found.chunk_bytes != self._stream.chunk_bytes:  # both were first, as far as each could see
            self.refused = Reason.IN_USE
            return
        await meeting.say(connection, Join())
        await self._stream.serve(connection, asks=not found.initiator_asks)

    def _offer(self) -> Offer:
        plan, chunk_bytes = self._stream.plan, self._stream.chunk_bytes or self._chunk_bytes
        return Offer(self._stream.stream.value, plan.sae, plan.other, chunk_bytes, plan.may_ask, plan.may_be_asked)
