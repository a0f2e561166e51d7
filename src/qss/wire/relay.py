"""Relay, version 1: what two neighbouring sites say to each other of transfers, as MessagePack.

Held here: the shapes, their limits, bytes to messages and back, and the context that a hop's tag binds. Not here: what
a message means and when it is allowed (`core.relay`; `docs/reference/relay.md` numbers the steps), nor the sealing of
what is carried (`crypto.hops`).

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
from qss.model.identifiers import QksId, StreamId
from qss.model.ranges import Range
from qss.wire.framing import decode_frame, fitting_runs

SUBPROTOCOL = "qss-relay.1"
"""Name under which this version is negotiated when the connection opens."""

MAX_FRAME_BYTES = 1 << 20
"""Largest frame that is sent or taken."""

MAX_MESSAGES = 256
"""Most messages in one frame."""

MIN_CARRIED = 1_072
MAX_CARRIED = 262_192
"""Fewest and most bytes that one transfer carries (Relay 1.1)."""

MIN_SITES = 2
MAX_SITES = 17
"""Fewest and most sites on a path (Relay 1.1)."""

MAX_SHARES = 8
"""Most transfers that make up one block (Relay 6.1)."""

MAX_POLICY_BYTES = 1024
"""Longest text of a policy."""

_OVERHEAD = 64
"""Enough for the frame's own bytes, and for Carry, Arrived and Failed apart from what they carry or name."""

_SITE_BYTES = 63
_BEGIN_BYTES = 2 * _OVERHEAD + MAX_SITES * (_SITE_BYTES + 2) + MAX_POLICY_BYTES
_HOP_CONTEXT = b"qss-relay-hop.1\0"

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Tag = Annotated[bytes, Meta(min_length=16, max_length=16)]
SiteName = Annotated[str, Meta(min_length=1, max_length=_SITE_BYTES, pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
Path = Annotated[tuple[SiteName, ...], Meta(min_length=MIN_SITES, max_length=MAX_SITES)]
Length = Annotated[int, Meta(ge=MIN_CARRIED, le=MAX_CARRIED)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Share = Annotated[int, Meta(ge=0, lt=MAX_SHARES)]
Shares = Annotated[int, Meta(ge=1, le=MAX_SHARES)]
HopName = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"\A[a-z0-9-]+\Z")]
Policy = Annotated[str, Meta(max_length=MAX_POLICY_BYTES, pattern=r"\A[ -~]*\Z")]
Sealed = Annotated[bytes, Meta(min_length=MIN_CARRIED, max_length=MAX_CARRIED)]


class Reason(StrEnum):
    """Why a transfer failed at a site (Relay 4.8)."""

    SHORTAGE = "shortage"
    """A link of the site has not that much key left for it."""
    LIMIT = "limit"
    """The site has as many transfers of its neighbour as it takes, or a link as many draws."""
    REFUSED = "refused"
    """A check of Begin failed (Relay 4.2), or a draw was refused."""
    UNREACHABLE = "unreachable"
    """The site has lost a connection that the transfer needs, or never had it."""
    LATE = "late"
    """It took too long."""
    TAMPERED = "tampered"
    """The tag of what came was wrong."""
    STOPPED = "stopped"
    """The site is stopping, or cannot use its key now."""


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower, forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class Begin(_Message, frozen=True):
    """A transfer comes this way (Relay 4.1). All of it is what the tags bind (Relay 5.3)."""

    transfer: Id
    path: Path
    length: Length
    stream: Id
    """The pair that names the end-to-end stream (Relay 1.3)."""
    block: Count
    share: Share
    """Which of the block's transfers, from 0."""
    shares: Shares
    hop: HopName
    policy: Policy
    urgent: bool


class Carry(_Message, frozen=True):
    """What is carried, under pad and tag of the link (Relay 4.3)."""

    transfer: Id
    sealed: Sealed
    tag: Tag

    def __repr__(self) -> str:
        return f"Carry(transfer={self.transfer!r}, <{len(self.sealed)} bytes>)"


class Arrived(_Message, frozen=True):
    """The destination has what was carried (Relay 4.5)."""

    transfer: Id


class Failed(_Message, frozen=True):
    """The transfer is void: it failed at this site, for this reason (Relay 4.8)."""

    transfer: Id
    site: SiteName
    reason: Reason


Message = Begin | Carry | Arrived | Failed

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[tuple[Message, ...]] = msgspec.msgpack.Decoder(
    Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]
)


def encode(messages: Sequence[Message]) -> bytes:
    """Return the frame that holds `messages`, in order. Raises `LocalProtocolError` beyond the limits."""
    frame = _ENCODER.encode(messages)
    if not 1 <= len(messages) <= MAX_MESSAGES or len(frame) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"{len(messages)} messages in {len(frame)} bytes do not fit into one Relay frame")
    return frame


def decode(frame: bytes) -> tuple[Message, ...]:
    """Return the messages of `frame`, in order. Raises `RemoteProtocolError` for anything that is no Relay frame."""
    return decode_frame(_DECODER, frame, MAX_FRAME_BYTES, SUBPROTOCOL)


def split(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Part `messages` into runs that each fit into one frame, in order."""
    return fitting_runs(messages, weight, MAX_FRAME_BYTES - _OVERHEAD, MAX_MESSAGES)


def weight(message: Message) -> int:
    """Return how much of a queue's limit `message` takes: its bytes, at most."""
    match message:
        case Carry():
            return _OVERHEAD + len(message.sealed)
        case Begin():
            return _BEGIN_BYTES
        case _:
            return _OVERHEAD + _SITE_BYTES


def hop_context(begin: Begin, sender: QksId, receiver: QksId, place: int, stream: StreamId, part: Range) -> bytes:
    """Return what the tag of one hop binds besides what is sealed (Relay 5.3).

    `place` is the sender's in the path, 0 for the source; `part` are the bytes that were drawn of the link's `stream`.
    """
    bound = (*msgspec.structs.astuple(begin), sender, receiver, place, stream.value, part.start, part.stop)
    return _HOP_CONTEXT + _ENCODER.encode(bound)
