"""The state machine of one link's connection, and the one place that dispatches events.

::

    state      what it means                                           leaves it
    ─────────  ──────────────────────────────────────────────────────  ───────────────────────────────────────────────
    DOWN       no connection                                           Connected ▶ WAITING
    WAITING    connected; reservations are still on their way to disk  none left ▶ GREETING (Hello sent)
    GREETING   the peer's Hello is awaited                             Hello ▶ SETTLING (Held sent)
    SETTLING   the peer's Held is awaited                              Held ▶ UP
    UP         streams are filled, keys reserved and confirmed         —
    FAILED     a commit was refused: memory is ahead of the store      the runtime makes a new Link

From any state but FAILED, Disconnected leads to DOWN and CommitFailed to FAILED. In FAILED every ask is refused and
nothing else is heeded. A message that its state does not allow, and a frame of another incarnation, is the peer's
fault: the link asks to be disconnected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any

from qss.core.reservation import events as ev
from qss.core.reservation.exchange import Exchange
from qss.core.reservation.holdings import Holdings
from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.recovery import Recovery
from qss.core.reservation.state import LinkSettings, LinkState
from qss.core.reservation.streams import Streams
from qss.model.errors import (
    InvalidIdentifier,
    LocalProtocolError,
    PeerUnavailable,
    QssError,
    RemoteProtocolError,
    StoreUnavailable,
)
from qss.model.identifiers import StreamId
from qss.model.records import PeerRecord, ReservationRecord, StreamRecord
from qss.wire import external as wire


class LinkPhase(StrEnum):
    """See the module's table."""

    DOWN = "down"
    WAITING = "waiting"
    GREETING = "greeting"
    SETTLING = "settling"
    UP = "up"
    FAILED = "failed"


_ALLOWED: dict[LinkPhase, tuple[type, ...]] = {
    LinkPhase.WAITING: (wire.Hello,),
    LinkPhase.GREETING: (wire.Hello,),
    LinkPhase.SETTLING: (wire.Held,),
    LinkPhase.UP: (
        wire.Open,
        wire.Mark,
        wire.Close,
        wire.Reserve,
        wire.Reserved,
        wire.Ask,
        wire.Grant,
        wire.Refuse,
        wire.Confirm,
        wire.Confirmed,
        wire.Void,
    ),
}


