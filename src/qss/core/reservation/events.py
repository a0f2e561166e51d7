"""What can happen to a link (events) and what it wants done (effects): plain values.

Those of relays are in `relay_events`, those of requests for slaves at several sites in `part_events`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qss.core.reservation.part_events import Abandon as Abandon
from qss.core.reservation.part_events import Conclude as Conclude
from qss.core.reservation.part_events import CoverFailed as CoverFailed
from qss.core.reservation.part_events import CoverMade as CoverMade
from qss.core.reservation.part_events import CoverOpened as CoverOpened
from qss.core.reservation.part_events import OpenCover as OpenCover
from qss.core.reservation.part_events import PartCovered as PartCovered
from qss.core.reservation.part_events import PartReady as PartReady
from qss.core.reservation.part_events import PartsRecalled as PartsRecalled
from qss.core.reservation.relay_events import Draw as Draw
from qss.core.reservation.relay_events import DrawEnded as DrawEnded
from qss.core.reservation.relay_events import DrawFailed as DrawFailed
from qss.core.reservation.relay_events import DrawFailure as DrawFailure
from qss.core.reservation.relay_events import DrawReady as DrawReady
from qss.core.reservation.relay_events import KeyRelayed as KeyRelayed
from qss.core.reservation.relay_events import Want as Want
from qss.core.reservation.relay_events import Wanted as Wanted
from qss.model.answers import AnswerRecord, AskName, KeyRun
from qss.model.errors import QssError
from qss.model.identifiers import KeyId, PairId, ReservationId, SaeId, StreamId
from qss.model.keys import Priority
from qss.model.ranges import Range
from qss.model.records import Part, PeerRecord, RecallRecord, ReservationRecord, Scope, StreamRecord
from qss.wire.external import Frame, Message

Request = ReservationId | int
"""What names an ask while it is answered."""

# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """A mutually authenticated connection to the peer stands."""

    commit_number: int
    """How far this site's store has come; everything that was sent before said so much or less."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection has ended."""


@dataclass(frozen=True, slots=True)
class Received:
    """A frame came from the peer."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Reserve:
    """A master at this end wants `count` keys of `key_bytes` bytes. Answered by `Deliver` or `Refused`.

    The part of one of several sites is answered by `PartReady` before that, unless it repeats what was asked before.
    """

    reservation: ReservationId
    count: int
    key_bytes: int
    master: SaeId
    slaves: tuple[SaeId, ...]
    name: AskName | None = None
    policy: str = ""
    """Of the streams that the keys may come from (`StreamRecord.policy`)."""
    part: Part = Part.WHOLE
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Fetch:
    """A slave at this end wants keys by their IDs, all or none. Answered by `Deliver` or `Refused`."""

    request: int
    caller: SaeId
    master: SaeId
    key_ids: tuple[KeyId, ...]
    name: AskName | None = None


@dataclass(frozen=True, slots=True)
class Recall:
    """An administrator recalls keys that are not fetched yet. Answered by `Recalled` or `Refused`."""

    request: int
    scope: Scope
    passed_on: bool = False
    """Made because another link's keys were recalled: those who hold the same keys have been told already."""


@dataclass(frozen=True, slots=True)
class Released:
    """The bytes of the `Deliver`, or `PartReady`, to this request have been read, or never will be."""

    request: Request


@dataclass(frozen=True, slots=True)
class SourceAttached:
    """This end's module of a device pair can be asked for key streams from now on.

    `policy` is that of a module whose device is the relay (Relay 6.1).
    """

    pair: PairId
    policy: str = ""


@dataclass(frozen=True, slots=True)
class SourceDetached:
    """This end's module of a device pair is asked for no more; `reason` is for the log."""

    pair: PairId
    reason: str


@dataclass(frozen=True, slots=True)
class SourceOpened:
    """The module of this pair has opened (or joined) this key stream. One that it had open before is about to end."""

    pair: PairId
    stream: StreamId
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """The module yields no more of this stream, and all it gave was passed on. None: it could not open one."""

    pair: PairId
    stream: StreamId | None


@dataclass(frozen=True, slots=True)
class KeyArrived:
    """The next `length` bytes of a stream wait under `handle`."""

    stream: StreamId
    handle: int
    length: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit of this token is durable."""

    token: int


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The commit of this token was refused: nothing of it is durable."""

    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class EraseFailed:
    """An `Erase` could not be carried out; it is asked for again."""

    stream: StreamId
    parts: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class KeyUnreadable:
    """These stored bytes cannot be read: damaged, or gone. Of what is not allocated, none below `beyond` is tried."""

    stream: StreamId
    part: Range
    beyond: int


