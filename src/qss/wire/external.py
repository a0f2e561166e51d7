"""External, version 1: what two neighbouring QKSs say to each other, as MessagePack.

Held here: the shapes, their limits, bytes to messages and back. Not here: what a message means
(`core.reservation`; `docs/reference/krp.md` numbers the steps), nor the sealing of what a Cover holds (`crypto.hops`).
No message carries key material, but under a one-time pad.

A frame is one MessagePack array `[sender, receiver, commit, proof, messages]`; a message is an array whose first
element is its type's name. Unknown types, missing members and trailing bytes are a `RemoteProtocolError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId
from qss.model.keys import Priority
from qss.model.records import ReservationRecord
from qss.wire.framing import decode_frame, fitting_runs

SUBPROTOCOL = "qss-external.1"
"""Name under which this version is negotiated when the connection opens."""

MAX_TAGS_BYTES = 4096
"""Longest range that is drawn for tags at a time: they may take the last of a link's key (Relay 3.5)."""

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Largest frame that is sent or taken."""

MAX_LISTED = 100_000
"""Most entries in one list of a message."""

MAX_SLAVES = 256
"""Most slaves of one reservation."""

MAX_MESSAGES = 1_000
"""Most messages in one frame."""

MAX_POLICY = 1024
"""Longest text of a policy, in characters (Relay 6.1)."""

MAX_COVERED = 2 * 1024 * 1024
"""Most bytes of key that one Cover holds."""

MAX_RECALLS = 8
"""Most Recalls in one frame: each may cost its receiver a look at all that it holds."""

_FRAME_OVERHEAD = 128
_COVER_CONTEXT = b"qss-external-cover.1\0"

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Text = Annotated[str, Meta(max_length=255)]
Policy = Annotated[str, Meta(max_length=MAX_POLICY)]
Names = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_SLAVES)]
Ids = Annotated[tuple[Id, ...], Meta(max_length=MAX_LISTED)]
Proof = Annotated[bytes, Meta(max_length=32)]
Sealed = Annotated[bytes, Meta(min_length=1, max_length=MAX_COVERED)]


class Reason(StrEnum):
    """Why a Reserve or Ask was refused (KRP 4.5), or a Draw or Drawn (Relay 3.4)."""

    SHORTAGE = "shortage"
    """No stream has that much left that both ends hold."""
    LIMIT = "limit"
    """The sender holds as many reservations, or has as many draws open, as it may."""
    SIZE = "size"
    """The sender takes no such number of keys, or none of that size."""
    UNAUTHORISED = "unauthorised"
    """Not the sender's slaves, not the receiver's master, or a pair that is not allowed."""
    UNKNOWN = "unknown"
    """The sender does not know, perhaps not yet, where the master is at home."""
    STREAM = "stream"
    """The sender does not know the stream."""
    BELOW_HEAD = "below-head"
    BEYOND_MARK = "beyond-mark"
    COVER = "cover"
    """The keys that came for a reservation do not open, or it is burned."""
    LATE = "late"
    """The sender waits for no answer to a Draw of this name any more."""
    TAKEN = "taken"
    """The sender has a draw of this name open."""


class Purpose(StrEnum):
    """What a range is drawn for, and nothing else (Relay 3.9)."""

    RELAY = "relay"
    """A relay seals with it what it carries over the link."""
    TAGS = "tags"
    """A routing module tags with it what it sends to the neighbour's (Routing 12)."""


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
    """The sender's durable commit number at the last exchange of states, or at its first start since."""
    seen_incarnation: Count
    """The incarnation of the receiver at the last exchange of states that the sender remembers."""
    seen_commit: Count
    """The receiver's commit number then, or the highest that it has shown since."""
    seen_proof: Proof
    """What came with that number (KRP 2.8)."""
    restored: bool
    """The sender knows that its store was restored and has not burned this link's key yet."""
    streams: Annotated[tuple[StreamState, ...], Meta(max_length=MAX_LISTED)]
    unconfirmed: Ids
    """Reservations that the sender holds without knowing that the receiver does."""


class Held(_Message, frozen=True):
    """Which of the receiver's unconfirmed reservations the sender holds (KRP 2.4)."""

    reservations: Ids


class Open(_Message, frozen=True):
    """The owner has opened a key stream at its module of this device pair (KRP 3.1)."""

    stream: Id
    pair: Id
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
    cover: bool
    """Whether the range is to cover the keys, and not to be them (KRP 4.15)."""


class Reserved(_Message, frozen=True):
    """The range of the receiver's Reserve or Ask is durable here (KRP 4.2, 4.4)."""

    reservation: Id


class Ask(_Message, frozen=True):
    """The non-owner asks for a range for one of its own masters (KRP 4.3), from a stream of this policy."""

    reservation: Id
    count: Positive
    key_bytes: Positive
    master: Name
    slaves: Names
    policy: Policy
    cover: bool
    """As in Reserve."""
    priority: Priority
    """What it leaves to others (KRP 4.21)."""


class Grant(_Message, frozen=True):
    """The owner has allocated the range asked for; its Reserved follows when that is durable (KRP 4.4)."""

    reservation: Id
    stream: Id
    start: Count
    length: Positive


