"""What the parts of a link share, and how the changes of one event become one commit and one frame.

A part changes ledgers and reservations in memory through this state, which notes what was touched. When an event has
been handled, `drain` turns all of it into one `Commit` (with the things to do once that is durable) and one `Send`.
So a frame with thirty reservations costs one commit, and what nobody waits for rides along with a later one. Every
commit writes the row of each stream it touches, and rows count their versions: so commits form a chain, and when one
fails all that build on it fail. Then the link is taken down to what is durable (`Rebuild`): memory never has to be
unwound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile

from qss.core.reservation.events import Commit, Deliver, Effect, Refused, Send
from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.phases import AskPhase
from qss.model.errors import QssError
from qss.model.identifiers import MAX_KEYS_PER_RESERVATION, QksId, ReservationId, SaeId, StreamId
from qss.model.ranges import Range
from qss.model.records import PeerRecord, ReservationRecord
from qss.wire.external import Message


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What a link is told once. Times in seconds."""

    here: QksId
    peer: QksId
    admits: Callable[[SaeId, tuple[SaeId, ...]], bool]
    """Whether the peer may reserve for this master and these slaves (KRP 4.9)."""
    max_reservations: int = 100_000
    """Live reservations at this end, for both sides together."""
    reserved_s: float = 3600.0
    """How long keys wait for their slaves."""
    reply_timeout_s: float = 5.0
    """How long a master waits for the other end."""
    greeting_s: float = 10.0
    """How long the exchange of states may take once a connection stands."""
    retry_s: float = 1.0
    """Pause between attempts to open a key stream."""
    min_key_bytes: int = 8
    """A reservation of the peer with smaller keys is refused; a closed stream with less than this left is burned."""
    max_key_bytes: int = 1 << 17
    """A reservation of the peer with larger keys is refused."""
    max_keys: int = MAX_KEYS_PER_RESERVATION
    """A reservation of the peer with more keys is refused."""
    capacity_bytes: int = 12_500_000
    """Where this end stops taking key from its module: available bytes, over all streams."""

    @property
    def owner(self) -> bool:
        """Whether this end owns the link's key streams: the lower QKS ID does (KRP 1.2)."""
        return self.here < self.peer


@dataclass(slots=True)
class Pending:
    """A master at this end that waits for its keys."""

    deadline: float
    count: int
    key_bytes: int
    master: SaeId
    slaves: tuple[SaeId, ...]
    phase: AskPhase


