"""External, version 1: what two neighbouring QKSs say to each other, as MessagePack.

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means
(`core.reservation`; `docs/reference/krp.md` numbers the steps). No message carries key material.

A frame is one MessagePack array `[sender, receiver, commit, messages]`; a message is an array whose first element
is its type's name. Unknown types, missing members and trailing bytes are a `RemoteProtocolError`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import RemoteProtocolError

SUBPROTOCOL = "qss-external.1"
"""Name under which this version is negotiated when the connection opens."""

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Largest frame that is sent or taken."""

MAX_LISTED = 100_000
"""Most entries in one list of a message."""

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Names = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=256)]
Ids = Annotated[tuple[Id, ...], Meta(max_length=MAX_LISTED)]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=lambda name: name.lower(), forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class StreamState(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One key stream as its sender holds it durably. Positions are bytes."""

    stream: Id
    chunk_bytes: Positive
    head: Count
    mark: Count
    closed: bool


class Hello(_Message, frozen=True):
    """First message of each end on every connection (KRP 2.1)."""

    qks: Name
    incarnation: Count
    base: Count
    """The sender's durable commit number when this incarnation began."""
    seen_incarnation: Count
    """The highest incarnation of the receiver that the sender remembers."""
    seen_commit: Count
    """The highest commit number of the receiver that the sender remembers."""
    restored: bool
    """The sender knows that its store was restored and has not burned this link's key yet."""
    streams: Annotated[tuple[StreamState, ...], Meta(max_length=MAX_LISTED)]
    unconfirmed: Ids
    """Reservations that the sender holds without knowing that the receiver does."""


class Held(_Message, frozen=True):
    """Which of the receiver's unconfirmed reservations the sender holds (KRP 2.4)."""

    reservations: Ids


class Open(_Message, frozen=True):
    """The owner has opened a key stream at its module (KRP 3.1)."""

    stream: Id
    chunk_bytes: Positive


class Mark(_Message, frozen=True):
    """The sender durably holds the stream up to here (KRP 3.2)."""

    stream: Id
    mark: Count


class Close(_Message, frozen=True):
    """The sender takes no more key from this stream; its final mark (KRP 3.3)."""

    stream: Id
    mark: Count


class Reserve(_Message, frozen=True):
    """The owner has allocated this range for one of its own masters (KRP 4.1)."""

    reservation: Id
    stream: Id
    start: Count
    count: Positive
    key_bytes: Positive
    master: Name
    slaves: Names


class Reserved(_Message, frozen=True):
    """The range of the receiver's Reserve or Ask is durable here (KRP 4.2, 4.4)."""

    reservation: Id


class Ask(_Message, frozen=True):
    """The non-owner asks for a range for one of its own masters (KRP 4.3)."""

    reservation: Id
    count: Positive
    key_bytes: Positive
    master: Name
    slaves: Names


class Grant(_Message, frozen=True):
    """The owner has allocated the range asked for; its Reserved follows when that is durable (KRP 4.4)."""

    reservation: Id
    stream: Id
    start: Count
    length: Positive


class Refuse(_Message, frozen=True):
    """A Reserve or Ask was refused and has changed nothing at the sender (KRP 4.5)."""

    reservation: Id
    reason: Annotated[str, Meta(max_length=32)]


class Confirm(_Message, frozen=True):
    """Every site holds these reservations: the master has been answered (KRP 4.6)."""

    reservations: Ids


class Confirmed(_Message, frozen=True):
    """The sender has noted the confirmation durably (KRP 4.7)."""

    reservations: Ids


class Void(_Message, frozen=True):
    """The master's site has given these reservations up (KRP 4.8)."""

    reservations: Ids


Message = (
    Hello | Held | Open | Mark | Close | Reserve | Reserved | Ask | Grant | Refuse | Confirm | Confirmed | Void
)  # fmt: skip


class Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What travels at once: both ends' incarnations, the sender's durable commit number, and messages in order."""

    sender: Count
    """Incarnation of the sender."""
    receiver: Count
    """Incarnation of the receiver as the sender knows it; 0 before its Hello."""
    commit: Count
    messages: Annotated[tuple[Message, ...], Meta(max_length=MAX_LISTED)] = ()
    """None at all makes the frame a heartbeat."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """Return the frame as MessagePack."""
    return _encoder.encode(frame)


def decode(data: bytes) -> Frame:
    """Return the frame in `data`. Raises `RemoteProtocolError` for anything that is not one whole frame."""
    if len(data) > MAX_FRAME_BYTES:
        raise RemoteProtocolError(f"a frame of {len(data)} bytes exceeds the limit of {MAX_FRAME_BYTES}")
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"not an External frame: {error}") from None