@dataclass(frozen=True, slots=True)
class StoreRestored:
    """This site's store turned out to be a restored back-up: nothing may be used before that is noted durably."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; comes several times a second."""


Event = (
    Connected
    | Disconnected
    | Received
    | Reserve
    | Fetch
    | Recall
    | Released
    | CoverMade
    | Conclude
    | Abandon
    | CoverOpened
    | CoverFailed
    | Draw
    | DrawEnded
    | Want
    | KeyRelayed
    | SourceAttached
    | SourceDetached
    | SourceOpened
    | SourceEnded
    | KeyArrived
    | Committed
    | CommitFailed
    | EraseFailed
    | KeyUnreadable
    | StoreRestored
    | Tick
)

# --- effects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Commit:
    """Make all of this durable, or nothing; answered by `Committed` or `CommitFailed`.

    `keys` are (stream, start, handle): bytes to be stored from `start`.
    """

    token: int
    streams: tuple[StreamRecord, ...] = ()
    dropped_streams: tuple[StreamId, ...] = ()
    reservations: tuple[ReservationRecord, ...] = ()
    dropped_reservations: tuple[ReservationId, ...] = ()
    keys: tuple[tuple[StreamId, int, int], ...] = ()
    answers: tuple[AnswerRecord, ...] = ()
    dropped_answers: tuple[bytes, ...] = ()
    recalls: tuple[RecallRecord, ...] = ()
    dropped_recalls: tuple[int, ...] = ()
    peer: PeerRecord | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send these messages to the peer, in order, in one frame."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connection; `reason` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenSource:
    """Open a new key stream at the module of this pair (`stream` None), or join the peer's."""

    pair: PairId
    stream: StreamId | None = None
    chunk_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CloseSource:
    """End the stream at the module; `SourceEnded` follows when all it gave has been passed on."""

    pair: PairId
    stream: StreamId


@dataclass(frozen=True, slots=True)
class PairAbsent:
    """The peer has opened a stream of a pair of which no module is attached here, and it was closed: tell people."""

    pair: PairId


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget the bytes under this handle: their stream is closed."""

    handle: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Read these keys and give them to whoever asked; durable already. `request` names the ask."""

    request: Request
    keys: tuple[KeyRun, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The ask named by `request` gets this error."""

    request: Request
    error: QssError


@dataclass(frozen=True, slots=True)
class Recalled:
    """A recall is durable here, and the peer has been told or will be. `bits` were burned at this end."""

    request: Request
    bits: int


@dataclass(frozen=True, slots=True)
class PeerRecalled:
    """The peer has recalled keys: `bits` were burned at this end. For the record."""

    scope: Scope
    bits: int


@dataclass(frozen=True, slots=True)
class PairForbidden:
    """The peer was refused keys for these, because no rule of this site allows them: tell people."""

    master: SaeId
    slaves: tuple[SaeId, ...]


@dataclass(frozen=True, slots=True)
class Erase:
    """Erase these bytes: used or burned, and needed by nobody."""

    stream: StreamId
    parts: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class RestoreNoticed:
    """The peer knows a later state of this site's store: it was restored, and all key of this link is in doubt.

    Note durably that it must burn (and so must all links, if the proof holds), then make a new `Link`.
    """

    incarnation: int
    """This site's, as the peer remembers it."""
    commit_number: int
    """The commit number that the peer remembers of it."""
    proof: bytes
    """What the peer had with it: whether this site told it that number (KRP 2.8)."""


@dataclass(frozen=True, slots=True)
class BurnedRestored:
    """One end's store was restored, so everything that this end had available or reserved was burned: tell people."""

    bits: int


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Memory cannot be relied upon. Make a new `Link` from what is durable, once no commit is under way."""

    reason: str


Effect = (
    Commit
    | Send
    | Disconnect
    | OpenSource
    | CloseSource
    | PairAbsent
    | Discard
    | Deliver
    | Refused
    | Recalled
    | PeerRecalled
    | PartReady
    | PartCovered
    | OpenCover
    | PartsRecalled
    | PairForbidden
    | DrawReady
    | DrawFailed
    | Wanted
    | Erase
    | RestoreNoticed
    | BurnedRestored
    | Rebuild
)
Effects = Sequence[Effect]
