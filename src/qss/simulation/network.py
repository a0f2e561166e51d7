"""A network in virtual time: connections that are slow, break, or carry frames twice, late, or not at all.

A `SimulatedConnection` looks like any other (`qss.transport.connection`). What happens to a frame on its way is for the
simulation's `Weather` to say, frame by frame. Real connections are TLS: they deliver in order or break, and with
`in_order` these do just that. Other weather is a test of what is built on them.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from qss.model.certificates import SITE_SCHEME, PeerCertificate
from qss.model.errors import ConnectionLost
from qss.model.identifiers import QksId

Weather = Callable[[], tuple[float, ...]]
"""For each frame, the seconds after which a copy of it arrives: one number as a rule, none for a frame that is lost."""


@dataclass(slots=True)
class _Inbox:
    """What has arrived at one end."""

    frames: deque[bytes] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    last_arrival: float = 0.0


@dataclass(slots=True)
class _Wire:
    """What both ends of one connection share."""

    weather: Weather
    in_order: bool
    broken: str | None = None
    frozen: bool = False

    def deliver(self, frame: bytes, inbox: _Inbox) -> None:
        """Let a frame arrive, unless it is too late for that."""
        if self.broken is None and not self.frozen:
            inbox.frames.append(frame)
            inbox.changed.set()


class SimulatedConnection:
    """One end of a connection; `pair` makes both."""

    def __init__(self, wire: _Wire, peer: QksId, mine: _Inbox, theirs: _Inbox) -> None:
        self.peer = PeerCertificate(None, (SITE_SCHEME + peer,), ())
        self.security = "simulated"
        self.address = "simulated"
        self._wire = wire
        self._mine = mine
        self._theirs = theirs
        self._loop = asyncio.get_running_loop()

    @classmethod
    def pair(
        cls, one: QksId, other: QksId, weather: Weather, *, in_order: bool = True
    ) -> tuple[SimulatedConnection, SimulatedConnection]:
        """Return both ends of a connection: that of site `one`, and that of site `other`."""
        wire, at_one, at_other = _Wire(weather, in_order), _Inbox(), _Inbox()
        return cls(wire, other, at_one, at_other), cls(wire, one, at_other, at_one)

    async def send(self, frame: bytes) -> None:
        """Send a frame. Raises `ConnectionLost` if this end knows that the connection is broken."""
        await asyncio.sleep(0)
        if self._wire.broken is not None:
            raise ConnectionLost(self._wire.broken)
        if self._wire.frozen:
            return
        inbox = self._theirs
        for delay in self._wire.weather():
            at = self._loop.time() + delay
            if self._wire.in_order:
                # Later than the last, if only just: a loop keeps no order among what is due at the same time.
                at = inbox.last_arrival = max(at, math.nextafter(inbox.last_arrival, math.inf))
            self._loop.call_at(at, self._wire.deliver, frame, inbox)

    async def receive(self) -> bytes:
        """Return the next frame. Raises `ConnectionLost` at the end, when all that arrived has been read."""
        inbox = self._mine
        while not inbox.frames:
            if self._wire.broken is not None:
                raise ConnectionLost(self._wire.broken)
            inbox.changed.clear()
            await inbox.changed.wait()
        return inbox.frames.popleft()

    async def close(self) -> None:
        """End the connection."""
        self._mine.frames.clear()
        self.cut("the other end has closed the connection")
        await asyncio.sleep(0)

    def freeze(self) -> None:
        """Let nothing more through, in either direction; nobody is told."""
        self._wire.frozen = True

    def cut(self, reason: str = "the connection broke") -> None:
        """Break the connection: both ends notice."""
        if self._wire.broken is None:
            self._wire.broken = reason
        self._mine.changed.set()
        self._theirs.changed.set()

    @property
    def is_broken(self) -> bool:
        """Whether the connection has ended."""
        return self._wire.broken is not None
