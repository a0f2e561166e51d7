"""QRP, version 1: what a QKD module and its key server say to each other, as MessagePack.

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means and when it is allowed
(`core.module.registration`, `core.keyserver.modules`; `docs/reference/qrp.md` numbers the steps). No message carries
key: that is pulled over ETSI GS QKD 004.

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
from qss.wire.framing import decode_frame

SUBPROTOCOL = "qss-qrp.1"
"""Name under which this version is negotiated when the connection opens."""

MAX_FRAME_BYTES = 256 * 1024
"""Largest frame that is sent or taken."""

MAX_MESSAGES = 64
"""Most messages in one frame."""

MAX_PAIRS = 16
"""Most device pairs that one module registers."""

MAX_COUNTS = 64
"""Most counters of one pair."""

MAX_TEXT = 500
"""Most characters of a reason."""

_PLAIN = r"\A[^\x00-\x1f\x7f]*\Z"  # nothing that steers a terminal or breaks a line of a log

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Name = Annotated[str, Meta(min_length=1, max_length=127, pattern=_PLAIN)]
Text = Annotated[str, Meta(max_length=MAX_TEXT, pattern=_PLAIN)]
Host = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"\A[A-Za-z0-9._:-]*\Z")]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Rate = Annotated[float, Meta(ge=0, le=1e15)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Counter = Annotated[str, Meta(max_length=32, pattern=r"\A[a-z][a-z_-]*\Z")]
Counts = Annotated[dict[Counter, Count], Meta(max_length=MAX_COUNTS)]
Pairs = Annotated[tuple[Id, ...], Meta(max_length=MAX_PAIRS)]


class StreamPhase(StrEnum):
    """How far a key stream has come (Sync 3): no Sync connection, none open, waiting for the peer, running."""

    DOWN = "down"
    IDLE = "idle"
    OPENING = "opening"
    RUNNING = "running"


class _Structure(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of what messages are made of: arrays."""


class Claim(_Structure, frozen=True):
    """A device pair that the module has one end of, and the site at the other end."""

    pair: Id
    destination: Name


class DeviceCard(_Structure, frozen=True):
    """What the module says of its device (`ports.device`). `rate_bps` is secret bits per second, `qber` from 0 to 1."""

    kind: Name
    running: bool
    rate_bps: Rate
    qber: Share | None
    simulated: bool
    seeded: bool
    lost_bits: Count
    left_bits: Count | None
    note: Text


class PairState(_Structure, frozen=True):
    """One pair's end: whether its exchange is on, its key stream, its device, and where every byte went.

    `owed_s` is for how many seconds the device has owed the block that it was asked for.
    `counts` are bytes and numbers of `core.module.counts`, by their names there; `unhealthy` are key streams that a
    health test ended, by the test's name. A receiver passes over names that it does not know.
    """

    pair: Id
    exchange: bool
    phase: StreamPhase
    stream: Id | None
    chunk_bytes: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None
    security: Text | None
    device: DeviceCard
    owed_s: Count
    counts: Counts
    unhealthy: Counts


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower, forbid_unknown_fields=True):
    """Base of all messages: arrays that begin with the type's name in lower case."""


class Register(_Message, frozen=True):
    """The module is here: its name, its pairs, its device, where it answers 004, and its release (QRP 2.1)."""

    module: Name
    claims: Annotated[tuple[Claim, ...], Meta(min_length=1, max_length=MAX_PAIRS)]
    device: DeviceCard
    host: Host
    port: Port
    release: Name


class Accepted(_Message, frozen=True):
    """The module is registered; the exchange of the pairs `stopped` is off (QRP 2.4)."""

    stopped: Pairs


class Refused(_Message, frozen=True):
    """The module is not registered, or no more, and why (QRP 2.5)."""

    reason: Text


class Start(_Message, frozen=True):
    """Go on with the exchange of this pair (QRP 3.2)."""

    pair: Id


class Stop(_Message, frozen=True):
    """End the exchange of this pair, until told to start (QRP 3.2)."""

    pair: Id


class Information(_Message, frozen=True):
    """How the module's pairs are; also its heartbeat (QRP 4)."""

    pairs: Annotated[tuple[PairState, ...], Meta(max_length=MAX_PAIRS)]


class Deregister(_Message, frozen=True):
    """The module leaves, and why (QRP 5.1)."""

    reason: Text


Message = Register | Accepted | Refused | Start | Stop | Information | Deregister

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[tuple[Message, ...]] = msgspec.msgpack.Decoder(
    Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]
)


def encode(messages: Sequence[Message]) -> bytes:
    """Return the frame that holds `messages`, in order. Raises `LocalProtocolError` beyond the limits."""
    frame = _ENCODER.encode(messages)
    if not 1 <= len(messages) <= MAX_MESSAGES or len(frame) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"{len(messages)} messages in {len(frame)} bytes do not fit into one QRP frame")
    return frame


def decode(frame: bytes) -> tuple[Message, ...]:
    """Return the messages of `frame`, in order. Raises `RemoteProtocolError` for anything that is no QRP frame."""
    return decode_frame(_DECODER, frame, MAX_FRAME_BYTES, SUBPROTOCOL)


def plain(text: str) -> str:
    """Return `text` as a reason that fits into a message."""
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_TEXT])
