"""The state machine of one link's connection, and the one place that dispatches events.

The states are in `phases`. A message that its state does not allow, and a frame of another incarnation, is the peer's
fault: the link asks to be disconnected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import batched
from typing import assert_never

from qss.core.reservation import events as ev
from qss.core.reservation.allocation import key_count
from qss.core.reservation.answers import Answers
from qss.core.reservation.asking import Asking
from qss.core.reservation.erasing import Erasing
from qss.core.reservation.fetching import Fetching
from qss.core.reservation.holding import Holding
from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.losses import Losses
from qss.core.reservation.phases import LinkPhase, LinkStep, link_after
from qss.core.reservation.recalls import Recalls
from qss.core.reservation.recovery import Recovery
from qss.core.reservation.settings import LinkSettings
from qss.core.reservation.state import LinkState
from qss.core.reservation.streams import Streams
from qss.model.answers import AnswerRecord, AskName
from qss.model.errors import (
    InvalidIdentifier,
    PeerUnavailable,
    QssError,
    RemoteProtocolError,
    StoreUnavailable,
)
from qss.model.identifiers import SaeId, StreamId
from qss.model.records import PeerRecord, RecallRecord, ReservationRecord, Side, StreamRecord
from qss.wire import external as wire

_REMEMBER_S = 10.0
"""How long what is remembered of the peer may wait for a commit to ride along with."""

_ALLOWED: dict[LinkPhase, tuple[type, ...]] = {
    LinkPhase.WAITING: (wire.Hello,),
    LinkPhase.GREETING: (wire.Hello,),
    LinkPhase.COMPARING: (wire.Held,),
    LinkPhase.SETTLING: (wire.Held,),
    LinkPhase.UP: (
        wire.Open,
        wire.Mark,
        wire.Close,
        wire.Skip,
        wire.Reserve,
        wire.Reserved,
        wire.Ask,
        wire.Grant,
        wire.Refuse,
        wire.Confirm,
        wire.Gone,
        wire.Void,
        wire.Recall,
        wire.Recalled,
    ),
}


class Link:
    """One link at one end. `handle` is its only way in, effects its only way out; queries change nothing."""

    def __init__(
        self,
        settings: LinkSettings,
        incarnation: int,
        streams: tuple[StreamRecord, ...] = (),
        reservations: tuple[ReservationRecord, ...] = (),
        peer: PeerRecord | None = None,
        answers: tuple[AnswerRecord, ...] = (),
        recalls: tuple[RecallRecord, ...] = (),
        trouble: QssError | None = None,
    ) -> None:
        """Begin from what is durable. `trouble` ended the link before: asks hear of it until this one is up."""
        self.incarnation = incarnation
        self.phase = LinkPhase.DOWN
        self._state = LinkState(settings, peer or PeerRecord(settings.peer), trouble)
        self._answers = Answers(self._state)
        self._asking = Asking(self._state, self._answers)
        self._holding = Holding(self._state)
        self._fetching = Fetching(self._state, self._answers)
        self._recalls = Recalls(self._state, self._answers, self._holding.burn_keys)
        self._losses = Losses(self._state, self._answers, self._holding.burn_keys)
        self._erasing = Erasing(self._state)
        self._streams = Streams(self._state)
        self._recovery = Recovery(
            self._state,
            incarnation,
            self._holding.confirm,
            self._holding.burn_unfetched,
            self._asking.burn_delivered,
            self._answers.forget,
            self._recalls.forget_all,
        )
        self._mine: wire.Hello | None = None
        self._early: wire.Hello | None = None
        self._early_held: wire.Held | None = None
        self._commit_number = 0
        self._greet_by = 0.0
        self._remember_at = 0.0
        self._at_fault = False
        """The peer has broken the protocol on this connection."""
        self._told = (0, b"")
        """The peer's commit number and proof in the frame that came last."""
        self._hello_commit = 0
        self._peer_incarnation = 0
        self._failure: QssError = StoreUnavailable("the link has not failed")
        self._load(streams, reservations, answers, recalls)

    def _load(
        self,
        streams: tuple[StreamRecord, ...],
        reservations: tuple[ReservationRecord, ...],
        answers: tuple[AnswerRecord, ...],
        recalls: tuple[RecallRecord, ...],
    ) -> None:
        """Begin from what is durable. Modules' sessions do not outlive a link: its streams take no more key."""
        for record in streams:
            ledger = StreamLedger(replace(record, closed=True))
            ledger.check()
            self._state.ledgers[record.stream] = ledger
        for row in reservations:
            self._state.load_row(row)
        for answer in answers:
            self._state.answers.put(answer)
        self._state.recalls = {recall.number: recall for recall in recalls}
        for ledger in self._state.ledgers.values():
            rows = [row for row in self._state.rows_of(ledger.stream) if row.side is Side.SLAVE]
            unfetched = [part for row in rows for part in row.unfetched()]
            ledger.erasable_except([*unfetched, *self._state.answers.bytes_in(ledger.stream)])

    # --- the way in -----------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float, wall: float) -> ev.Effects:
        """Take in what happened and return what is to be done, in order.

        `now` is in seconds of a clock that never steps, `wall` in seconds since the epoch. An exception is a defect:
        what is in memory may be half changed then, and what is durable is whole.
        """
        self._state.now, self._state.wall = now, wall
        if self.phase is LinkPhase.FAILED:
            return self._handle_failed(event)
        self._dispatch(event)
        self._gather_confirmations()
        if isinstance(event, ev.Tick):
            self._state.commit_now()
        return self._state.drain()

    def _dispatch(self, event: ev.Event) -> None:
        match event:
            case ev.Connected(commit_number):
                self._connected(commit_number)
            case ev.Disconnected():
                self._disconnected()
            case ev.Received(frame):
                self._received(frame)
            case ev.Reserve():
                self._asking.reserve(event)
            case ev.Fetch():
                self._fetching.fetch(event)
            case ev.Recall():
                self._recalls.recall(event)
            case ev.Released(request):
                self._state.reading.pop(request, None)
            case ev.SourceOpened():
                self._streams.source_opened(event)
            case ev.SourceEnded():
                self._streams.source_ended(event)
            case ev.KeyArrived():
                self._streams.key_arrived(event)
            case ev.Committed(token):
                self._committed(token)
            case ev.CommitFailed(_, reason):
                self._commit_failed(reason)
            case ev.EraseFailed():
                self._erasing.failed(event)
            case ev.KeyUnreadable():
                self._losses.unreadable(event)
            case ev.StoreRestored():
                self._store_restored()
            case ev.Tick():
                self._tick()
            case _:
                assert_never(event)

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> LinkSettings:
        """What the link was told."""
        return self._state.settings

    @property
    def up(self) -> bool:
        """Whether keys can be reserved now."""
        return self._state.up

    @property
    def peer_incarnation(self) -> int:
        """The peer's incarnation on this connection; 0 before its Hello."""
        return self._peer_incarnation

    @property
    def may_prove(self) -> bool:
        """Whether frames may carry proofs: from Held on (KRP 2.8)."""
        return self.phase in (LinkPhase.SETTLING, LinkPhase.UP)

    @property
    def peer(self) -> PeerRecord:
        """What is remembered of the peer."""
        return self._state.peer

    @property
    def streams(self) -> tuple[StreamRecord, ...]:
        """The streams' rows, as they are in memory."""
        return tuple(ledger.record for ledger in self._state.ledgers.values())

    @property
    def reservations(self) -> tuple[ReservationRecord, ...]:
        """The reservations' rows, as they are in memory."""
        return tuple(self._state.rows.values())

    def key_count(self, key_bytes: int) -> int:
        """Keys of this size that could be reserved one by one now."""
        return key_count(self._state, key_bytes)

    @property
    def trouble(self) -> QssError | None:
        """What keeps the link from working at this end, if anything does."""
        return self._failure if self.phase is LinkPhase.FAILED else self._state.trouble

    def knows(self, name: AskName) -> bool:
        """Whether an ask under this name would be a repeat."""
        return name.digest in self._state.asking or name.digest in self._state.answers

    def outstanding(self, party: SaeId | tuple[SaeId, SaeId]) -> int:
        """Keys that slaves have yet to fetch, of a master at this end, or of it and one slave; as far as known here."""
        return self._state.outstanding[party]

    def wants_key(self, stream: StreamId) -> bool:
        """Whether more of this stream may be pulled from the module now."""
        return self.phase is not LinkPhase.FAILED and self._streams.wants_key(stream)

    # --- the connection -------------------------------------------------------------------------------------------

    def _connected(self, commit_number: int) -> None:
        self.phase = link_after(self.phase, LinkStep.CONNECTED)
        self._commit_number = commit_number
        self._greet_by = self._state.now + self._state.settings.greeting_s
        self._at_fault = False
        self._state.epoch += 1
        self._greet_when_settled()

    def _disconnected(self) -> None:
        state = self._state
        self.phase = link_after(self.phase, LinkStep.DISCONNECTED)
        state.up = False
        self._mine = self._early = self._early_held = None
        self._peer_incarnation = 0
        state.to_confirm.clear()
        state.gone.clear()
        self._asking.abandon_all(
            PeerUnavailable(f"the connection to site {state.settings.peer} was lost; nothing was delivered; try again")
        )

    def _greet_when_settled(self) -> None:
        if self.phase is not LinkPhase.WAITING or self._state.undurable:
            return
        self.phase = link_after(self.phase, LinkStep.SETTLED)
        self._mine = self._recovery.greet()
        self._state.send(self._mine)
        if self._early is not None:
            with self._disconnecting_on_fault():
                self._hello(self._early)

    def _hello(self, hello: wire.Hello) -> None:
        if self.phase is LinkPhase.WAITING:
            if self._early is not None:
                raise RemoteProtocolError("a second Hello came")
            self._early = hello
            return
        assert self._mine is not None
        if self._recovery.in_doubt(self._mine, self._commit_number, hello, self._hello_commit):
            return  # whoever has forgotten something comes again, and says so
        held = self._recovery.compare(self._mine, hello, self._commit_number)
        self._peer_incarnation = hello.incarnation
        self.phase = link_after(self.phase, LinkStep.HELLO)
        # The peer remembers this end's numbers from Held on, so the note that it does comes first (KRP 2.4).
        self._state.when_durable(partial(self._compared, self._state.epoch, held))

    def _compared(self, epoch: int, held: wire.Held) -> None:
        if epoch != self._state.epoch or self.phase is not LinkPhase.COMPARING:
            return
        self.phase = link_after(self.phase, LinkStep.COMPARED)
        self._state.send(held)
        if self._early_held is not None:
            with self._disconnecting_on_fault():
                self._held(self._early_held)

    def _held(self, held: wire.Held) -> None:
        assert self._mine is not None
        if self.phase is LinkPhase.COMPARING:
            if self._early_held is not None:
                raise RemoteProtocolError("a second Held came")
            self._early_held = held
            return
        self._recovery.settle(self._mine, held)
        self.phase = link_after(self.phase, LinkStep.HELD)
        state = self._state
        commit_seen, proof = self._told
        state.put_peer(
            replace(state.peer, incarnation=self._peer_incarnation, commit_seen=commit_seen, commit_proof=proof)
        )
        state.up = state.exchanged = True
        state.trouble = None
        # KRP 2.6: what the exchange changed does not wait for the next tick
        masters = [row.id for row in state.rows.values() if row.side is Side.MASTER]
        state.when_durable(partial(state.to_confirm.extend, masters))
        self._recalls.tell_all()
        self._streams.announce_marks()
        self._streams.tidy()

    def _received(self, frame: wire.Frame) -> None:
        if self._at_fault:
            return  # the connection is about to end
        with self._disconnecting_on_fault():
            self._check_incarnations(frame)
            self._remember(frame)
            for message in frame.messages:
                self._take(message)

    @contextmanager
    def _disconnecting_on_fault(self) -> Iterator[None]:
        """Take what the peer does wrong as a reason to end the connection."""
        try:
            yield
        except (RemoteProtocolError, InvalidIdentifier) as error:
            self._at_fault = True
            self._state.effect(ev.Disconnect(str(error)))

    def _take(self, message: wire.Message) -> None:
        if not isinstance(message, _ALLOWED.get(self.phase, ())):
            raise RemoteProtocolError(f"{type(message).__name__} came while the link was {self.phase}")
        match message:
            case wire.Hello():
                self._hello(message)
            case wire.Held():
                self._held(message)
            case wire.Open():
                self._streams.peer_opens(message)
            case wire.Mark():
                self._streams.peer_marks(message)
            case wire.Close():
                self._streams.peer_closes(message)
            case wire.Skip():
                self._streams.peer_skips(message)
            case wire.Reserve():
                self._holding.peer_reserves(message)
            case wire.Reserved():
                self._asking.reserved(message)
            case wire.Ask():
                self._holding.peer_asks(message)
            case wire.Grant():
                self._asking.granted(message)
            case wire.Refuse():
                self._asking.refused(message)
            case wire.Confirm():
                self._holding.peer_confirms(message)
            case wire.Gone():
                self._asking.gone(message)
            case wire.Void():
                self._holding.peer_voids(message)
            case wire.Recall():
                self._recalls.peer_recalls(message)
            case wire.Recalled():
                self._recalls.carried_out(message)
            case _:
                assert_never(message)

    def _remember(self, frame: wire.Frame) -> None:
        """Note how far the peer's store has come; it becomes durable with what is committed next, or soon."""
        self._told = (frame.commit, frame.proof)
        if any(isinstance(message, wire.Hello) for message in frame.messages):
            self._hello_commit = frame.commit
        peer = self._state.peer
        if self._state.up and frame.commit > peer.commit_seen:
            self._state.peer = replace(peer, commit_seen=frame.commit, commit_proof=frame.proof)

    def _check_incarnations(self, frame: wire.Frame) -> None:
        """Refuse what was meant for, or comes from, another incarnation (KRP 1.4)."""
        greeting = [message for message in frame.messages if isinstance(message, wire.Hello)]
        if greeting or (self._early is not None and self._peer_incarnation == 0):
            sender = (greeting[0] if greeting else self._early).incarnation  # type: ignore[union-attr]
        else:
            sender = self._peer_incarnation
        answers = len(frame.messages) > len(greeting)
        if frame.sender != sender or frame.receiver not in ({self.incarnation} if answers else {0, self.incarnation}):
            raise RemoteProtocolError("a frame of another incarnation came, or one before its Hello")

    # --- the store ------------------------------------------------------------------------------------------------

    def _committed(self, token: int) -> None:
        self._state.settle(token)
        self._greet_when_settled()

    def _commit_failed(self, reason: str) -> None:
        # Why is for the operator, in the log by Rebuild: it names files of this machine.
        error = StoreUnavailable(
            "this site's store refuses to write; nothing was delivered; try again later, or tell this site's operator"
        )
        self._fail(LinkStep.COMMIT_FAILED, error, "the store refused a commit", reason)

    def _store_restored(self) -> None:
        error = StoreUnavailable(
            "this site's store was restored from a back-up; nothing was delivered; try again in a few seconds"
        )
        self._fail(LinkStep.STORE_RESTORED, error, "the store was restored from a back-up", "it was restored")

    def _fail(self, step: LinkStep, error: QssError, farewell: str, reason: str) -> None:
        """Refuse everything, now and until the runtime has made a new `Link`."""
        self._failure = error
        self._asking.abandon_all(error)
        self._fetching.abandon_all(error)
        self._recalls.abandon_all(error)
        connected = self.phase is not LinkPhase.DOWN
        self.phase = link_after(self.phase, step)
        self._state.up = self._state.exchanged = False
        if connected:
            self._state.effect(ev.Disconnect(farewell))
        self._state.effect(ev.Rebuild(reason))

    def _handle_failed(self, event: ev.Event) -> ev.Effects:
        match event:
            case ev.Reserve():
                return (ev.Refused(event.reservation, self._failure),)
            case ev.Fetch():
                return (ev.Refused(event.request, self._failure),)
            case ev.Recall():
                return (ev.Refused(event.request, self._failure),)
            case ev.KeyArrived():
                return (ev.Discard(event.handle),)
            case ev.SourceOpened():
                return (ev.CloseSource(event.stream),)
            case _:
                return ()

    # --- time -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if (
            self.phase not in (LinkPhase.DOWN, LinkPhase.UP)
            and not self._at_fault
            and self._greet_by <= self._state.now
        ):
            self._at_fault = True
            self._state.effect(ev.Disconnect("the states were not exchanged in time"))
        if self._remember_at <= self._state.now:
            self._remember_at = self._state.now + _REMEMBER_S
            self._state.flush_peer()
        self._asking.expire_pending()
        self._holding.expire()
        self._answers.expire()
        self._streams.age()
        self._streams.tidy()
        self._erasing.erase()

    def _gather_confirmations(self) -> None:
        """Send what has gathered of Confirm and, once durable, of Gone (KRP 4.6, 4.7)."""
        state = self._state
        if not state.up:
            return
        if state.to_confirm:
            state.send(wire.Confirm(tuple(reservation.value for reservation in state.to_confirm)))
            state.to_confirm.clear()
        if state.gone:
            gone = [reservation.value for reservation in state.gone]
            state.gone.clear()
            for some in batched(gone, wire.MAX_LISTED):
                state.with_next_commit(partial(state.answer, state.epoch, wire.Gone(some)))