class Link:
    """One link at one end. `handle` is its only way in, effects its only way out; queries change nothing."""

    def __init__(
        self,
        settings: LinkSettings,
        incarnation: int,
        base: int,
        streams: tuple[StreamRecord, ...] = (),
        reservations: tuple[ReservationRecord, ...] = (),
        peer: PeerRecord | None = None,
    ) -> None:
        self.incarnation = incarnation
        self.phase = LinkPhase.DOWN
        self._state = LinkState(settings, peer or PeerRecord(settings.peer))
        self._exchange = Exchange(self._state)
        self._holdings = Holdings(self._state, self._exchange.burn_unfetched)
        self._streams = Streams(self._state)
        self._recovery = Recovery(self._state, incarnation, base, self._exchange.confirm, self._exchange.burn_unfetched)
        self._mine: wire.Hello | None = None
        self._early: wire.Hello | None = None
        self._hello_commit = 0
        self._peer_incarnation = 0
        self._load(streams, reservations)
        self._on_event: dict[type, Callable[[Any], None]] = {
            ev.Connected: self._connected,
            ev.Disconnected: self._disconnected,
            ev.Received: self._received,
            ev.Reserve: self._exchange.reserve,
            ev.Fetch: self._holdings.fetch,
            ev.Released: self._released,
            ev.SourceOpened: self._streams.source_opened,
            ev.SourceEnded: self._streams.source_ended,
            ev.KeyArrived: self._streams.key_arrived,
            ev.Committed: self._committed,
            ev.CommitFailed: self._commit_failed,
            ev.EraseFailed: self._erase_failed,
            ev.StoreRestored: self._store_restored,
            ev.Tick: self._tick,
        }
        self._on_message: dict[type, Callable[[Any], None]] = {
            wire.Hello: self._hello,
            wire.Held: self._held,
            wire.Open: self._streams.peer_opens,
            wire.Mark: self._streams.peer_marks,
            wire.Close: self._streams.peer_closes,
            wire.Reserve: self._exchange.peer_reserves,
            wire.Reserved: self._exchange.reserved,
            wire.Ask: self._exchange.peer_asks,
            wire.Grant: self._exchange.granted,
            wire.Refuse: self._exchange.refused,
            wire.Confirm: self._exchange.peer_confirms,
            wire.Confirmed: self._exchange.confirmed,
            wire.Void: self._exchange.peer_voids,
        }

    def _load(self, streams: tuple[StreamRecord, ...], reservations: tuple[ReservationRecord, ...]) -> None:
        """Begin from what is durable. Modules' sessions do not outlive a link: its streams take no more key."""
        for record in streams:
            ledger = StreamLedger(replace(record, closed=True))
            ledger.check()
            self._state.ledgers[record.stream] = ledger
        for row in reservations:
            self._state.rows[row.id] = row
        for ledger in self._state.ledgers.values():
            rows = self._state.rows_of(ledger.stream)
            ledger.erasable_except([part for row in rows for part in self._holdings.needed(row)])

    # --- the way in -----------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float) -> ev.Effects:
        """Take in what happened at `now` (seconds since the epoch) and return what is to be done, in order."""
        self._state.now = now
        if self.phase is LinkPhase.FAILED:
            return self._handle_failed(event)
        self._on_event[type(event)](event)
        self._gather_confirmations()
        return self._state.drain(flush=isinstance(event, ev.Tick))

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
        if not self._state.up:
            return 0
        return sum(ledger.allocatable // key_bytes for ledger in self._state.ledgers.values())

    def wants_key(self, stream: StreamId) -> bool:
        """Whether more of this stream may be pulled from the module now."""
        return self.phase is not LinkPhase.FAILED and self._streams.wants_key(stream)

    # --- the connection -------------------------------------------------------------------------------------------

    def _connected(self, _: ev.Connected) -> None:
        if self.phase is not LinkPhase.DOWN:
            raise LocalProtocolError("a second connection was handed to a link that has one")
        self._state.epoch += 1
        self.phase = LinkPhase.WAITING
        self._greet_when_settled()

    def _disconnected(self, _: ev.Disconnected) -> None:
        state = self._state
        self.phase = LinkPhase.DOWN
        state.up = False
        self._mine = self._early = None
        self._peer_incarnation = 0
        state.to_confirm.clear()
        state.to_acknowledge.clear()
        self._exchange.abandon_all(
            PeerUnavailable(f"the connection to site {state.settings.peer} was lost; nothing was delivered; try again")
        )

    def _greet_when_settled(self) -> None:
        if self.phase is not LinkPhase.WAITING or self._state.undurable:
            return
        self.phase = LinkPhase.GREETING
        self._mine = self._recovery.greet()
        self._state.send(self._mine)
        if self._early is not None:
            self._hello(self._early)

    def _hello(self, hello: wire.Hello) -> None:
        if self.phase is LinkPhase.WAITING:
            if self._early is not None:
                raise RemoteProtocolError("a second Hello came")
            self._early = hello
            return
        assert self._mine is not None
        held = self._recovery.compare(self._mine, hello, self._hello_commit)
        self._peer_incarnation = hello.incarnation
        self._state.send(held)
        self.phase = LinkPhase.SETTLING

    def _held(self, held: wire.Held) -> None:
        assert self._mine is not None
        self._recovery.settle(self._mine, held)
        self.phase = LinkPhase.UP
        state = self._state
        state.up = state.exchanged = True
        state.when_durable(lambda: None)  # KRP 2.6: what the exchange changed does not wait for the next tick
        state.to_confirm.extend(row.id for row in state.rows.values() if row.side == "master")
        self._streams.announce_marks()
        self._streams.tidy()

    def _received(self, event: ev.Received) -> None:
        try:
            self._check_incarnations(event.frame)
            self._remember(event.frame)
            for message in event.frame.messages:
                self._take(message)
        except (RemoteProtocolError, InvalidIdentifier) as error:
            self._state.effect(ev.Disconnect(str(error)))

    def _take(self, message: wire.Message) -> None:
        if not isinstance(message, _ALLOWED.get(self.phase, ())):
            raise RemoteProtocolError(f"{type(message).__name__} came while the link was {self.phase}")
        self._on_message[type(message)](message)

    def _remember(self, frame: wire.Frame) -> None:
        """Note how far the peer's store has come; it becomes durable with whatever is committed next."""
        if any(isinstance(message, wire.Hello) for message in frame.messages):
            self._hello_commit = frame.commit
        peer = self._state.peer
        if self._peer_incarnation and frame.commit > peer.commit_seen:
            self._state.peer = replace(peer, commit_seen=frame.commit)

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

    def _committed(self, event: ev.Committed) -> None:
        self._state.settle(event.token)
        self._greet_when_settled()

    def _commit_failed(self, event: ev.CommitFailed) -> None:
        # Why is for the operator, in the log by Rebuild: it names files of this machine.
        error = StoreUnavailable(
            "this site's store refuses to write; nothing was delivered; try again later, or tell this site's operator"
        )
        self._exchange.abandon_all(error)
        self._holdings.abandon_all(error)
        self.phase = LinkPhase.FAILED
        self._state.up = self._state.exchanged = False
        self._state.effect(ev.Disconnect("the store refused a commit"))
        self._state.effect(ev.Rebuild(event.reason))

    def _handle_failed(self, event: ev.Event) -> ev.Effects:
        error: QssError = StoreUnavailable(
            "this site's store refused to write a moment ago; nothing was consumed; "
            "free space on its disk if it is full, then try again"
        )
        match event:
            case ev.Reserve():
                return (ev.Refused(event.reservation, error),)
            case ev.Fetch():
                return (ev.Refused(event.request, error),)
            case ev.KeyArrived():
                return (ev.Discard(event.handle),)
            case ev.SourceOpened():
                return (ev.CloseSource(event.stream),)
            case _:
                return ()

    def _erase_failed(self, event: ev.EraseFailed) -> None:
        ledger = self._state.ledgers.get(event.stream)
        if ledger is not None:
            for part in event.parts:
                ledger.erasable(part)

    def _store_restored(self, _: ev.StoreRestored) -> None:
        self._state.put_peer(replace(self._state.peer, must_burn=True))
        self._state.exchanged = self._state.up = False
        self._state.when_durable(lambda: None)
        if self.phase is not LinkPhase.DOWN:
            self._state.effect(ev.Disconnect("this site's store was restored from a back-up"))

    def _released(self, event: ev.Released) -> None:
        self._state.reading.pop(event.request, None)

    # --- time -----------------------------------------------------------------------------------------------------

    def _tick(self, _: ev.Tick) -> None:
        self._exchange.expire_pending()
        self._holdings.expire()
        self._streams.tidy()
        self._holdings.erase()

    def _gather_confirmations(self) -> None:
        """Send what has gathered of Confirm and, once durable, of Confirmed (KRP 4.6, 4.7)."""
        state = self._state
        if not state.up:
            return
        if state.to_confirm:
            state.send(wire.Confirm(tuple(reservation.value for reservation in state.to_confirm)))
            state.to_confirm.clear()
        if state.to_acknowledge:
            message = wire.Confirmed(tuple(reservation.value for reservation in state.to_acknowledge))
            state.to_acknowledge.clear()
            state.with_next_commit(partial(state.answer, state.epoch, message))
