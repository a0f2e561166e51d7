"""What the parts of a link share, and how the changes of one event become one commit and one frame.

A part changes ledgers and reservations in memory through this state, which notes what was touched in a `Batch`. When an
event has been handled, `drain` turns all of it into one `Commit` (with what is to be done once that is durable) and one
`Send`. So a frame with thirty reservations costs one commit, and what nobody waits for rides along with a later one.
One commit is under way at a time, and what is touched meanwhile gathers for the next: so none can become durable whose
predecessor has failed. When one fails, what has gathered is dropped, and the link is taken down to what is durable
(`Rebuild`): memory never has to be unwound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import takewhile
from math import inf

from qss.core.reservation.batch import Batch
from qss.core.reservation.events import CloseSource, Commit, Deliver, Discard, Effect, Refused, Request, Send
from qss.core.reservation.kept_answers import KeptAnswers
from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.phases import AskPhase, DrawPhase
from qss.core.reservation.settings import LinkSettings
from qss.model.answers import AnswerRecord, AskName, KeyRun
from qss.model.errors import QssError
from qss.model.identifiers import ReservationId, SaeId, StreamId, TransferId
from qss.model.ranges import Range, subtract
from qss.model.records import Part, PeerRecord, RecallRecord, ReservationRecord, Side, length_of
from qss.wire.external import Message, Purpose


@dataclass(slots=True)
class Pending:
    """A master at this end that waits for its keys."""

    deadline: float
    count: int
    key_bytes: int
    master: SaeId
    slaves: tuple[SaeId, ...]
    phase: AskPhase
    name: AskName | None = None
    part: Part = Part.WHOLE

    @property
    def length(self) -> int:
        """Bytes of a key stream that it takes."""
        return length_of(self.count, self.key_bytes, self.part)


@dataclass(slots=True)
class OpenDraw:
    """A range that a relay, or a routing module, at this end is to have, or has."""

    own: bool
    """This end drew."""
    purpose: Purpose
    length: int
    phase: DrawPhase
    until: float = inf
    """When it is given up."""
    held: tuple[StreamLedger, Range] | None = None
    """Where it is, once it was allocated."""


class LinkState:
    """Ledgers, reservations, answers and waiting masters of one link; to change them is to have them committed."""

    def __init__(self, settings: LinkSettings, peer: PeerRecord, trouble: QssError | None = None) -> None:
        self.settings = settings
        self.trouble = trouble
        """Why the link is not up, if this end is the reason."""
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
        self.reading: dict[Request, tuple[KeyRun, ...]] = {}
        """What is being read for a delivery: not to be erased meanwhile."""
        self.answers = KeptAnswers()
        """Answers that can be given again; `put_answer` and `drop_answer` change them."""
        self.asking: dict[bytes, Request] = {}
        """The first ask of each name that is being worked on."""
        self.named: dict[Request, AskName] = {}
        """The names of these asks."""
        self.draws: dict[TransferId, OpenDraw] = {}
        """Ranges for relays, until they were used or given up; no row tells of them (Relay 3.3)."""
        self.recalls: dict[int, RecallRecord] = {}
        """Recalls that the peer is not known to have carried out."""
        self.outstanding: Counter[SaeId | tuple[SaeId, SaeId]] = Counter()
        """Keys of this end's masters that slaves have yet to fetch, by master and by pair."""
        self.exchanged = False
        """The ends have exchanged their state since this process began (KRP 2.6): nothing is delivered before."""
        self.up = False
        """Requests may be made and answered over the connection."""
        self.epoch = 0
        """Counts connections: an answer belongs to the connection on which its question came."""
        self.to_confirm: list[ReservationId] = []
        self.dropped: list[ReservationId] = []
        """Reservations of the peer's masters that nothing is held of any more, but for a restart."""
        self.gone: list[ReservationId] = []
        """The same, durably."""
        self._joined: dict[Request, list[Request]] = {}
        self._rows_of: dict[StreamId, dict[ReservationId, None]] = {}
        self._effects: list[Effect] = []
        self._messages: list[Message] = []
        self._next_token = 0
        self._awaited: dict[int, list[Callable[[], None]]] = {}
        self._peer_written = peer
        self._batch = Batch()

    # --- what parts say -------------------------------------------------------------------------------------------

    def effect(self, effect: Effect) -> None:
        """Have something done, at once."""
        self._effects.append(effect)

    def send(self, message: Message) -> None:
        """Send a message with the next frame; lost without a trace if there is no connection."""
        self._messages.append(message)

    @property
    def speaks(self) -> bool:
        """Whether a frame leaves once the event is handled."""
        return bool(self._messages)

    def answer(self, epoch: int, message: Message) -> None:
        """Answer on the connection that the question came on, or not at all."""
        if epoch == self.epoch and self.up:
            self._messages.append(message)

    def refuse(self, request: Request, error: QssError) -> None:
        """Answer an ask, and its repeats, with an error."""
        self._effects.extend(Refused(each, error) for each in self._answered(request))

    def deliver(self, request: Request, keys: tuple[KeyRun, ...]) -> None:
        """Answer an ask, and its repeats, with key; what it is made of is kept until `Released`."""
        for each in self._answered(request):
            self.reading[each] = keys
            self._effects.append(Deliver(each, keys))

    def begin(self, request: Request, name: AskName | None) -> None:
        """Work on an ask: repeats of its name join it."""
        if name is not None:
            self.asking[name.digest] = request
            self.named[request] = name

    def join(self, first: Request, repeat: Request) -> None:
        """Let a repeat have the answer of the first."""
        self._joined.setdefault(first, []).append(repeat)

    def _answered(self, request: Request) -> tuple[Request, ...]:
        name = self.named.pop(request, None)
        if name is not None:
            del self.asking[name.digest]
        return (request, *self._joined.pop(request, ()))

    def close_source(self, ledger: StreamLedger) -> None:
        """Have an open stream ended at its module."""
        if ledger.pair is not None:
            self._effects.append(CloseSource(ledger.pair, ledger.stream))

    def touch(self, ledger: StreamLedger) -> None:
        """Write this stream's row with the next commit."""
        self._batch.touch(ledger)

    def load_row(self, row: ReservationRecord) -> None:
        """Hold a reservation that is durable already."""
        before = self.rows.get(row.id)
        if before is None and row.side is Side.MASTER:
            self.count_outstanding(row.master, row.slaves, row.count)
        self.rows[row.id] = row
        self._rows_of.setdefault(row.stream, {})[row.id] = None

    def put_row(self, row: ReservationRecord) -> None:
        """Hold, or change, a reservation."""
        if row.id not in self.rows:
            self.undurable[row.id] = self._next_token
        self.load_row(row)
        self._batch.put_row(row)
        self.touch(self.ledgers[row.stream])

    def count_outstanding(self, master: SaeId, slaves: tuple[SaeId, ...], keys: int) -> None:
        """Count the keys of a request, until the last of them is gone at the slaves' site."""
        pairs = [(master, slave) for slave in slaves]
        parties: list[SaeId | tuple[SaeId, SaeId]] = [master, *pairs]
        for party in parties:
            self.outstanding[party] += keys
            if not self.outstanding[party]:
                del self.outstanding[party]

    def drop_row(self, row: ReservationRecord) -> None:
        """Forget a reservation. Its master's site hears of it, if that is the peer's."""
        del self.rows[row.id]
        if row.side is Side.MASTER:
            self.count_outstanding(row.master, row.slaves, -row.count)
        elif self.up:
            self.dropped.append(row.id)
        del self._rows_of[row.stream][row.id]
        self.undurable.pop(row.id, None)
        self._batch.drop_row(row.id)
        self.touch(self.ledgers[row.stream])

    def free(self, row: ReservationRecord, parts: Iterable[Range]) -> None:
        """Note that no slave needs these bytes of a reservation any more, but where an answer keeps them."""
        kept = self.answers.bytes_of(row.id)
        self.ledgers[row.stream].free(piece for part in parts for piece in subtract(part, kept))

    # --- answers and recalls --------------------------------------------------------------------------------------

    def put_answer(self, record: AnswerRecord) -> None:
        """Hold an answer, and its bytes."""
        self.answers.put(record)
        self._batch.put_answer(record)
        self._touch_streams_of(record)

    def drop_answer(self, record: AnswerRecord) -> None:
        """Forget an answer; its bytes are free, but where somebody else needs them."""
        self.answers.drop(record)
        for run in record.keys:
            needed = self.answers.bytes_of(run.reservation)
            row = self.rows.get(run.reservation)
            if row is not None and row.side is Side.SLAVE:
                needed += row.unfetched()
            self.ledgers[run.stream].free(subtract(run.range, needed))
        self._batch.drop_answer(record.name.digest)
        self._touch_streams_of(record)

    def _touch_streams_of(self, record: AnswerRecord) -> None:
        for run in record.keys:
            self.touch(self.ledgers[run.stream])

    def put_recall(self, record: RecallRecord) -> None:
        """Hold a recall until the peer has carried it out."""
        self.recalls[record.number] = record
        self._batch.put_recall(record)

    def drop_recall(self, number: int) -> None:
        """Forget a recall."""
        if self.recalls.pop(number, None) is not None:
            self._batch.drop_recall(number)

    # --- the rest -------------------------------------------------------------------------------------------------

    def put_key(self, stream: StreamId, start: int, handle: int) -> None:
        """Store the bytes under `handle` with the next commit."""
        self._batch.put_key(stream, start, handle)

    def flush_peer(self) -> None:
        """Have what is remembered of the peer written with the next commit, if it has changed."""
        if self.peer != self._peer_written:
            self._batch.touch_peer()

    def put_peer(self, peer: PeerRecord) -> None:
        """Remember something of the peer with the next commit."""
        self.peer = peer
        self._batch.touch_peer()

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
        self._batch.drop_stream(record.stream)

    def when_durable(self, then: Callable[[], None]) -> None:
        """Commit now, and do something once all that has been touched is durable.

        What nobody waits for is committed with the next commit, or with the next `Tick`.
        """
        self._batch.wait(then)
        self._batch.in_a_hurry = True

    def with_next_commit(self, then: Callable[[], None]) -> None:
        """As `when_durable`, but without hurry."""
        self._batch.wait(then)

    def rows_of(self, stream: StreamId) -> list[ReservationRecord]:
        """The reservations on one stream."""
        return [self.rows[reservation] for reservation in self._rows_of.get(stream, ())]

    def is_needed(self, stream: StreamId) -> bool:
        """Whether there are reservations on one stream, or answers to be given again, or key of it is being read.

        Relays read what was drawn for them.
        """
        return (
            bool(self._rows_of.get(stream))
            or self.answers.has_any_in(stream)
            or any(run.stream == stream for keys in self.reading.values() for run in keys)
            or any(draw.held is not None and draw.held[0].stream == stream for draw in self.draws.values())
        )

    # --- what the link does with it -------------------------------------------------------------------------------

    def settle(self, token: int) -> None:
        """The commit of this token is durable: do what waited for it."""
        for reservation, _ in list(takewhile(lambda item: item[1] <= token, self.undurable.items())):
            del self.undurable[reservation]
        for then in self._awaited.pop(token, ()):
            then()

    def commit_now(self) -> None:
        """Commit what has changed, if anything has, though nobody waits for it."""
        self._batch.in_a_hurry |= bool(self._batch)

    def forget_gathered(self) -> None:
        """Let nothing of what has gathered since the last commit become durable."""
        self._effects.extend(Discard(handle) for handle in self._batch.handles())
        self._batch = Batch()

    def drain(self) -> list[Effect]:
        """Return what the event came to: a frame, a commit if one is waited for, and all else in order.

        The frame is first: the other end can work while this one's disk does.
        """
        effects: list[Effect] = [Send(tuple(self._messages))] if self._messages else []
        if self._batch.in_a_hurry and not self._awaited:
            effects.append(self._commit())
        effects.extend(self._effects)
        self._messages = []
        self._effects = []
        return effects

    def _commit(self) -> Commit:
        token = self._next_token
        self._next_token += 1
        commit, self._awaited[token] = self._batch.made(token, self.peer if self.peer != self._peer_written else None)
        self._peer_written = self.peer
        self._batch = Batch()
        return commit