class LinkState:
    """Ledgers, reservations and waiting masters of one link, and what has been touched since the last commit."""

    def __init__(self, settings: LinkSettings, peer: PeerRecord) -> None:
        self.settings = settings
        self.now = 0.0
        """Seconds of a clock that never steps: for deadlines and pauses."""
        self.wall = 0.0
        """Seconds since the epoch: for what outlives a process."""
        self.peer = peer
        self.ledgers: dict[StreamId, StreamLedger] = {}
        self.rows: dict[ReservationId, ReservationRecord] = {}
        self.pending: dict[ReservationId, Pending] = {}
        self.undurable: dict[ReservationId, int] = {}
        """Reservations whose first row is not durable yet, and the token of its commit."""
        self.reading: dict[ReservationId | int, tuple[tuple[StreamId, Range], ...]] = {}
        """What is being read for a delivery: not to be erased meanwhile."""
        self.exchanged = False
        """The ends have exchanged their state since this process began (KRP 2.6): nothing is delivered before."""
        self.up = False
        """Requests may be made and answered over the connection."""
        self.epoch = 0
        """Counts connections: an answer belongs to the connection on which its question came."""
        self.to_confirm: list[ReservationId] = []
        self.to_acknowledge: list[ReservationId] = []
        self._rows_of: dict[StreamId, dict[ReservationId, None]] = {}
        self._effects: list[Effect] = []
        self._messages: list[Message] = []
        self._next_token = 0
        self._awaited: dict[int, list[Callable[[], None]]] = {}
        self._peer_written = peer
        self._begin_batch()

    def _begin_batch(self) -> None:
        self._touched: dict[StreamId, None] = {}
        self._dropped_streams: list[StreamId] = []
        self._changed_rows: dict[ReservationId, None] = {}
        self._keys: list[tuple[StreamId, int, int]] = []
        self._peer_touched = False
        self._then: list[Callable[[], None]] = []
        self._hurry = False

    # --- what parts say -------------------------------------------------------------------------------------------

    def effect(self, effect: Effect) -> None:
        """Have something done, at once."""
        self._effects.append(effect)

    def send(self, message: Message) -> None:
        """Send a message with the next frame; lost without a trace if there is no connection."""
        self._messages.append(message)

    def answer(self, epoch: int, message: Message) -> None:
        """Answer on the connection that the question came on, or not at all."""
        if epoch == self.epoch and self.up:
            self._messages.append(message)

    def refuse(self, request: ReservationId | int, error: QssError) -> None:
        """Answer an ask with an error."""
        self._effects.append(Refused(request, error))

    def deliver(self, request: ReservationId | int, parts: tuple[tuple[StreamId, Range], ...]) -> None:
        """Answer an ask with key; what it is made of is kept until `Released`."""
        self.reading[request] = parts
        self._effects.append(Deliver(request, parts))

    def touch(self, ledger: StreamLedger) -> None:
        """Write this stream's row with the next commit."""
        self._touched[ledger.stream] = None

    def load_row(self, row: ReservationRecord) -> None:
        """Hold a reservation that is durable already."""
        self.rows[row.id] = row
        self._rows_of.setdefault(row.stream, {})[row.id] = None

    def put_row(self, row: ReservationRecord) -> None:
        """Hold, or change, a reservation."""
        if row.id not in self.rows:
            self.undurable[row.id] = self._next_token
        self.load_row(row)
        self._changed_rows[row.id] = None
        self.touch(self.ledgers[row.stream])

    def drop_row(self, row: ReservationRecord) -> None:
        """Forget a reservation."""
        del self.rows[row.id]
        del self._rows_of[row.stream][row.id]
        self.undurable.pop(row.id, None)
        self._changed_rows[row.id] = None
        self.touch(self.ledgers[row.stream])

    def put_key(self, stream: StreamId, start: int, handle: int) -> None:
        """Store the bytes under `handle` with the next commit."""
        self._keys.append((stream, start, handle))

    def flush_peer(self) -> None:
        """Have what is remembered of the peer written with the next commit, if it has changed."""
        self._peer_touched |= self.peer != self._peer_written

    def put_peer(self, peer: PeerRecord) -> None:
        """Remember something of the peer with the next commit."""
        self.peer = peer
        self._peer_touched = True

    def drop_stream(self, ledger: StreamLedger) -> None:
        """Forget a stream that is used up; its balance lives on in the peer's record."""
        record = ledger.record
        self.put_peer(
            replace(
                self.peer,
                past=self.peer.past + record.tally,
                past_ingested=self.peer.past_ingested + 8 * record.mark,
            )
        )
        del self.ledgers[record.stream]
        self._rows_of.pop(record.stream, None)
        self._touched.pop(record.stream, None)
        self._dropped_streams.append(record.stream)

    def when_durable(self, then: Callable[[], None]) -> None:
        """Commit now, and do something once all that has been touched is durable.

        What nobody waits for is committed with the next commit, or with the next `Tick`.
        """
        self._then.append(then)
        self._hurry = True

    def commit_now(self) -> None:
        """Commit what has been touched without waiting for the next `Tick`."""
        self._hurry = True

    def with_next_commit(self, then: Callable[[], None]) -> None:
        """As `when_durable`, but without hurry."""
        self._then.append(then)

    def rows_of(self, stream: StreamId) -> list[ReservationRecord]:
        """The reservations on one stream."""
        return [self.rows[reservation] for reservation in self._rows_of.get(stream, ())]

    def has_rows(self, stream: StreamId) -> bool:
        """Whether there are reservations on one stream."""
        return bool(self._rows_of.get(stream))

    # --- what the link does with it -------------------------------------------------------------------------------

    def settle(self, token: int) -> None:
        """The commit of this token is durable: do what waited for it."""
        # Tokens stand in the order of their commits, and commits form a chain.
        for reservation, _ in list(takewhile(lambda item: item[1] <= token, self.undurable.items())):
            del self.undurable[reservation]
        for then in self._awaited.pop(token, ()):
            then()

    def drain(self, *, flush: bool) -> list[Effect]:
        """Return what the event came to: a commit if one is waited for (or `flush`), a frame, and all else in order."""
        effects: list[Effect] = []
        touched = bool(self._touched or self._dropped_streams or self._peer_touched or self._then)
        if self._hurry or (flush and touched):
            token = self._next_token
            self._next_token += 1
            freed = [(ledger, ledger.take_freed()) for ledger in map(self.ledgers.__getitem__, self._touched)]
            self._awaited[token] = [*self._then, *(partial(ledger.erasable, parts) for ledger, parts in freed)]
            effects.append(
                Commit(
                    token,
                    tuple(self.ledgers[stream].next_version() for stream in self._touched),
                    tuple(self._dropped_streams),
                    tuple(self.rows[row] for row in self._changed_rows if row in self.rows),
                    tuple(row for row in self._changed_rows if row not in self.rows),
                    tuple(self._keys),
                    self.peer if self.peer != self._peer_written else None,
                )
            )
            self._peer_written = self.peer
            self._begin_batch()
        if self._messages:
            effects.append(Send(tuple(self._messages)))
        effects.extend(self._effects)
        self._messages = []
        self._effects = []
        return effects
