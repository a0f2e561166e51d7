"""What the two ends of a pair of vendor's boxes say to each other over the device channel, as MessagePack.

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means and when it is allowed
(`adapters.devices`; `docs/reference/vendor-boxes.md` numbers the steps). No message holds key.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import RemoteProtocolError

MAX_KEY_BYTES = 128 * 1024
"""Largest key of a box, and largest chunk."""

MIN_BLOCK_BYTES = 1024
MAX_BLOCK_BYTES = 64 * 1024
"""What a block may be set to have at least."""

MAX_OFFERED = 1024
"""Most keys in one offer."""

MAX_SAE_ID = 255

_Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
_Sae = Annotated[str, Meta(min_length=1, max_length=MAX_SAE_ID)]
_KeyBytes = Annotated[int, Meta(ge=1, le=MAX_KEY_BYTES)]
_BlockBytes = Annotated[int, Meta(ge=MIN_BLOCK_BYTES, le=MAX_BLOCK_BYTES)]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower, forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class Terms(_Message, frozen=True):
    """The sender is the master, under this SAE ID; keys have this size, blocks at least that (Boxes 2.1)."""

    sae: _Sae
    key_bytes: _KeyBytes
    block_bytes: _BlockBytes


class Ready(_Message, frozen=True):
    """The sender is the slave, under this SAE ID; its box serves so many keys in one request (Boxes 2.2)."""

    sae: _Sae
    max_keys: Annotated[int, Meta(ge=1, le=MAX_OFFERED)]


class Offer(_Message, frozen=True):
    """The master's box gave keys of these IDs (Boxes 2.3)."""

    key_ids: Annotated[tuple[_Id, ...], Meta(min_length=1, max_length=MAX_OFFERED)]


class Held(_Message, frozen=True):
    """Whether the slave's box gave all keys of the last offer (Boxes 2.4)."""

    held: bool


class Opened(_Message, frozen=True):
    """The initiator's box has opened this key stream, with chunks of this size (Boxes 3.1)."""

    stream: _Id
    chunk_bytes: _KeyBytes
    block_bytes: _BlockBytes


class Joined(_Message, frozen=True):
    """The responder's box has opened the same key stream (Boxes 3.2)."""


class Mark(_Message, frozen=True):
    """The sender's device has yielded this block (Boxes 3.4)."""

    block: Annotated[int, Meta(ge=0, le=2**63 - 1)]


Message = Terms | Ready | Offer | Held | Opened | Joined | Mark

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
            "the device at the other end is no vendor's box, or of another release; "
            "give the pair the same type of device and the same release at both ends"
        ) from None
    if not isinstance(message, expected):
        raise RemoteProtocolError(_surprise(message, expected))
    return message


def _surprise(message: Message, expected: type[msgspec.Struct]) -> str:
    if isinstance(message, Terms) and expected is Ready:
        return 'both ends of this pair of boxes are the master; set side = "slave" at one of them'
    if isinstance(message, Ready) and expected is Terms:
        return 'both ends of this pair of boxes are the slave; set side = "master" at one of them'
    return (
        f"{type(message).__name__} came from the other end's box where {expected.__name__} was due; "
        "give the pair the same type of device and the same release at both ends"
    )
