"""Answers what sites with higher IDs offer: tells them to wait, or that their stream is found, and runs it (Streams 2).

Not here: what an offer meets (`core.keyserver.stream_register`). One site has so many connections at a time, and what
it is told is logged once a minute.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable

import structlog

from qss.core.keyserver.stream_register import MAX_STREAMS, StreamRegister
from qss.model.certificates import site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId, StreamId
from qss.runtime.key_streams import meeting
from qss.runtime.key_streams.key_stream import KeyStream
from qss.transport.connection import Connection
from qss.transport.telling import Telling
from qss.wire.stream_meeting import Found, Offer, Reason, Refuse, Wait

_log = structlog.get_logger(__name__)


class Answering:
    """All methods belong to the event loop's thread."""

    def __init__(self, here: QksId, register: StreamRegister, stream: Callable[[StreamId], KeyStream]) -> None:
        """`stream` returns a stream that the register says is found."""
        self._here = here
        self._register = register
        self._stream = stream
        self._connections: Counter[QksId] = Counter()
        self._waiters: defaultdict[StreamId, set[asyncio.Event]] = defaultdict(set)
        self._telling = Telling()

    def changed(self, stream: StreamId) -> None:
        """What offers of this stream are to be answered may be something else now."""
        for waiter in self._waiters.get(stream, ()):
            waiter.set()

    async def take(self, connection: Connection) -> None:
        """Serve a connection of another site until it ends. Raises what it did wrong."""
        peer = site_of(connection.peer)
        if peer <= self._here:
            raise Unauthorised(f"site {peer} offers a key stream, and has the lower ID: it is the one that is called")
        self._connections[peer] += 1
        try:
            offer = await meeting.offer_of(connection)
            crowded = self._connections[peer] > MAX_STREAMS
            answer = Refuse(Reason.LIMIT) if crowded else self._register.offered(peer, offer)
            try:
                await self._answer(connection, peer, offer, answer)
            finally:
                self._register.withdraw(peer, offer)
        finally:
            self._connections[peer] -= 1
            if not self._connections[peer]:
                del self._connections[peer]

    async def _answer(self, connection: Connection, peer: QksId, offer: Offer, answer: Found | Wait | Refuse) -> None:
        if isinstance(answer, Wait):
            self.changed(StreamId(offer.stream))  # an older offer of it, whose place this one has taken, waits no more
            await meeting.say(connection, answer)
            waited = await self._waited(connection, peer, offer)
            if waited is None:
                return
            answer = waited
        if isinstance(answer, Found):
            await meeting.say(connection, answer)
            await meeting.joined(connection)
            stream = StreamId(offer.stream)
            if self._register.answer(peer, offer) == answer:
                self._register.withdraw(peer, offer)
                self._register.meet(stream)
                await self._stream(stream).serve(connection, asks=answer.initiator_asks)
            return
        if (unsaid := self._telling.unsaid((peer, answer.reason))) is not None:
            _log.info("the key stream of another site was refused", peer=peer, reason=str(answer.reason), unsaid=unsaid)
        await meeting.say(connection, answer)

    async def _waited(self, connection: Connection, peer: QksId, offer: Offer) -> Found | Refuse | None:
        """Return what is to be said to an offer that was told to wait; None: a newer one has taken its place."""
        stream, changed = StreamId(offer.stream), asyncio.Event()
        self._waiters[stream].add(changed)
        try:
            while True:
                changed.clear()
                answer = self._register.answer(peer, offer)
                if not isinstance(answer, Wait):
                    return answer
                if not self._register.waits(peer, offer):
                    return None
                await meeting.until(changed, connection)
        finally:
            self._waiters[stream].remove(changed)
            if not self._waiters[stream]:
                del self._waiters[stream]
