"""The module's core: the one place that dispatches events, and the state that its parts share.

Held here: opening, meeting and ending of streams by the tables of `phases`, when the device is read, and time limits.
Not here: bytes of any block, and the QKS's right to a stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from qss.core.module import events as ev
from qss.core.module.blocks import BlockChecks
from qss.core.module.calls import Announcement
from qss.core.module.counts import Counts
from qss.core.module.phases import PeerPhase, Phase, Step, after, peer_after
from qss.core.module.rest import Rest
from qss.core.module.window import DeviceWindow
from qss.model.errors import DeviceError, LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import StreamId
from qss.wire import sync as wire


@dataclass(frozen=True, slots=True)
class ModuleSettings:
    """Limits in time (seconds) and memory (bytes)."""

    open_timeout_s: float = 10.0
    """How long a stream waits for the other end to open it too (Sync 3.6)."""
    verdict_timeout_s: float = 10.0
    """How long a verdict may be due (Sync 4.6)."""
    held_bytes: int = 4 * 1024 * 1024
    """The device is read while blocks in check and chunks not yet pulled are less than this."""
    silence_s: float = 60.0
    """How long the device may owe a block before that is told; but no less than four times what one took before."""


class Module:
    """One module. `handle` is its only way in, effects its only way out; queries change nothing."""

    def __init__(self, end: wire.End, settings: ModuleSettings) -> None:
        self._end = end
        self._settings = settings
        self._counts = Counts()
        self._messages: list[wire.Message] = []
        self._effects: list[ev.Effect] = []
        self._now = 0.0
        self._phase = Phase.DOWN
        self._stream = StreamId(bytes(16))
        self._chunk_bytes = 0
        self._opened_at = 0.0
        self._rest = Rest()
        self._exchange = True
        self._peer_phase = PeerPhase.ABSENT
        self._peer_open: wire.Open | None = None
        self._announcement: Announcement | None = None
        self._begin_run()

    def _begin_run(self) -> None:
        self._blocks = BlockChecks(self._counts, self._messages, self._effects)
        self._window = DeviceWindow()
        self._reading = False
        self._asked_at = 0.0
        self._longest_s = 0.0
        self._silence_told = False
        self._stalled = False
        self._tagging: int | None = None

    # --- the way in -----------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float) -> ev.Effects:
        """Take in what happened at `now` (seconds, never falling) and return what is to be done, in order.

        Raises `DeviceError` if a stream cannot be opened (nothing was changed), `RemoteProtocolError` if the peer broke
        the protocol (the connection is to be closed, and `Disconnected` follows).
        """
        self._now = now
        self._messages.clear()
        self._effects.clear()
        self._dispatch(event)
        self._ask_for_block()
        sent = (ev.Send(tuple(self._messages)),) if self._messages else ()
        return (*sent, *self._effects)

    def _dispatch(self, event: ev.Event) -> None:
        match event:
            case ev.Connected():
                self._connected()
            case ev.Disconnected(reason):
                self._disconnected(reason)
            case ev.Received(message):
                self._received(message)
            case ev.FrameCame(handle):
                self._frame_came(handle)
            case ev.FrameSent():
                self._frame_sent()
            case ev.FrameTaken():
                self._frame_taken()
            case ev.OpenStream():
                self._open_stream(event)
            case ev.CloseStream(stream):
                self._close_stream(stream)
            case ev.SetExchange(on):
                self._set_exchange(on=on)
            case ev.BlockRead():
                self._block_read(event)
            case ev.Tagged():
                self._tagged(event)
            case ev.Unhealthy():
                self._unhealthy(event)
            case ev.DeviceFailed(reason):
                self._device_failed(reason)
            case ev.Delivered(length):
                self._counts.delivered += length
            case ev.Destroyed(length):
                self._counts.unused += length
            case ev.Tick():
                self._tick()
            case _:
                assert_never(event)

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """This end's state."""
        return self._phase

    @property
    def exchange(self) -> bool:
        """Whether streams may be opened."""
        return self._exchange

    @property
    def counts(self) -> Counts:
        """Where every byte went, up to now."""
        return self._counts.copy()

    @property
    def held_bytes(self) -> int:
        """Bytes that are in check, or checked and not pulled yet."""
        return self._blocks.bytes_in_check + self._counts.waiting

    @property
    def announced(self) -> Announcement | None:
        """The stream that the peer has open, if this end may still open it, or has."""
        if self._peer_open is None or (self._peer_phase is PeerPhase.JOINED and self._phase is not Phase.RUNNING):
            return None
        return self._announcement

    def owed_s(self, now: float) -> float:
        """Return for how many seconds the device has owed the block that it was asked for; 0 if it owes none."""
        return now - self._asked_at if self._reading and self._tagging is None else 0.0

    @property
    def may_send(self) -> bool:
        """Whether the device may send a frame now (Sync 5.2)."""
        return self._phase is Phase.RUNNING and self._window.may_send

    # --- the connection -------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._phase = after(self._phase, Step.CONNECTED)

    def _disconnected(self, reason: str) -> None:
        if self._phase in (Phase.OPENING, Phase.RUNNING):
            self._end_stream(f"the Sync connection ended: {reason}")
        self._phase = after(self._phase, Step.DISCONNECTED)
        self._peer_phase, self._peer_open = PeerPhase.ABSENT, None

    def _received(self, message: ev.PlainMessage) -> None:
        if self._phase is Phase.DOWN:
            raise LocalProtocolError("a message came without a connection")
        match message:
            case wire.Open():
                self._peer_opens(message)
            case wire.Close():
                self._peer_closes(message)
            case wire.Check() | wire.Verdict() | wire.Credit():
                if self._heeds_peer(type(message).__name__):
                    self._take(message)
            case _:
                assert_never(message)

    def _take(self, message: wire.Check | wire.Verdict | wire.Credit) -> None:
        """Take in a message of the running stream."""
        match message:
            case wire.Check():
                self._blocks.peer_checks(message, self._now)
            case wire.Verdict():
                self._blocks.peer_judges(message)
            case wire.Credit(frames):
                self._credited(frames)
            case _:
                assert_never(message)

    def _heeds_peer(self, what: str) -> bool:
        """Whether a message of a running stream is of this end's stream, or late (see `phases`)."""
        if self._peer_phase is PeerPhase.ABSENT:
            raise RemoteProtocolError(f"{what} came while the peer had no key stream open")
        return self._phase is Phase.RUNNING

    # --- opening and closing --------------------------------------------------------------------------------------

    def _open_stream(self, event: ev.OpenStream) -> None:
        """Sync 3.1: say Open; what was open until now is closed."""
        self._refuse_open(event)
        if self._phase is not Phase.IDLE:
            self._close("its key server opened another stream")
        waiting = self._peer_open
        if self._end is wire.End.INITIATOR and waiting is not None and waiting.stream != event.stream.value:
            self._messages.append(wire.Close(waiting.stream))  # Sync 3.4
        self._phase = after(self._phase, Step.OPENED)
        self._stream, self._chunk_bytes = event.stream, event.chunk_bytes
        self._opened_at = self._now
        self._messages.append(wire.Open(event.stream.value, self._end, event.chunk_bytes))
        self._meet()

    def _refuse_open(self, event: ev.OpenStream) -> None:
        if not self._exchange:
            raise DeviceError("the exchange of this module is stopped; start it with `qss module start`")
        if self._phase is Phase.DOWN:
            raise DeviceError("the module has no Sync connection to its peer; try again when it is there")
        if rest := self._rest.left(self._now):
            raise DeviceError(
                f"the device failed its health tests {self._rest.failures} times in a row: it is left alone for "
                f"{rest:.0f} s more; check or replace it"
            )
        if not wire.MIN_CHUNK_BYTES <= event.chunk_bytes <= wire.MAX_CHUNK_BYTES:
            raise DeviceError(
                f"a chunk of {event.chunk_bytes} bytes was asked for; "
                f"ask for {wire.MIN_CHUNK_BYTES} to {wire.MAX_CHUNK_BYTES}"
            )
        if self._stream == event.stream:
            raise DeviceError("this key stream has been opened before; open a new one")
        announced = self._peer_open
        if announced is None or announced.stream != event.stream.value:
            return
        if self._peer_phase is PeerPhase.JOINED:
            raise DeviceError("this key stream has ended; open a new one")
        if announced.chunk_bytes != event.chunk_bytes:
            raise DeviceError(
                f"the peer opened this key stream with chunks of {announced.chunk_bytes} bytes, "
                f"this end with {event.chunk_bytes}; join with the opener's size"
            )

    def _peer_opens(self, message: wire.Open) -> None:
        """Sync 3.2: the peer has a stream open."""
        if message.end is self._end:
            raise RemoteProtocolError(
                f"both modules of this link are the {self._end}; the site with the lower ID has the initiator"
            )
        self._peer_phase = peer_after(self._peer_phase, Step.OPENED)
        self._peer_open = message
        self._announcement = Announcement(StreamId(message.stream), message.chunk_bytes)
        mine = self._phase is Phase.OPENING and message.stream == self._stream.value
        if mine and message.chunk_bytes == self._chunk_bytes:
            self._meet()
        elif mine:
            self._close("the other end opened it with another chunk size")
        elif self._in_vain(message):
            self._messages.append(wire.Close(message.stream))

    def _in_vain(self, message: wire.Open) -> bool:
        """Sync 3.4: whether the peer's Open of a stream that this end does not have open will never be met."""
        taken_back = message.stream == self._stream.value
        busy = self._end is wire.End.INITIATOR and self._phase is not Phase.IDLE
        return taken_back or busy

    def _meet(self) -> None:
        """Sync 3.3: if both have announced the stream, it runs."""
        if self._peer_open is None or self._peer_open.stream != self._stream.value:
            return
        self._peer_phase = peer_after(self._peer_phase, Step.MET)
        self._phase = after(self._phase, Step.MET)
        self._counts.streams += 1
        self._begin_run()
        self._effects.append(ev.StartDevice())

    def _peer_closes(self, message: wire.Close) -> None:
        """Sync 3.5: the peer does not have this stream open, or no more. Closes may cross: one too many is fine."""
        if self._peer_open is not None and self._peer_open.stream == message.stream:
            self._peer_phase, self._peer_open = peer_after(self._peer_phase, Step.ENDED), None
        if self._phase in (Phase.OPENING, Phase.RUNNING) and self._stream.value == message.stream:
            self._close("the other end closed it")

    def _close_stream(self, stream: StreamId) -> None:
        if self._phase in (Phase.OPENING, Phase.RUNNING) and self._stream == stream:
            self._close("its key server closed it")

    def _set_exchange(self, *, on: bool) -> None:
        """QRP 3: what is open is closed, and the device stops with it."""
        self._exchange = on
        if not on and self._phase in (Phase.OPENING, Phase.RUNNING):
            self._close("its exchange was stopped")

    def _close(self, reason: str) -> None:
        self._messages.append(wire.Close(self._stream.value))
        self._end_stream(reason)

    def _end_stream(self, reason: str) -> None:
        if self._phase is Phase.RUNNING:
            self._counts.unfinished += self._blocks.bytes_in_check
            self._counts.unfinished_blocks += self._blocks.unfinished
            self._begin_run()
            self._effects.append(ev.StopDevice())
        self._phase = after(self._phase, Step.ENDED)
        self._effects.append(ev.EndStream(self._stream, f"key stream {self._stream} ended: {reason}"))

    # --- the device -----------------------------------------------------------------------------------------------

    def _running(self, what: str) -> None:
        if self._phase is not Phase.RUNNING:
            raise LocalProtocolError(f"{what} while the module was {self._phase}")

    def _ask_for_block(self) -> None:
        """Read the device as long as there is room: what it holds back, nobody loses."""
        if self._phase is not Phase.RUNNING or self._reading:
            return
        if self._blocks.full or self.held_bytes >= self._settings.held_bytes:
            self._counts.stalls += not self._stalled
            self._stalled = True
            return
        self._reading, self._stalled = True, False
        self._asked_at, self._silence_told = self._now, False
        self._effects.append(ev.ReadBlock())

    def _block_read(self, event: ev.BlockRead) -> None:
        self._running("a block was read")
        if not self._reading or self._tagging is not None:
            raise LocalProtocolError("a block was read that was not asked for")
        if event.number != self._blocks.next_number:
            self._close(f"the device yielded block {event.number} after block {self._blocks.next_number - 1}")
            return
        self._longest_s = max(self._longest_s, self.owed_s(self._now))
        self._tagging = event.length
        self._effects.append(ev.ComputeTags(event.number))

    def _tagged(self, event: ev.Tagged) -> None:
        self._running("tags came")
        if self._tagging is None or event.number != self._blocks.next_number:
            raise LocalProtocolError("tags came of a block that is not to be checked")
        self._counts.read += self._tagging
        self._counts.check += self._tagging - event.length
        self._tagging, self._reading = None, False
        self._blocks.tagged(event, self._now)

    def _unhealthy(self, event: ev.Unhealthy) -> None:
        """Sync 4.7: nothing of the block is said or kept, and the stream ends."""
        self._running("a block failed a health test")
        if self._tagging is None or event.number != self._blocks.next_number:
            raise LocalProtocolError("a block failed a health test that was not read")
        self._counts.unhealthy[event.test] += 1
        self._rest.failed(self._now)
        self._close(event.reason)

    def _device_failed(self, reason: str) -> None:
        self._running("the device failed")
        self._close(f"no more comes of it: {reason}")

    def _frame_came(self, handle: int) -> None:
        """Sync 5.1."""
        if self._heeds_peer("Device"):
            self._window.came()
            self._effects.append(ev.ToDevice(handle))

    def _frame_sent(self) -> None:
        """Sync 5.2."""
        self._running("the device sent a frame")
        self._window.sent()

    def _frame_taken(self) -> None:
        """Sync 5.3."""
        self._running("the device took a frame")
        granted = self._window.taken()
        if granted:
            self._messages.append(wire.Credit(granted))

    def _credited(self, frames: int) -> None:
        """Sync 5.3."""
        self._window.granted(frames)
        self._effects.append(ev.MaySend())

    # --- time -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._phase is Phase.OPENING and self._now - self._opened_at > self._settings.open_timeout_s:
            self._close(f"the other end did not join within {self._settings.open_timeout_s:g} s")  # Sync 3.6
        due = self._blocks.stuck_since() if self._phase is Phase.RUNNING else None
        if due is not None and self._now - due > self._settings.verdict_timeout_s:
            reason = f"the other end gave no verdict within {self._settings.verdict_timeout_s:g} s"  # Sync 4.6
            self._close(reason)
            self._effects.append(ev.Disconnect(reason))
        owed_s = self.owed_s(self._now)
        if owed_s >= max(self._settings.silence_s, 4 * self._longest_s) and not self._silence_told:
            self._silence_told = True
            self._effects.append(ev.TellSilence(owed_s))
