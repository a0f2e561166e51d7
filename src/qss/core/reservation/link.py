"""One link: the one place that takes events in and passes them, and the peer's messages, on to the parts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import assert_never

from qss.core.reservation import events as ev
from qss.core.reservation.allocation import key_count
from qss.core.reservation.answers import Answers
from qss.core.reservation.asking import Asking
from qss.core.reservation.conversation import Conversation
from qss.core.reservation.covers import Covers
from qss.core.reservation.draws import Draws
from qss.core.reservation.erasing import Erasing
from qss.core.reservation.failed import failed
from qss.core.reservation.fetching import Fetching
from qss.core.reservation.holding import Holding
from qss.core.reservation.ledger import loaded
from qss.core.reservation.losses import Losses
from qss.core.reservation.notices import Notices
from qss.core.reservation.phases import LinkPhase, LinkStep
from qss.core.reservation.recalls import Recalls
from qss.core.reservation.recovery import Recovery
from qss.core.reservation.settings import LinkSettings
from qss.core.reservation.state import LinkState
from qss.core.reservation.streams import Streams
from qss.model.answers import AnswerRecord, AskName
from qss.model.errors import LocalProtocolError, PeerUnavailable, QssError, StoreDamaged, StoreUnavailable
from qss.model.identifiers import KeyId, PairId, ReservationId, SaeId, StreamId
from qss.model.keys import Priority
from qss.model.records import PeerRecord, RecallRecord, ReservationRecord, Side, StreamRecord
from qss.wire import external as wire

_REMEMBER_S = 10.0
"""How long what is remembered of the peer may wait for a commit to ride along with."""


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
        self._state = LinkState(settings, peer or PeerRecord(settings.peer), trouble)
        self._answers = Answers(self._state)
        self._asking = Asking(self._state, self._answers)
        self._holding = Holding(self._state)
        self._fetching = Fetching(self._state, self._answers)
        self._recalls = Recalls(self._state, self._answers, self._holding.burn_keys, self._asking.parts)
        self._losses = Losses(self._state, self._answers, self._holding.burn_keys)
        self._draws = Draws(self._state)
        self._covers = Covers(self._state, self._holding.burn_unfetched)
        self._erasing = Erasing(self._state)
        self._notices = Notices(self._state)
        self._streams = Streams(self._state)
        recovery = Recovery(
            self._state,
            incarnation,
            self._holding.confirm,
            self._holding.burn_unfetched,
            self._asking.burn_delivered,
            self._answers.forget,
            self._recalls.forget_all,
        )
        self._conversation = Conversation(self._state, incarnation, recovery, self._came_up, self._take)
        self._remember_at = 0.0
        self._failure: QssError = StoreUnavailable("the link has not failed")
        self._load(streams, reservations, answers, recalls)

    def _load(
        self,
        streams: tuple[StreamRecord, ...],
        reservations: tuple[ReservationRecord, ...],
        answers: tuple[AnswerRecord, ...],
        recalls: tuple[RecallRecord, ...],
    ) -> None:
        """Begin from what is durable. Modules' sessions do not outlive a link: its streams take no more key.

        Raises `StoreDamaged` if that cannot be.
        """
        for record in streams:
            self._state.ledgers[record.stream] = loaded(replace(record, closed=True))
        used = {row.stream for row in reservations} | {run.stream for answer in answers for run in answer.keys}
        orphaned = used - self._state.ledgers.keys()
        if orphaned:
            raise StoreDamaged(
                f"the ledger has keys of key stream {min(orphaned)}, but not the stream; {StoreDamaged.REMEDY}"
            )
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
            return failed(event, self._failure)
        self._dispatch(event)
        self._streams.tell_marks()
        tick = isinstance(event, ev.Tick)
        self._notices.gather(due=tick)
        if tick:
            self._state.commit_now()
        return self._state.drain()

    def _dispatch(self, event: ev.Event) -> None:
        match event:
            case ev.Connected(commit_number):
                self._conversation.connected(commit_number)
            case ev.Disconnected():
                self._disconnected()
            case ev.Received(frame):
                self._conversation.received(frame)
            case ev.Reserve():
                self._asking.reserve(event)
            case ev.Fetch():
                self._fetching.fetch(event)
            case ev.Recall():
                self._recalls.recall(event)
            case ev.Released(request):
                self._state.reading.pop(request, None)
            case ev.CoverMade():
                self._asking.parts.cover(event)
            case ev.Conclude():
                self._asking.parts.conclude(event)
            case ev.Abandon():
                self._asking.parts.abandon(event)
            case ev.CoverOpened():
                self._covers.opened(event)
            case ev.CoverFailed():
                self._covers.failed(event)
            case ev.Draw():
                self._draws.draw(event)
            case ev.DrawEnded():
                self._draws.end(event)
            case ev.Want(pair, policy, length, urgent) if self._state.up:
                self._state.send(wire.Want(pair.value, policy, length, urgent))
            case ev.Want():
                pass  # said anew once the link is up
            case ev.KeyRelayed(stream, repeaters):
                self._streams.key_relayed(stream, repeaters)
            case ev.SourceAttached() | ev.SourceDetached() | ev.SourceOpened() | ev.SourceEnded():
                self._streams.source_changed(event)
            case ev.KeyArrived():
                self._streams.key_arrived(event)
            case ev.Committed(token):
                self._state.settle(token)
                self._conversation.greet_when_settled()
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
    def phase(self) -> LinkPhase:
        """Where the conversation with the peer is."""
        return self._conversation.phase

    @property
    def up(self) -> bool:
        """Whether keys can be reserved now."""
        return self._state.up

    @property
    def peer_incarnation(self) -> int:
        """The peer's incarnation on this connection; 0 before its Hello."""
        return self._conversation.peer_incarnation

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

    def rows_of(self, reservation: ReservationId) -> tuple[ReservationRecord, StreamRecord] | None:
        """The row of a reservation, and that of the stream that its keys lie in; None if there is none here now."""
        row = self._state.rows.get(reservation)
        return None if row is None else (row, self._state.ledgers[row.stream].record)

    @property
    def reservations(self) -> tuple[ReservationRecord, ...]:
        """The reservations' rows, as they are in memory."""
        return tuple(self._state.rows.values())

    def key_count(self, key_bytes: int, policy: str = "", priority: Priority = Priority.NORMAL) -> int:
        """Keys of this size that could be reserved one by one now, from the streams of a policy."""
        return key_count(self._state, key_bytes, policy, priority)

    def objection(self, ask: ev.Reserve) -> QssError | None:
        """Why an ask that is no repeat would get no keys now, as far as is known at this end."""
        return self._asking.objection(ask)

    def concludes(self, reservation: ReservationId) -> bool:
        """Whether this part of a request is as far as all of them have to be (KRP 4.19)."""
        return self._asking.parts.concludes(reservation)

    def holds_part(self, reservation: ReservationId) -> bool:
        """Whether slaves at the other end may have yet to fetch keys of this reservation of a master here."""
        row = self._state.rows.get(reservation)
        return row is not None and row.side is Side.MASTER

    @property
    def trouble(self) -> QssError | None:
        """What keeps the link from working at this end, if anything does."""
        return self._failure if self.phase is LinkPhase.FAILED else self._state.trouble

    def knows(self, name: AskName) -> bool:
        """Whether an ask under this name would be a repeat."""
        return name.digest in self._state.asking or name.digest in self._state.answers

    def holds(self, key_id: KeyId) -> bool:
        """Whether some slave at this end has, or had, a claim on this key that is not settled yet."""
        return self._fetching.holds(key_id)

    def outstanding(self, party: SaeId | tuple[SaeId, SaeId]) -> int:
        """Keys that slaves have yet to fetch, of a master at this end, or of it and one slave; as far as known here."""
        return self._state.outstanding[party]

    @property
    def attached(self) -> frozenset[PairId]:
        """The device pairs whose module is attached at this end."""
        return self._streams.attached

    def open_stream(self, pair: PairId) -> StreamId | None:
        """The key stream of this pair that takes key now; of two, the successor."""
        return self._streams.open_stream(pair)

    def knows_stream(self, stream: StreamId) -> bool:
        """Whether a key stream of this name is here: another one must not have it."""
        return stream in self._state.ledgers

    def policy_of(self, stream: StreamId) -> str:
        """By which policy this stream's key is relayed; empty if it is the link's own, or its row is gone."""
        ledger = self._state.ledgers.get(stream)
        return "" if ledger is None else ledger.record.policy

    def wants_key(self, stream: StreamId) -> bool:
        """Whether more of this stream may be pulled from the module now."""
        return self.phase is not LinkPhase.FAILED and self._streams.wants_key(stream)

    # --- the peer -------------------------------------------------------------------------------------------------

    def _disconnected(self) -> None:
        self._conversation.disconnected()
        peer = self._state.settings.peer
        self._asking.abandon_all(
            PeerUnavailable(f"the connection to site {peer} was lost; nothing was delivered; try again")
        )
        self._draws.lose_connection()

    def _came_up(self, hello: wire.Hello) -> None:
        """The states are exchanged: say what the peer may not know yet (KRP 2.7)."""
        state = self._state
        # KRP 2.6: what the exchange changed does not wait for the next tick
        masters = [row.id for row in state.rows.values() if row.side is Side.MASTER]
        state.when_durable(partial(state.to_confirm.extend, masters))
        self._recalls.tell_all()
        self._streams.announce_skips(hello.streams)
        self._streams.announce()
        self._streams.tidy()

    def _take(self, message: wire.Message) -> None:
        match message:
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
            case wire.Cover():
                self._covers.peer_covers(message)
            case wire.Covered():
                self._asking.parts.covered(message)
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
            case wire.Draw():
                self._draws.peer_draws(message)
            case wire.Drawn():
                self._draws.drawn(message)
            case wire.Undrawn():
                self._draws.undrawn(message)
            case wire.Want():
                self._state.effect(ev.Wanted(PairId(message.pair), message.policy, message.length, message.urgent))
            case wire.Hello() | wire.Held():
                raise LocalProtocolError("a greeting was passed on")  # the conversation keeps it to itself
            case _:
                assert_never(message)

    # --- the store ------------------------------------------------------------------------------------------------

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
        self._asking.parts.abandon_all(error)
        self._fetching.abandon_all(error)
        self._recalls.abandon_all(error)
        self._draws.forget_all()
        self._conversation.fail(step, farewell)
        self._state.forget_gathered()
        self._state.effect(ev.Rebuild(reason))

    # --- time -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._conversation.end_if_late()
        if self._remember_at <= self._state.now:
            self._remember_at = self._state.now + _REMEMBER_S
            self._state.flush_peer()
        self._asking.expire_pending()
        self._holding.expire()
        self._draws.expire()
        self._answers.expire()
        self._streams.age()
        self._streams.tidy()
        self._erasing.erase()
