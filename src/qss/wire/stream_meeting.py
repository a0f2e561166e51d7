"""How two sites come to the same key stream of their applications, version 1, as MessagePack (Streams 2).

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means and when it is allowed
(`core.keyserver.stream_register`; `docs/reference/key-streams.md` numbers the steps). Names of applications are not
checked here: they are compared with those that are known.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import RemoteProtocolError
from qss.wire import sync
from qss.wire.framing import decode_frame

SUBPROTOCOL = "qss-key-streams.1"
"""Name under which this version is negotiated when the connection opens."""

MAX_MEETING_BYTES = 1024
"""Largest frame until the two have met."""

MAX_FRAME_BYTES = sync.MAX_FRAME_BYTES
"""Largest frame from then on: the connection carries Sync."""

Name = Annotated[str, Meta(min_length=1, max_length=255)]


class Reason(StrEnum):
    """Why a stream cannot be met (Streams 2.6)."""

    IN_USE = "in-use"
    FORBIDDEN = "forbidden"
    LIMIT = "limit"


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower, forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class Offer(_Message, frozen=True):
    """An application at the sender's site has this stream open, or is about to (Streams 2.2)."""

    stream: sync.Id
    sae: Name
    """At home at the sender's site."""
    other: Name
    """At home at the receiver's."""
    chunk_bytes: sync.ChunkBytes
    may_ask: bool
    """The sender's rules let its application be the other's master."""
    may_be_asked: bool
    """Or its slave."""


class Wait(_Message, frozen=True):
    """The other application does not have it open (Streams 2.3)."""


class Found(_Message, frozen=True):
    """It has (Streams 2.4)."""

    chunk_bytes: sync.ChunkBytes
    initiator_asks: bool
    """The site with the lower ID reserves the key (Streams 2.5)."""


class Join(_Message, frozen=True):
    """What follows on this connection is Sync (Streams 2.4)."""


class Refuse(_Message, frozen=True):
    """This stream cannot be met here (Streams 2.6)."""

    reason: Reason


Message = Offer | Wait | Found | Join | Refuse

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the frame of `message`."""
    return _ENCODER.encode(message)


def decode(frame: bytes) -> Message:
    """Return the message of `frame`. Raises `RemoteProtocolError` if it is none."""
    return decode_frame(_DECODER, frame, MAX_MEETING_BYTES, SUBPROTOCOL)


def expected[M: Message](frame: bytes, *kinds: type[M]) -> M:
    """Return the message of `frame`. Raises `RemoteProtocolError` if it is of none of these kinds."""
    message = decode(frame)
    if not isinstance(message, kinds):
        due = " or ".join(kind.__name__ for kind in kinds)
        raise RemoteProtocolError(f"{type(message).__name__} came where {due} was due")
    return message
