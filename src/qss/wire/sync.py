"""Sync, version 1: what the two modules of a device pair say to each other, as MessagePack.

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means and when it is allowed
(`core.module`; `docs/reference/sync.md` numbers the steps).

A frame is one MessagePack array of 1 to `MAX_MESSAGES` messages; a message is an array whose first element is its
type's name. Unknown types, missing or further members and trailing bytes are a `RemoteProtocolError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import LocalProtocolError
from qss.wire.framing import decode_frame, fitting_runs

SUBPROTOCOL = "qss-sync.1"
"""Name under which this version is negotiated when the connection opens."""

MAX_FRAME_BYTES = 256 * 1024
"""Largest frame that is sent or taken."""

MAX_MESSAGES = 256
"""Most messages in one frame."""

MAX_DEVICE_FRAME_BYTES = 128 * 1024
"""Largest frame of a device that is carried."""

BLOCKS_IN_CHECK = 256
"""How many blocks an end may be ahead of the other's verdicts (Sync 4.5)."""

DEVICE_WINDOW = 64
"""Device frames that an end may send before the other grants more (Sync 5.2)."""

MIN_CHUNK_BYTES = 32
MAX_CHUNK_BYTES = 64 * 1024
"""Smallest and largest chunk of a key stream."""

_OVERHEAD = 64
"""Enough for the frame's own bytes, and for any message apart from what it carries for a device."""

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Tag = Annotated[bytes, Meta(min_length=16, max_length=16)]
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
ChunkBytes = Annotated[int, Meta(ge=MIN_CHUNK_BYTES, le=MAX_CHUNK_BYTES)]
Frames = Annotated[int, Meta(ge=1, le=DEVICE_WINDOW)]
Carried = Annotated[bytes, Meta(max_length=MAX_DEVICE_FRAME_BYTES)]


class End(StrEnum):
    """Which end of the pair. The QKS with the lower ID has the initiator, which names the key streams."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower, forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class Open(_Message, frozen=True):
    """The sender has this key stream open (Sync 3)."""

    stream: Id
    end: End
    chunk_bytes: ChunkBytes


class Close(_Message, frozen=True):
    """The sender does not have this key stream open, or no more (Sync 3)."""

    stream: Id


class Check(_Message, frozen=True):
    """The sender's tag of one block (Sync 4.2)."""

    number: Number
    tag: Tag


class Verdict(_Message, frozen=True):
    """Whether the receiver's tag of one block is the one that the sender expected (Sync 4.3)."""

    number: Number
    equal: bool


class Device(_Message, frozen=True):
    """A frame from the sender's device to the receiver's (Sync 5.1). May be secret: see the simulator."""

    carried: Carried

    def __repr__(self) -> str:
        return f"Device(<{len(self.carried)} bytes>)"


class Credit(_Message, frozen=True):
    """The receiver may send this many device frames more (Sync 5.3)."""

    frames: Frames


Message = Open | Close | Check | Verdict | Device | Credit

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[tuple[Message, ...]] = msgspec.msgpack.Decoder(
    Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]
)


def encode(messages: Sequence[Message]) -> bytes:
    """Return the frame that holds `messages`, in order. Raises `LocalProtocolError` beyond the limits."""
    frame = _ENCODER.encode(messages)
    if not 1 <= len(messages) <= MAX_MESSAGES or len(frame) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"{len(messages)} messages in {len(frame)} bytes do not fit into one Sync frame")
    return frame


def decode(frame: bytes) -> tuple[Message, ...]:
    """Return the messages of `frame`, in order. Raises `RemoteProtocolError` for anything that is no Sync frame."""
    return decode_frame(_DECODER, frame, MAX_FRAME_BYTES, SUBPROTOCOL)


def split(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Part `messages` into runs that each fit into one frame, in order."""
    return fitting_runs(messages, _most_bytes, MAX_FRAME_BYTES - _OVERHEAD, MAX_MESSAGES)


def _most_bytes(message: Message) -> int:
    return _OVERHEAD + (len(message.carried) if isinstance(message, Device) else 0)
