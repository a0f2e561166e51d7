"""What happens to a routing module's core, and what it wants done. All of it is plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qss.model.identifiers import QksId, SaeId, StreamId
from qss.model.network import Load
from qss.model.ranges import Range
from qss.wire.routing import Key, Message

# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """A mutually authenticated connection to this neighbour's RM stands. An older one has ended before."""

    peer: QksId


@dataclass(frozen=True, slots=True)
class Disconnected:
    """It has ended."""

    peer: QksId


@dataclass(frozen=True, slots=True)
class Received:
    """A message came from this neighbour."""

    peer: QksId
    message: Message


@dataclass(frozen=True, slots=True)
class Broke:
    """What this neighbour sent was against the protocol: its connection is about to be ended."""

    peer: QksId


@dataclass(frozen=True, slots=True)
class SaesAtHome:
    """These SAEs are at home here, each with the authority's statement of that, if there is one."""

    saes: Mapping[SaeId, bytes | None]


@dataclass(frozen=True, slots=True)
class LinksUp:
    """These links of the site work, each with its load now. Others do not."""

    loads: Mapping[QksId, Load]


@dataclass(frozen=True, slots=True)
class TagKeyCame:
    """A range of key of the link is here, to tag with (`own`), or to check what the neighbour tags (Routing 12.3)."""

    peer: QksId
    stream: StreamId
    part: Range
    own: bool


@dataclass(frozen=True, slots=True)
class NoTagKey:
    """The range that `DrawTagKey` asked for is not had."""

    peer: QksId


@dataclass(frozen=True, slots=True)
class Leave:
    """The site is about to stop."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Connected | Disconnected | Received | Broke | SaesAtHome | LinksUp | TagKeyCame | NoTagKey | Leave | Tick

# --- effects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send these messages to a neighbour, in order."""

    peer: QksId
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connection to a neighbour; `Disconnected` follows."""

    peer: QksId
    reason: str


class Reason(StrEnum):
    """Why something that a neighbour sent was dropped (Routing 6.2 and 10)."""

    PROTOCOL = "protocol"
    """It was against the protocol, and ended the connection."""
    MALFORMED = "malformed"
    """The body of an LSA could not be read, or contradicted itself."""
    SIGNATURE = "signature"
    """It was not signed by its origin."""
    UNCHECKED = "unchecked"
    """Too many with false signatures came before it: it was not looked at."""
    ORIGINS = "too-many-origins"
    ROOM = "too-much"
    """Its origin has told as many LSAs, or bytes, as there is room for; or all origins together have."""
    RATE = "too-often"
    SUMMARIES = "too-many-summaries"
    TAG = "tag"
    """It had no tag that is good, or the neighbour does not tag: that has ended the connection (Routing 12)."""
    EXPIRED = "expired"
    LAST = "last-version"
    """It is an LSA of the receiver itself that nothing can be said after."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that this neighbour sent was dropped. `key` None: it was no LSA, or could not be read."""

    peer: QksId
    reason: Reason
    key: Key | None


class Happening(StrEnum):
    """What an operator wants to know of a neighbour."""

    FULL = "full"
    """Its adjacency has become full."""
    NOT_FULL = "not-full"
    """It is full no more."""
    RESYNC = "resync"
    """Its database went on differing from this one, so all was told again (Routing 4.6)."""
    RETRANSMISSION = "retransmission"
    """It has not acknowledged an LSA in time (Routing 6.3)."""
    TAG_KEY_SHORT = "tag-key-short"
    """What has to be tagged waits for key of the link (Routing 12.7)."""
    OUTDONE = "outdone"
    """It sent an LSA of this site that this module has not said, or not in this life (Routing 7.3)."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something has happened with this neighbour."""

    peer: QksId
    what: Happening


@dataclass(frozen=True, slots=True)
class Untold:
    """Of these SAEs at home here no LSA can tell, for lack of room, or because others could not read it.

    They are others than before; empty: all are told again.
    """

    saes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableChanged:
    """Ways or homes may not be what they were: have the table calculated once what is to be sent has been sent."""


@dataclass(frozen=True, slots=True)
class DrawTagKey:
    """Draw a range of the link's key to tag with; answered by `TagKeyCame` or `NoTagKey` (Routing 12.3)."""

    peer: QksId


@dataclass(frozen=True, slots=True)
class ForgetTagKey:
    """A range that came is not used any more: forget its key."""

    peer: QksId
    stream: StreamId
    part: Range
    own: bool


Effect = Send | Disconnect | Dropped | Untold | Happened | TableChanged | DrawTagKey | ForgetTagKey
Effects = tuple[Effect, ...]
