"""The messages by which two sites come to a key stream, over a connection that then carries Sync (Streams 2).

Held here: what is sent and waited for, and for how long. Not here: what an offer is answered
(`core.keyserver.stream_register`), nor when one is made (`offering`).
"""

from __future__ import annotations

import asyncio

from qss.model.errors import ConnectionLost, QssError, RemoteProtocolError
from qss.transport.connection import Connection
from qss.wire.stream_meeting import Found, Join, Message, Offer, Reason, Refuse, Wait, encode, expected

ANSWER_S = 5.0
"""How long an Offer, and what is first said to it, may take."""

JOIN_S = 10.0
"""How long Join may take: an application is being answered meanwhile."""


class MeetingRefused(QssError):
    """The other site says that a stream cannot be met."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"the other site refuses the key stream: {reason}")
        self.reason = reason


async def say(connection: Connection, message: Message) -> None:
    """Send one message. Raises `ConnectionLost`."""
    await connection.send(encode(message))


async def offered(connection: Connection, offer: Offer) -> Found | None:
    """Offer a stream; return how it was found, or None if that is to be waited for (`found`).

    Raises `MeetingRefused`, `ConnectionLost`, `RemoteProtocolError`.
    """
    await say(connection, offer)
    answer = expected(await _in_time(connection, ANSWER_S), Found, Wait, Refuse)
    return None if isinstance(answer, Wait) else _found(answer)


async def found(connection: Connection) -> Found:
    """Return how a stream was found that was told to wait. Raises as `offered`."""
    return _found(expected(await connection.receive(), Found, Refuse))


async def offer_of(connection: Connection) -> Offer:
    """Return what the other site offers. Raises `ConnectionLost`, `RemoteProtocolError`."""
    return expected(await _in_time(connection, ANSWER_S), Offer)


async def joined(connection: Connection) -> None:
    """Return when the other site has joined what was found. Raises `ConnectionLost`, `RemoteProtocolError`."""
    expected(await _in_time(connection, JOIN_S), Join)


async def until(changed: asyncio.Event, connection: Connection) -> None:
    """Return when something has changed. Raises `ConnectionLost`; `RemoteProtocolError` if the other end speaks."""
    waiting, hearing = asyncio.ensure_future(changed.wait()), asyncio.ensure_future(connection.receive())
    try:
        await asyncio.wait((waiting, hearing), return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            hearing.result()
            raise RemoteProtocolError("a site spoke that was told to wait")
    finally:
        waiting.cancel()
        hearing.cancel()
        await asyncio.wait((waiting, hearing))


def _found(answer: Message) -> Found:
    if isinstance(answer, Refuse):
        raise MeetingRefused(answer.reason)
    assert isinstance(answer, Found)
    return answer


async def _in_time(connection: Connection, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await connection.receive()
    except TimeoutError:
        raise ConnectionLost(f"the other site said nothing within {seconds:g} s") from None