class Refuse(_Message, frozen=True):
    """A Reserve or Ask was refused and has changed nothing at the sender (KRP 4.5), or a Cover (KRP 4.18)."""

    reservation: Id
    reason: Reason


class Cover(_Message, frozen=True):
    """The keys of a reservation, under pad and tag of its range (KRP 4.16)."""

    reservation: Id
    sealed: Sealed
    tag: Id
    """Of 16 bytes as well."""

    def __repr__(self) -> str:
        return f"Cover(reservation={self.reservation!r}, <{len(self.sealed)} bytes>)"


class Covered(_Message, frozen=True):
    """The keys of the receiver's Cover are durable here (KRP 4.18)."""

    reservation: Id


class Confirm(_Message, frozen=True):
    """Every site holds these reservations: the master has been answered (KRP 4.6)."""

    reservations: Ids


class Gone(_Message, frozen=True):
    """Nothing of these is held at the slaves' site any more, durably (KRP 4.7)."""

    reservations: Ids


class Skip(_Message, frozen=True):
    """The sender gives up what it has left of this stream below `head` (KRP 3.7)."""

    stream: Id
    head: Count


class Recall(_Message, frozen=True):
    """Keys that were not fetched yet are to be burned (KRP 4.13): these, or all of an SAE, or all of the link."""

    number: Count
    keys: Ids
    sae: Text


class Recalled(_Message, frozen=True):
    """The sender has carried the recall of this number out, durably (KRP 4.13)."""

    number: Count


class Void(_Message, frozen=True):
    """The master's site has given these reservations up (KRP 4.8)."""

    reservations: Ids


class Draw(_Message, frozen=True):
    """The non-owner asks for a range, for a relay or for tags (Relay 3.2 and 3.9)."""

    draw: Id
    """The transfer's ID; of a range for tags, random."""
    length: Positive
    urgent: bool
    """Whether no more is to be left than must be (Relay 3.5)."""
    purpose: Purpose


class Drawn(_Message, frozen=True):
    """The owner has allocated this range, for a relay or for tags (Relay 3.2 and 3.9)."""

    draw: Id
    stream: Id
    start: Count
    length: Positive
    asked: bool
    """Whether it answers a Draw. Else the range is one that the owner drew, and a Draw of this name is another's."""
    purpose: Purpose


class Undrawn(_Message, frozen=True):
    """A Draw, or the range of a Drawn, is not had (Relay 3.4)."""

    draw: Id
    reason: Reason


class Want(_Message, frozen=True):
    """The sender uses, or wants to use, the end-to-end stream of this pair and policy (Relay 2.4)."""

    pair: Id
    policy: Policy
    length: Count
    """How many bytes are to be available on it."""
    urgent: bool
    """Somebody waits for them; else they are to be drawn with patience."""


Message = (
    Hello | Held
    | Open | Mark | Close | Skip
    | Reserve | Reserved | Ask | Grant | Refuse | Cover | Covered | Confirm | Gone | Void
    | Recall | Recalled
    | Draw | Drawn | Undrawn | Want
)  # fmt: skip


class Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What travels at once: both ends' incarnations, the sender's durable commit number, and messages in order."""

    sender: Count
    """Incarnation of the sender."""
    receiver: Count
    """Incarnation of the receiver as the sender knows it; 0 before its Hello."""
    commit: Count
    proof: Proof
    """Opaque to the receiver, which gives it back with the commit number in its next Hello (KRP 2.8)."""
    messages: Annotated[tuple[Message, ...], Meta(max_length=MAX_MESSAGES)] = ()
    """None at all makes the frame a heartbeat."""


_ROOM = MAX_FRAME_BYTES - _FRAME_OVERHEAD
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """Return the frame as MessagePack. Raises `LocalProtocolError` above `MAX_FRAME_BYTES`."""
    data = _encoder.encode(frame)
    if len(data) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"{len(frame.messages)} messages in {len(data)} bytes do not fit into one frame")
    return data


def decode(data: bytes) -> Frame:
    """Return the frame in `data`. Raises `RemoteProtocolError` for anything that is not one whole frame."""
    return decode_frame(_decoder, data, MAX_FRAME_BYTES, SUBPROTOCOL)


def split(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Part `messages` into runs that each fit into one frame, in order."""
    return fitting_runs(messages, _size, _ROOM, MAX_MESSAGES)


def _size(message: Message) -> int:
    size = len(_encoder.encode(message))
    return max(size, _ROOM // MAX_RECALLS) if isinstance(message, Recall) else size


def cover_context(row: ReservationRecord, sender: QksId, receiver: QksId) -> bytes:
    """Return what the tag of a Cover binds besides what is sealed (KRP 4.17)."""
    place = (row.id.value, row.stream.value, row.start, row.count, row.key_bytes)
    return _COVER_CONTEXT + _encoder.encode((*place, row.master, row.slaves, sender, receiver))


def weight(message: Message) -> int:
    """Return how much of a queue's limit `message` takes: one, and one for every reservation that it lists.

    A Cover takes one more for every id's worth of bytes.
    """
    match message:
        case Held() | Confirm() | Gone() | Void():
            return 1 + len(message.reservations)
        case Recall():
            return 1 + len(message.keys)
        case Cover():
            return 1 + len(message.sealed) // 16
        case _:
            return 1
