"""A connection that is read no faster than its share of the event loop allows: a flood waits at whoever sends it.

What a peer sends costs time of the one thread that all others need as well. Beyond its share nothing is read of it for
a while; then the transport's buffers fill, and the peer has to wait. Held here: the share, and the waiting. Not here:
what frames mean, nor whether they are too many: whoever reads them counts and drops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qss.core.routing.buckets import Bucket
from qss.model.certificates import PeerCertificate
from qss.transport.connection import Connection

AT_ONCE_S = 0.1
"""Time that the frames of one peer may take at once: an honest one hardly ever takes as much."""

SHARE = 0.5
"""And then this part of all time."""


class Pace:
    """How much time the frames of one peer have taken. It outlives connections."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._taken = Bucket(AT_ONCE_S, SHARE)

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Count the time that this takes."""
        began = self._clock()
        try:
            yield
        finally:
            now = self._clock()
            self._taken.add(now, now - began)

    def excess_s(self) -> float:
        """Return for how long nothing should be read."""
        return self._taken.excess_s(self._clock())


class Paced:
    """A `Connection` at its pace."""

    def __init__(self, connection: Connection, pace: Pace) -> None:
        self._connection = connection
        self._pace = pace

    @property
    def peer(self) -> PeerCertificate:
        """The names in the other end's verified certificate."""
        return self._connection.peer

    @property
    def security(self) -> str:
        """How it is secured."""
        return self._connection.security

    @property
    def address(self) -> str:
        """The other end's host."""
        return self._connection.address

    async def send(self, frame: bytes) -> None:
        """Send one frame, at once."""
        await self._connection.send(frame)

    async def receive(self) -> bytes:
        """Return the next frame, when it is time."""
        if (excess_s := self._pace.excess_s()) > 0:
            await asyncio.sleep(excess_s)
        return await self._connection.receive()

    async def close(self) -> None:
        """End the connection."""
        await self._connection.close()
