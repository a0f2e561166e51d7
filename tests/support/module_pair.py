"""Two module cores with virtual devices and a virtual wire between them, driven step by step.

Nothing happens by itself: a test (or hypothesis) says which message arrives, which device yields a block, who is cut
off. The pair notes all that is accepted and checks agreement, no reuse and balance as it goes.
"""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from dataclasses import dataclass, field

from qss.core.module import Module, ModuleSettings, Phase
from qss.core.module import events as ev
from qss.crypto.block_check import MIN_BLOCK_BYTES, check_block
from qss.model.errors import DeviceError
from qss.model.health import HealthTest
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.wire import sync

BLOCK_BYTES = MIN_BLOCK_BYTES
PAYLOAD_BYTES = BLOCK_BYTES - 48
CHUNK_BYTES = 256


@functools.cache
def block_bits(stream: StreamId, number: int) -> bytes:
    return hashlib.shake_128(stream.value + number.to_bytes(8)).digest(BLOCK_BYTES)


@dataclass
class ModuleEnd:
    """One core, what it holds and what it has said."""

    core: Module
    outgoing: deque[sync.Message] = field(default_factory=deque)
    stream: StreamId | None = None
    """The stream opened last."""
    accepted: dict[StreamId, list[bytes]] = field(default_factory=dict)
    burned: list[tuple[StreamId, int]] = field(default_factory=list)
    ended: dict[StreamId, str] = field(default_factory=dict)
    asked: bool = False
    """The core wants a block of the device."""
    produced: int = 0
    blocks: dict[int, bytes] = field(default_factory=dict)
    untaken: int = 0
    """Frames passed on to the device, which it has not taken."""
    tags_said: set[tuple[StreamId, int]] = field(default_factory=set)
    waiting: int = 0
    silences: list[float] = field(default_factory=list)
    """How long the device had owed a block whenever that was told."""


