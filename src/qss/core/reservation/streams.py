"""Opening, filling and closing the key streams of a link (KRP steps 3.1 to 3.5).

The owner keeps one stream open for each device pair that is attached at its end, and opens a successor when it ends,
or before its index does; the other end joins at its module of the same pair. What both ends hold durably may be
allocated, so each reports its mark. A stream ends for good when its module's session ends, or its module is detached,
at either end: both ends then tell their final marks, the lower of which is the limit, and burn what one of them has
alone. What is left below the limit is used up before other streams' key.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from qss.core.reservation.events import (
    Discard,
    KeyArrived,
    OpenSource,
    PairAbsent,
    SourceAttached,
    SourceDetached,
    SourceEnded,
    SourceOpened,
)
from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.pairs import Pairs
from qss.core.reservation.state import LinkState
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import PairId, StreamId
from qss.model.records import BurnReason, StreamRecord
from qss.wire.external import Close, Mark, Open, Skip, StreamState

MAX_STREAMS = 1024
"""Key streams of one link that are not used up. A peer that opens more breaks the protocol."""


class Streams:
    """The life of a link's key streams at this end."""

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self._pairs = Pairs()
        self._risen: dict[StreamId, StreamLedger] = {}
        self._untold: list[tuple[PairId, StreamLedger]] = []
        """Streams that became durable while the states were being exchanged, after this end had told its own."""

    def wants_key(self, stream: StreamId) -> bool:
        """Whether more of this stream may be pulled from its module now.

        The capacity is for all streams of one policy: what nobody asks for now, of another one, leaves room for this.
        But each open stream may always fill an equal share of what closed ones leave of it: else two ends could be full
        of different streams, and nothing could be allocated.
        """
        ledger = self._state.ledgers.get(stream)
        if ledger is None or ledger.record.closed:
            return False
        alike = [each for each in self._state.ledgers.values() if each.record.policy == ledger.record.policy]
        open_streams = [each.available for each in alike if not each.record.closed]
        held = sum(each.available for each in alike)
        room = self._state.settings.capacity_bytes - (held - sum(open_streams))
        return sum(open_streams) < room or ledger.available * len(open_streams) < room

    @property
    def attached(self) -> frozenset[PairId]:
        """The device pairs whose module is attached at this end."""
        return self._pairs.attached

    def open_stream(self, pair: PairId) -> StreamId | None:
        """The key stream of this pair that takes key now; of two, the successor."""
        return next((ledger.stream for ledger in reversed(self._open_streams_of(pair))), None)

    def _open_streams_of(self, pair: PairId) -> list[StreamLedger]:
        return [ledger for ledger in self._state.ledgers.values() if ledger.pair == pair and not ledger.record.closed]

    # --- this end's modules ---------------------------------------------------------------------------------------

    def source_changed(self, event: SourceAttached | SourceDetached | SourceOpened | SourceEnded) -> None:
        """A module of this end, or a stream of it, has come or gone."""
        match event:
            case SourceAttached(pair, policy):
                self.source_attached(pair, policy)
            case SourceDetached(pair):
                self.source_detached(pair)
            case SourceOpened():
                self.source_opened(event)
            case SourceEnded():
                self.source_ended(event)

    def source_attached(self, pair: PairId, policy: str) -> None:
        """The module of this pair can be asked for streams."""
        self._pairs.attach(pair, policy)
        self._open_missing()

    def source_detached(self, pair: PairId) -> None:
        """The module of this pair is asked for no more: what it has open ends, as a session that ends."""
        self._pairs.detach(pair)
        if not self._state.settings.owner:
            self._pairs.forget(pair)  # the owner has yet to wait for answers, and pauses
        for ledger in self._open_streams_of(pair):
            self._state.close_source(ledger)

    def source_opened(self, event: SourceOpened) -> None:
        """The module has opened or joined a stream: the owner tells the peer."""
        state = self._state
        if not state.settings.owner:
            return  # the ledger began with the peer's Open
        if event.stream in state.ledgers:
            raise LocalProtocolError("a key stream was opened under the name of one that is here")
        self._pairs.opened(event.pair, state.now)
        ledger = self._begin(event.stream, event.pair, event.chunk_bytes)
        state.when_durable(partial(self._tell, state.epoch, event.pair, ledger))

    def _tell(self, epoch: int, pair: PairId, ledger: StreamLedger) -> None:
        """Send Open (KRP 3.1) when the link is up. A stream from before this connection is closed on it (KRP 2.3)."""
        if epoch != self._state.epoch:
            return
        if self._state.up:
            self._state.send(Open(ledger.stream.value, pair.value, ledger.record.chunk_bytes))
        else:
            self._untold.append((pair, ledger))

    def source_ended(self, event: SourceEnded) -> None:
        """The module yields no more of this stream, or could not open one."""
        state = self._state
        self._pairs.ended(event.pair, state.now, state.settings.retry_s, answer=event.stream is None)
        ledger = None if event.stream is None else state.ledgers.get(event.stream)
        if ledger is not None and not ledger.record.closed:
            self._close(ledger)

    def _close(self, ledger: StreamLedger) -> None:
        ledger.close()
        self._state.touch(ledger)
        self._state.when_durable(partial(self._report_final, ledger))

    def key_relayed(self, stream: StreamId, repeaters: int) -> None:
        """Note how far key comes before any of it is here: durably with it, or sooner (Relay 1.4)."""
        ledger = self._state.ledgers.get(stream)
        if ledger is not None and ledger.note_repeaters(repeaters):
            self._state.touch(ledger)

    def key_arrived(self, event: KeyArrived) -> None:
        """Store the next bytes of a stream; report the mark when they are durable."""
        state = self._state
        ledger = state.ledgers.get(event.stream)
        if ledger is None or ledger.record.closed:
            state.effect(Discard(event.handle))
            return
        start = ledger.ingest(event.length)
        ledger.skip_to(ledger.peer_head, BurnReason.SKIPPED)  # KRP 3.7: also what is stored later
        state.put_key(event.stream, start, event.handle)
        state.touch(ledger)
        state.when_durable(partial(self._stored, ledger, start + event.length))

    def _stored(self, ledger: StreamLedger, mark: int) -> None:
        ledger.durable_mark = mark
        self._risen[ledger.stream] = ledger

    def tell_marks(self) -> None:
        """Send Mark for each stream of which more has become durable (KRP 3.2): once, however many blocks it was."""
        if not self._risen:
            return
        for ledger in self._risen.values():
            if self._state.up and not ledger.record.closed:
                self._state.send(Mark(ledger.stream.value, ledger.durable_mark))
        self._risen.clear()

    # --- the peer -------------------------------------------------------------------------------------------------

    def peer_opens(self, message: Open) -> None:
        """The owner has opened a stream: join it at this end's module (KRP 3.1)."""
        state = self._state
        if state.settings.owner:
            raise RemoteProtocolError("the non-owner opened a key stream")
        stream = StreamId(message.stream)
        if stream in state.ledgers or len(state.ledgers) >= MAX_STREAMS:
            raise RemoteProtocolError("a key stream was opened twice, or too many are open")
        pair = PairId(message.pair)
        state.when_durable(partial(self._join, pair, self._begin(stream, pair, message.chunk_bytes)))

    def _join(self, pair: PairId, ledger: StreamLedger) -> None:
        if ledger.record.closed:
            return
        if ledger.peer_final is not None:
            self._close(ledger)  # the peer has closed it already: there is nothing to join
        elif pair in self._pairs.attached:
            self._state.effect(OpenSource(pair, ledger.stream, ledger.record.chunk_bytes))
        else:
            self._state.effect(PairAbsent(pair))
            self._close(ledger)

    def peer_marks(self, message: Mark) -> None:
        """The peer holds more of a stream durably (KRP 3.2)."""
        ledger = self._state.ledgers.get(StreamId(message.stream))
        if ledger is None or ledger.peer_final is not None:
            return  # gone here, or its sender has closed it
        if message.mark < ledger.peer_mark:
            raise RemoteProtocolError("a durable mark went back")
        ledger.peer_mark = message.mark

    def peer_closes(self, message: Close) -> None:
        """The peer takes no more key from a stream (KRP 3.3)."""
        state = self._state
        ledger = state.ledgers.get(StreamId(message.stream))
        if ledger is None:
            return
        if message.mark < ledger.peer_mark:
            raise RemoteProtocolError("a final mark lies below an earlier one")
        ledger.peer_mark = ledger.peer_final = message.mark
        if ledger.record.closed:
            self._agree(ledger)
        else:
            state.close_source(ledger)

    # --- ends -----------------------------------------------------------------------------------------------------

    def announce(self) -> None:
        """A connection is up: tell of streams that opened since the greeting, of what is durable, of final marks."""
        self._pairs.begin_anew()
        for pair, ledger in self._untold:
            if ledger.record.limit is None:
                self._tell(self._state.epoch, pair, ledger)
        self._untold.clear()
        for ledger in self._state.ledgers.values():
            if ledger.record.closed:
                self._report_final(ledger)
            else:
                self._state.send(Mark(ledger.stream.value, ledger.durable_mark))

    def announce_skips(self, told: Sequence[StreamState]) -> None:
        """A connection is up: say what was given up since the greeting told of these streams (KRP 2.7)."""
        for item in told:
            ledger = self._state.ledgers.get(StreamId(item.stream))
            head = item.mark if ledger is None else ledger.record.head
            if head > item.head:
                self._state.send(Skip(item.stream, head))

    def age(self) -> None:
        """Burn what is left of streams that have lasted as long as they may (KRP 3.7)."""
        state = self._state
        for ledger in state.ledgers.values():
            record = ledger.record
            if record.opened_at + state.settings.stream_s > state.wall or not record.available:
                continue
            ledger.skip_to(ledger.end, BurnReason.AGED)
            state.touch(ledger)
            state.when_durable(partial(state.answer, state.epoch, Skip(ledger.stream.value, ledger.record.head)))
            if not record.closed:
                state.close_source(ledger)

    def peer_skips(self, message: Skip) -> None:
        """The peer has given up what it had left of a stream: so does this end (KRP 3.7)."""
        ledger = self._state.ledgers.get(StreamId(message.stream))
        if ledger is None:
            return
        ledger.peer_head = max(ledger.peer_head, message.head)
        ledger.skip_to(message.head, BurnReason.SKIPPED)
        self._state.touch(ledger)

    def tidy(self) -> None:
        """Open a stream where one is missing, and forget those that are used up (KRP 3.4, 3.5)."""
        state = self._state
        for ledger in list(state.ledgers.values()):
            record = ledger.record
            if record.limit is None or ledger.durable_mark < record.mark:
                continue
            if 0 < ledger.available < state.settings.min_key_bytes:
                ledger.skip_to(ledger.end, BurnReason.CLOSED)
                state.touch(ledger)
            if ledger.available == 0 and not state.is_needed(ledger.stream):
                state.drop_stream(ledger)
        self._open_missing()

    def _open_missing(self) -> None:
        """Ask for a stream of each pair that has none, or none whose index lasts (KRP 3.5)."""
        state = self._state
        if not (state.settings.owner and state.up):
            return
        served = {ledger.pair for ledger in state.ledgers.values() if self._lasts(ledger)}
        room = MAX_STREAMS - len(state.ledgers)
        for pair in [pair for pair in self._pairs.ready(state.now) if pair not in served][: max(0, room)]:
            self._pairs.asked(pair)
            state.effect(OpenSource(pair))

    def _lasts(self, ledger: StreamLedger) -> bool:
        """Whether a stream takes key, and has indices for more than what its successor needs to open."""
        record = ledger.record
        return not record.closed and record.mark < self._state.settings.successor_chunks * record.chunk_bytes

    def _begin(self, stream: StreamId, pair: PairId, chunk_bytes: int) -> StreamLedger:
        state = self._state
        record = StreamRecord(
            stream, state.settings.peer, chunk_bytes, opened_at=state.wall, policy=self._pairs.policy_of(pair)
        )
        ledger = StreamLedger(record, pair)
        state.ledgers[stream] = ledger
        state.touch(ledger)
        return ledger

    def _report_final(self, ledger: StreamLedger) -> None:
        """Tell the final mark once all that was ingested is durable (KRP 3.3)."""
        if self._state.up and ledger.record.limit is None and ledger.durable_mark == ledger.record.mark:
            self._state.send(Close(ledger.stream.value, ledger.durable_mark))
            if ledger.peer_final is not None:
                self._agree(ledger)

    def _agree(self, ledger: StreamLedger) -> None:
        """Both final marks are known: the lower is the limit (KRP 3.3)."""
        if ledger.record.limit is None and ledger.peer_final is not None and ledger.durable_mark == ledger.record.mark:
            ledger.agree_limit(min(ledger.record.mark, ledger.peer_final))
            self._state.touch(ledger)
