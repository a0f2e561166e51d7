"""Routing, version 1: what two routing modules say to each other, as MessagePack.

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means and when it is allowed
(`core.routing`; `docs/reference/routing-protocol.md` numbers the steps), nor signatures (`pki.statements`) and tags
(`crypto.link_tags`). No message carries key material.

A frame is one MessagePack array of 1 to `MAX_MESSAGES` messages; a message is an array whose first element is its
type's name. Unknown types, missing or further members and trailing bytes are a `RemoteProtocolError`. What the messages
carry is in `wire.lsa`, and can be had from here as well: who speaks Routing needs both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId
from qss.wire.framing import decode_frame, fitting_runs
from qss.wire.lsa import (
    CARRIED_BYTES,
    DIGEST_BYTES,
    KNOWN,
    MAX_BODY_BYTES,
    MAX_CHAIN,
    MAX_COST,
    MAX_GENERATION,
    MAX_LIFETIME_S,
    MAX_LSAS,
    MAX_NEIGHBOURS,
    MAX_PARTS,
    MAX_SEQUENCE,
    SIGNED_AS,
    VERSION,
    Authentication,
    Body,
    Carried,
    Digest,
    Endpoint,
    Header,
    Key,
    LinkState,
    LsaType,
    Preamble,
    SaeState,
    Source,
    decode_body,
    encode_body,
    header_digest,
    header_of,
    is_readable,
)

__all__ = [
    "CARRIED_BYTES",
    "DIGEST_BYTES",
    "KNOWN",
    "MAX_BODY_BYTES",
    "MAX_CARRIED",
    "MAX_CHAIN",
    "MAX_COST",
    "MAX_FRAME_BYTES",
    "MAX_GENERATION",
    "MAX_HEADERS",
    "MAX_HELD",
    "MAX_LIFETIME_S",
    "MAX_LSAS",
    "MAX_MESSAGES",
    "MAX_NEIGHBOURS",
    "MAX_PARTS",
    "MAX_SEQUENCE",
    "SIGNED_AS",
    "SUBPROTOCOL",
    "VERSION",
    "Ack",
    "Authentication",
    "Body",
    "Carried",
    "Endpoint",
    "Header",
    "HeldRange",
    "Hello",
    "Key",
    "LinkState",
    "LsaType",
    "Message",
    "Preamble",
    "Request",
    "SaeState",
    "Source",
    "Summary",
    "Tagged",
    "Tags",
    "Update",
    "decode",
    "decode_body",
    "decode_update",
    "encode",
    "encode_body",
    "encode_update",
    "frames",
    "header_digest",
    "header_of",
    "is_readable",
    "tagged_text",
]

SUBPROTOCOL = "qss-routing.1"
"""Name under which this version is negotiated when the connection opens."""

MAX_FRAME_BYTES = 256 * 1024
"""Largest frame that is sent or taken."""

MAX_MESSAGES = 256
"""Most messages in one frame."""

MAX_HEADERS = 2048
"""Most headers, or keys, in one message."""

MAX_CARRIED = 64
"""Most LSAs in one Update."""

MAX_HELD = 4
"""Most ranges of key of the neighbour's that an end holds, and tells of (Routing 12.4)."""

_TAGGED_AS = b"qss-routing-tag.1\0"

_StreamName = Annotated[bytes, Meta(min_length=16, max_length=16)]
_Place = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower, forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class Hello(_Message, frozen=True):
    """I am here (Routing 4.1): whether I have heard you, and am full; when to give me up; the digest of what I know."""

    heard: bool
    full: bool
    dead_ms: Annotated[int, Meta(ge=100, le=600_000)]
    digest: Digest


class Summary(_Message, frozen=True):
    """What I know (Routing 5.1); `more` if further Summaries follow."""

    headers: Annotated[tuple[Header, ...], Meta(max_length=MAX_HEADERS)]
    more: bool


class Request(_Message, frozen=True):
    """Send me these (Routing 5.2)."""

    keys: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=MAX_HEADERS)]


class Update(_Message, frozen=True):
    """LSAs (Routing 6.1)."""

    carried: Annotated[tuple[Carried, ...], Meta(min_length=1, max_length=MAX_CARRIED)]


class Ack(_Message, frozen=True):
    """I have these instances (Routing 6.4)."""

    headers: Annotated[tuple[Header, ...], Meta(min_length=1, max_length=MAX_HEADERS)]


class HeldRange(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is left of a range of key: from the place that is next, in bytes of its key stream (Routing 12.4)."""

    stream: _StreamName
    place: _Place
    stop: _Place


class Tags(_Message, frozen=True):
    """I tag what I send (Routing 12.1): whether I demand that of you, and which ranges of yours I hold."""

    required: bool
    held: Annotated[tuple[HeldRange, ...], Meta(max_length=MAX_HELD)]


class Tagged(_Message, frozen=True):
    """An Update, and its tag under the 32 bytes of key at this place (Routing 12.5)."""

    stream: _StreamName
    place: _Place
    update: Annotated[bytes, Meta(min_length=1, max_length=MAX_FRAME_BYTES)]
    tag: Annotated[bytes, Meta(min_length=16, max_length=16)]


Message = Hello | Summary | Request | Update | Ack | Tags | Tagged

_ARRAY_BYTES = 3
"""With how many bytes a long array begins."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[tuple[Message, ...]] = msgspec.msgpack.Decoder(
    Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]
)
_UPDATE_DECODER = msgspec.msgpack.Decoder(Update)


def encode(messages: Sequence[Message]) -> bytes:
    """Return the frame that holds `messages`, in order. Raises `LocalProtocolError` beyond the limits."""
    frame = _ENCODER.encode(messages)
    if not 1 <= len(messages) <= MAX_MESSAGES or len(frame) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"{len(messages)} messages in {len(frame)} bytes do not fit into one Routing frame")
    return frame


def frames(messages: Iterable[Message]) -> list[bytes]:
    """Return the frames that hold `messages`, in order. Raises `LocalProtocolError` if one of them fits into none."""
    encoded = map(_ENCODER.encode, messages)
    runs = fitting_runs(encoded, len, MAX_FRAME_BYTES - _ARRAY_BYTES, MAX_MESSAGES)
    made = [b"".join((_array_of(len(run)), *run)) for run in runs]
    if any(len(frame) > MAX_FRAME_BYTES for frame in made):
        raise LocalProtocolError(f"a message does not fit into one Routing frame of {MAX_FRAME_BYTES} bytes")
    return made


def _array_of(items: int) -> bytes:
    """Return how a MessagePack array of at most 65,535 items begins."""
    return bytes([0x90 | items]) if items < 16 else b"\xdc" + items.to_bytes(2)


def decode(frame: bytes) -> tuple[Message, ...]:
    """Return the messages of `frame`, in order. Raises `RemoteProtocolError` for anything that is no Routing frame."""
    return decode_frame(_DECODER, frame, MAX_FRAME_BYTES, SUBPROTOCOL)


def encode_update(update: Update) -> bytes:
    """Return an Update as it travels in Tagged."""
    return _ENCODER.encode(update)


def decode_update(data: bytes) -> Update:
    """Return the Update of a Tagged. Raises `RemoteProtocolError` for anything that is not one whole Update."""
    return decode_frame(_UPDATE_DECODER, data, MAX_FRAME_BYTES, SUBPROTOCOL)


def tagged_text(sender: QksId, receiver: QksId, stream: bytes, place: int, update: bytes) -> bytes:
    """Return what a tag is made over (Routing 12.5)."""
    return _TAGGED_AS + _ENCODER.encode((sender, receiver, stream, place)) + update