class ModulePair:
    """The initiator `a` and the responder `b`."""

    def __init__(self, **settings: float) -> None:
        self.now = 100.0
        limits = ModuleSettings(**settings)  # type: ignore[arg-type]
        self.a = ModuleEnd(Module(sync.End.INITIATOR, limits))
        self.b = ModuleEnd(Module(sync.End.RESPONDER, limits))
        self.ends = (self.a, self.b)
        self.connected = False
        self.differing: set[tuple[StreamId, int]] = set()
        """Blocks of which the responder's device has other bits."""
        self.unhealthy: set[tuple[sync.End, StreamId, int]] = set()
        """Blocks that fail a health test at one end."""
        self._named = 0
        self._carried = b""

    def other(self, end: ModuleEnd) -> ModuleEnd:
        return self.b if end is self.a else self.a

    # --- what happens ---------------------------------------------------------------------------------------------

    def handle(self, end: ModuleEnd, event: ev.Event) -> None:
        for effect in end.core.handle(event, self.now):
            self._perform(end, effect)
        self.check()

    def connect(self) -> None:
        self.connected = True
        for end in self.ends:
            self.handle(end, ev.Connected())

    def cut(self) -> None:
        if self.connected:
            self.connected = False
            for end in self.ends:
                end.outgoing.clear()
                self.handle(end, ev.Disconnected("cut"))

    def open(self, chunk_bytes: int = CHUNK_BYTES) -> StreamId:
        self._named += 1
        return self.join(self.a, StreamId(self._named.to_bytes(16)), chunk_bytes)

    def join(self, end: ModuleEnd, stream: StreamId, chunk_bytes: int = CHUNK_BYTES) -> StreamId:
        """Open `stream` at `end`. Raises `DeviceError` if the core refuses, and checks that nothing was changed."""
        before = end.core.phase, end.stream
        try:
            effects = end.core.handle(ev.OpenStream(stream, chunk_bytes), self.now)
        except DeviceError:
            assert (end.core.phase, end.stream) == before
            raise
        for effect in effects:
            self._perform(end, effect)
        if end.waiting:
            waiting, end.waiting = end.waiting, 0
            self.handle(end, ev.Destroyed(waiting))
        end.stream = stream
        end.accepted.setdefault(stream, [])
        end.ended.pop(stream, None)  # a late joiner may try again and again, in vain
        self.check()
        return stream

    def close(self, end: ModuleEnd) -> None:
        if end.stream is not None:
            self.handle(end, ev.CloseStream(end.stream))

    def receive(self, end: ModuleEnd) -> None:
        """Let the next message arrive at `end`."""
        message = self.other(end).outgoing.popleft()
        if isinstance(message, sync.Device):
            self._carried = message.carried
            self.handle(end, ev.FrameCame(1))
        else:
            self.handle(end, ev.Received(message))

    def produce(self, end: ModuleEnd) -> bool:
        """Let the device yield the block that was asked for, if one was."""
        if not end.asked:
            return False
        end.asked = False
        assert end.stream is not None
        number, end.produced = end.produced, end.produced + 1
        bits = block_bits(end.stream, number)
        if end is self.b and (end.stream, number) in self.differing:
            bits = bytes([bits[0] ^ 1]) + bits[1:]
        end.blocks[number] = bits
        self.handle(end, ev.BlockRead(number, len(bits)))
        return True

    def send_frame(self, end: ModuleEnd) -> None:
        """Let the device send a frame, which says of what stream it is."""
        assert end.stream is not None
        self.handle(end, ev.FrameSent())
        end.outgoing.append(sync.Device(end.stream.value))

    def take_frame(self, end: ModuleEnd) -> None:
        end.untaken -= 1
        self.handle(end, ev.FrameTaken())

    def pull(self, end: ModuleEnd) -> None:
        length, end.waiting = end.waiting // CHUNK_BYTES * CHUNK_BYTES, end.waiting % CHUNK_BYTES
        self.handle(end, ev.Delivered(length))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for end in self.ends:
            if self.connected:
                self.handle(end, ev.Tick())

    def settle(self) -> None:
        """Let all messages that are under way arrive."""
        for _ in range(10_000):
            for end in self.ends:
                if self.other(end).outgoing:
                    self.receive(end)
                    break
            else:
                return
        raise AssertionError("the two ends never come to rest")

    def running(self) -> StreamId:
        """Connect if need be, and have both run a new stream."""
        if not self.connected:
            self.connect()
        stream = self.open()
        self.settle()
        self.join(self.b, stream)
        self.settle()
        assert {end.core.phase for end in self.ends} == {Phase.RUNNING}
        return stream

    # --- effects --------------------------------------------------------------------------------------------------

    def _perform(self, end: ModuleEnd, effect: ev.Effect) -> None:
        match effect:
            case ev.Send(messages):
                for message in messages:
                    if isinstance(message, sync.Check):
                        assert end.stream is not None
                        said = (end.stream, message.number)
                        assert said not in end.tags_said, "one s serves two tags"
                        end.tags_said.add(said)
                end.outgoing.extend(sync.decode(sync.encode(messages)))
            case ev.StartDevice():
                end.produced, end.asked, end.untaken = 0, False, 0
            case ev.StopDevice():
                end.asked = False
            case ev.ReadBlock():
                assert not end.asked
                end.asked = True
            case ev.ComputeTags(number):
                self._compute_tags(end, number)
            case ev.Accept(number):
                assert end.stream is not None
                payload = end.blocks.pop(number)
                end.accepted[end.stream].append(payload)
                end.waiting += len(payload)
            case ev.Burn(number):
                assert end.stream is not None
                del end.blocks[number]
                end.burned.append((end.stream, number))
            case ev.EndStream(stream, reason):
                assert stream == end.stream
                assert stream not in end.ended, "a stream ended twice"
                end.ended[stream] = reason
                end.blocks.clear()
            case ev.ToDevice():
                assert end.stream is not None
                assert self._carried == end.stream.value, "a frame of another stream reached the device"
                end.untaken += 1
            case ev.MaySend():
                assert end.core.may_send
            case ev.TellSilence(seconds):
                end.silences.append(seconds)
            case ev.Disconnect():
                self.cut()

    def _compute_tags(self, end: ModuleEnd, number: int) -> None:
        assert end.stream is not None
        side = sync.End.INITIATOR if end is self.a else sync.End.RESPONDER
        if (side, end.stream, number) in self.unhealthy:
            self.handle(end, ev.Unhealthy(number, HealthTest.CYCLE, "the device failed the cycle test"))
            return
        check = check_block(end.stream, number, KeyMaterial(end.blocks[number]))
        end.blocks[number] = check.payload.reveal()
        ours, expected = check.initiator_tag, check.responder_tag
        if end is self.b:
            ours, expected = expected, ours
        self.handle(end, ev.Tagged(number, len(check.payload), ours, expected))

    # --- invariants -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Agreement, never a byte of a burned block, and balance."""
        for stream in self.a.accepted.keys() & self.b.accepted.keys():
            one, two = self.a.accepted[stream], self.b.accepted[stream]
            common = min(len(one), len(two))
            assert one[:common] == two[:common], "the ends disagree"
        for end in self.ends:
            for stream, payloads in end.accepted.items():
                same = (n for n in range(10_000) if (stream, n) not in self.differing)
                for payload, number in zip(payloads, same, strict=False):
                    assert payload == block_bits(stream, number)[:PAYLOAD_BYTES], "a byte of a burned block"
            counts = end.core.counts
            assert counts.read == (
                counts.check + counts.accepted + counts.unequal + counts.unfinished + end.core._blocks.bytes_in_check
            )
