"""What the two ends of an application's key stream say to each other over the device channel (Streams 3.2).

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means and when it is allowed
(`runtime.key_streams.device`). No message holds key.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import MAX_KEYS_PER_RESERVATION
from qss.wire.framing import decode_frame

MAX_BYTES = 64
"""Largest frame."""

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
KeyCount = Annotated[int, Meta(ge=1, le=MAX_KEYS_PER_RESERVATION)]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower, forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class Keys(_Message, frozen=True):
    """The next block is the keys of this reservation, one after the other."""

    number: Number
    reservation: Id
    count: KeyCount


class Want(_Message, frozen=True):
    """The sender wants so many bytes of the stream, since its beginning."""

    total: Number


Message = Keys | Want

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the frame of `message`."""
    return _ENCODER.encode(message)


def decode[M: Message](frame: bytes, due: type[M]) -> M:
    """Return the message of `frame`. Raises `RemoteProtocolError` if it is no `due` one."""
    message: Message = decode_frame(_DECODER, frame, MAX_BYTES, "the device channel of key streams")
    if not isinstance(message, due):
        raise RemoteProtocolError(f"{type(message).__name__} came where {due.__name__} was due")
    return message
