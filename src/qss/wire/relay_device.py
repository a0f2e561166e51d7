"""What the two ends of an end-to-end stream's device say to each other over the device channel, as MessagePack.

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means and when it is allowed
(`runtime.relay`; `docs/reference/relay.md` numbers the steps). No message holds key.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import RemoteProtocolError
from qss.wire.lsa import Authentication
from qss.wire.relay import MAX_CARRIED

MAX_SHARES = 8
"""Transfers that one block is made of."""

_Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Length = Annotated[int, Meta(ge=1024, le=MAX_CARRIED)]
_EncapsulationKey = Annotated[bytes, Meta(min_length=1184, max_length=1184)]
_Ciphertext = Annotated[bytes, Meta(min_length=1088, max_length=1088)]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower, forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class Block(_Message, frozen=True):
    """The next block is made of the contents of these transfers (Relay 4.6)."""

    number: _Count
    length: _Length
    transfers: Annotated[tuple[_Id, ...], Meta(min_length=1, max_length=MAX_SHARES)]


class Offer(_Message, frozen=True):
    """The same, and of what a fresh key of ML-KEM-768 agrees on besides (Relay 6.3)."""

    number: _Count
    length: _Length
    transfers: Annotated[tuple[_Id, ...], Meta(min_length=1, max_length=MAX_SHARES)]
    encapsulation_key: _EncapsulationKey
    authentication: Authentication


class Answer(_Message, frozen=True):
    """The ciphertext for the key of an Offer (Relay 6.3)."""

    number: _Count
    ciphertext: _Ciphertext
    authentication: Authentication


Message = Block | Offer | Answer

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the frame of `message`."""
    return _ENCODER.encode(message)


def decode[M: Message](frame: bytes, expected: type[M]) -> M:
    """Return the message of `frame`. Raises `RemoteProtocolError` if it is no `expected` one."""
    try:
        message: Message = _DECODER.decode(frame)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise RemoteProtocolError(
            "the other end of this key stream is no relay of this release; run the same release at both ends"
        ) from None
    if not isinstance(message, expected):
        raise RemoteProtocolError(f"{type(message).__name__} came where {expected.__name__} was due")
    return message
