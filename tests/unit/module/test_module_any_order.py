"""Two modules in any order of events, cut off anywhere: agreement, no reuse, balance, and they always come back."""

from __future__ import annotations

import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from qss.core.module import Phase
from qss.core.module import events as ev
from qss.core.module.rest import LONGEST_PAUSE_S
from qss.model.errors import DeviceError
from qss.model.identifiers import StreamId
from qss.wire import sync
from support.module_pair import CHUNK_BYTES, ModulePair

ENDS = st.sampled_from([0, 1])


class TwoModules(RuleBasedStateMachine):
    """An honest pair: no end may ever accuse the other, so `RemoteProtocolError` fails the test."""

    @initialize(started=st.booleans())
    def begin(self, started: bool) -> None:
        self.pair = ModulePair(held_bytes=4 * 1024)
        self.streams: list[StreamId] = []
        self.named = 0
        if started:
            self.streams.append(self.pair.running())

    @precondition(lambda self: not self.pair.connected)
    @rule()
    def connect(self) -> None:
        self.pair.connect()

    @precondition(lambda self: self.pair.connected)
    @rule()
    def cut(self) -> None:
        self.pair.cut()

    @rule(chunk_bytes=st.sampled_from([CHUNK_BYTES, CHUNK_BYTES, 64]))
    def open(self, chunk_bytes: int) -> None:
        with contextlib.suppress(DeviceError):
            self.streams.append(self.pair.open(chunk_bytes))

    @precondition(lambda self: self.streams)
    @rule(back=st.integers(1, 3))
    def join(self, back: int) -> None:
        with contextlib.suppress(DeviceError):
            self.pair.join(self.pair.b, self.streams[-min(back, len(self.streams))])

    @rule(which=ENDS, fresh=st.booleans())
    def open_by_name(self, which: int, fresh: bool) -> None:
        """As applications do: either end may be first, with a name of its own or the one that was used last."""
        self.named += fresh
        with contextlib.suppress(DeviceError):
            self.streams.append(self.pair.join(self.pair.ends[which], StreamId(b"named" + self.named.to_bytes(11))))

    @rule(which=ENDS)
    def close(self, which: int) -> None:
        self.pair.close(self.pair.ends[which])

    @rule(which=ENDS, count=st.integers(1, 20))
    def receive(self, which: int, count: int) -> None:
        end = self.pair.ends[which]
        for _ in range(count):
            if self.pair.other(end).outgoing:
                self.pair.receive(end)

    @rule(which=ENDS, on=st.booleans())
    def set_exchange(self, which: int, on: bool) -> None:
        self.pair.handle(self.pair.ends[which], ev.SetExchange(on))

    @rule(which=ENDS, count=st.integers(1, 5))
    def produce(self, which: int, count: int) -> None:
        for _ in range(count):
            self.pair.produce(self.pair.ends[which])

    @rule(ahead=st.integers(0, 3))
    def differ(self, ahead: int) -> None:
        b = self.pair.b
        number = max(self.pair.a.produced, b.produced) + ahead
        if b.stream is not None and b.core.phase is Phase.RUNNING and self.pair.a.stream == b.stream:
            self.pair.differing.add((b.stream, number))

    @rule(which=ENDS)
    def fail_health(self, which: int) -> None:
        end = self.pair.ends[which]
        if end.stream is not None and end.core.phase is Phase.RUNNING:
            side = sync.End.INITIATOR if end is self.pair.a else sync.End.RESPONDER
            self.pair.unhealthy.add((side, end.stream, end.produced))

    @rule(which=ENDS, count=st.integers(1, 70))
    def send_frames(self, which: int, count: int) -> None:
        end = self.pair.ends[which]
        for _ in range(count):
            if end.core.may_send:
                self.pair.send_frame(end)

    @rule(which=ENDS)
    def take_frames(self, which: int) -> None:
        end = self.pair.ends[which]
        while end.untaken and end.core.phase is Phase.RUNNING:
            self.pair.take_frame(end)

    @rule(which=ENDS)
    def pull(self, which: int) -> None:
        self.pair.pull(self.pair.ends[which])

    @rule(seconds=st.sampled_from([0.1, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self.pair.pass_time(seconds)

    def teardown(self) -> None:
        """Whatever happened: the next stream runs, and both ends get the same of it."""
        if not hasattr(self, "pair"):
            return
        pair = self.pair
        for end in pair.ends:
            pair.handle(end, ev.SetExchange(True))
        pair.settle()
        if pair.connected:
            pair.pass_time(LONGEST_PAUSE_S)
            pair.settle()
        else:
            pair.now += LONGEST_PAUSE_S
        stream = pair.running()
        for _ in range(3):
            for end in pair.ends:
                assert pair.produce(end)
            pair.settle()
        assert len(pair.a.accepted[stream]) == 3
        assert pair.a.accepted[stream] == pair.b.accepted[stream]


TestTwoModules = TwoModules.TestCase
TestTwoModules.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
