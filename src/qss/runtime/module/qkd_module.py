"""One QKD module: feeds its core with events and carries out the effects. The core decides; this shell moves bytes.

It is the key source of a QKS in the same process (`ports.key_source`), and knows nothing of who dials whom: it is given
one Sync connection after the other. Blocks and accepted key are held in memory only; what is held is destroyed with its
stream. The device is never started twice at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import assert_never

import structlog

from qss.core.module import Module, ModuleSettings, fitting_chunk
from qss.core.module import events as ev
from qss.core.module.calls import View
from qss.model.errors import DeviceError, QssError, RemoteProtocolError, StreamEnded
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.ports.device import Device, DeviceRole, RawBlock
from qss.ports.key_source import OpenedStream
from qss.runtime.module.adapter_faults import adapter_faults
from qss.runtime.module.adjusting import adjusted
from qss.runtime.module.channel import SyncChannel
from qss.runtime.module.checking import Checking
from qss.runtime.module.chunks import ChunkQueue
from qss.runtime.module.device_run import DeviceRun
from qss.runtime.module.status import ModuleStatus
from qss.runtime.module.trouble import Trouble
from qss.runtime.outbox import Outbox
from qss.runtime.session import Session
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.wire import sync

MAX_WAITING = 4096
"""Messages that may wait. The windows of Sync allow fewer: only a peer that breaks the protocol lets more gather."""

_TICK_S = 0.2
_STREAM_ENTROPY_BYTES = 16

_log = structlog.get_logger(__name__)


class QkdModule:
    """One module. Implements `qss.ports.key_source.KeySource`. All methods belong to the event loop's thread."""

    def __init__(
        self,
        device: Device,
        role: DeviceRole,
        peer: QksId,
        defect: Defect,
        *,
        entropy: Callable[[int], bytes] = os.urandom,
        settings: ModuleSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        chunk_bytes: int | None = None,
        differed: Callable[[int], None] | None = None,
        called: str = "the device",
    ) -> None:
        """Wrap `device`; `role` is `INITIATOR` at the site with the lower ID. `entropy` names streams.

        `peer` is the site at the other end, for the log; `chunk_bytes` None: what fits the device's rate; `differed`
        hears the number of each block that the ends have found to differ; `called` is what the log calls the device.
        """
        self._device = device
        self._role = role
        self._entropy = entropy
        self._clock = clock
        self._own_chunk_bytes = chunk_bytes
        self._differed = differed
        self._core = Module(sync.End(role.value), settings or ModuleSettings())
        self._queue: ChunkQueue | None = None
        self._run: DeviceRun | None = None
        self._device_free = asyncio.Lock()
        self._runs = Tasks(defect)
        self._tasks = Tasks(defect)
        self._defect = defect
        self._defective = False
        self._depth = 0
        self._watchers: list[Callable[[], None]] = []
        self._frames: dict[int, bytes] = {}
        self._handles = itertools.count()
        self._log = _log.bind(peer=peer, role=role.value)
        self._blocks = Checking(role, self._log)
        self._trouble = Trouble(self._log, called)
        self._session = Session[sync.Message](
            lambda connection: Outbox(connection, _frames, MAX_WAITING),
            self._connected,
            self._received,
            self._disconnected,
            defect,
            self._log.bind(subject="sync"),
        )

    # --- the key source -------------------------------------------------------------------------------------------

    async def open_connect(
        self, source: QksId, destination: QksId, stream: StreamId | None, chunk_bytes: int | None
    ) -> OpenedStream:
        """Open or join a key stream and return at once; one that is open is closed first, and its key destroyed.

        If the other end does not open the same stream in time, the stream ends. Raises `DeviceError` if no stream can
        be had now: nothing was changed.
        """
        initiator = self._role is DeviceRole.INITIATOR
        if (source < destination) is not initiator:
            raise DeviceError(
                f"the device at {source} towards {destination} is set up as {self._role}; "
                "the site with the lower ID has the initiator"
            )
        if (stream is None) is not initiator:
            raise DeviceError("the site with the lower ID opens key streams, the other one joins them by their ID")
        if stream is None:
            stream = StreamId.from_entropy(self._entropy(_STREAM_ENTROPY_BYTES))
            if chunk_bytes is None:
                chunk_bytes = self._own_chunk_bytes or fitting_chunk(self.rate_bps())
        elif chunk_bytes is None:
            raise DeviceError("join a key stream with the chunk size of its opener")
        self.begin(stream, chunk_bytes)
        return OpenedStream(stream, chunk_bytes)

    def begin(self, stream: StreamId, chunk_bytes: int) -> None:
        """Open `stream`, whoever named it, or join it; one that is open is closed first, and its key destroyed.

        Raises `DeviceError` if it cannot be opened now: nothing was changed.
        """
        device = self._device.status()
        if device.exhausted:
            raise DeviceError(device.note)
        with self._at_once():
            self._handle(ev.OpenStream(stream, chunk_bytes))
            self._drop_queue()
            self._queue = ChunkQueue(stream, chunk_bytes, self._clock)

    async def get_key(self, stream: StreamId, index: int, most: int = 1) -> KeyMaterial:
        """Return chunk `index` (from 0, each once, in order), waiting until it is there, and up to `most` in all.

        Raises `StreamEnded` when the stream will yield no more, `DeviceError` for an index that is not the next.
        """
        queue = self._queue
        if queue is None or queue.stream != stream:
            raise StreamEnded(f"key stream {stream} is not open here; open a new one")
        chunks = await queue.take(index, most)
        self._handle(ev.Delivered(len(chunks)))
        return chunks

    async def close(self, stream: StreamId) -> None:
        """End the stream at this end and destroy what was not pulled. Unknown streams are no error."""
        self.end(stream)

    def end(self, stream: StreamId) -> None:
        """As `close`, at once."""
        with self._at_once():
            self._handle(ev.CloseStream(stream))
            if self._queue is not None and self._queue.stream == stream:
                self._drop_queue()

    def _drop_queue(self) -> None:
        if self._queue is not None:
            self._queue.end(f"key stream {self._queue.stream} was closed")
            self._handle(ev.Destroyed(self._queue.destroy()))
            self._queue = None

    def set_exchange(self, *, on: bool) -> None:
        """Start or stop the exchange: while it is stopped no stream is open, and the device stands still."""
        self._handle(ev.SetExchange(on))

    # --- the southbound interface ---------------------------------------------------------------------------------

    def view(self) -> View:
        """Return what there is to know of the module's key stream."""
        queue = self._queue
        if queue is None:
            return View(self._core.phase, None, self._core.announced, 0)
        return View(self._core.phase, queue.stream, self._core.announced, queue.ready)

    def take(self) -> tuple[KeyMaterial, float]:
        """Return the next whole chunk, which must be ready by `view`, and for how many seconds it has been."""
        chunk, since = self._open_queue.take_ready()
        self._handle(ev.Delivered(len(chunk)))
        return chunk, self._clock() - since

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have `changed` called whenever `view` may say something else; return what ends that."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def rate_bps(self) -> float:
        """Return how many secret bits per second the device says it yields."""
        return self._device.status().rate_bps

    @property
    def held_bytes(self) -> int:
        """Bytes that are in check, or checked and not pulled yet."""
        return self._core.held_bytes

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Tell watchers when all of it is done: in between, the view is of no moment that there ever was."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if not self._depth:
            for changed in tuple(self._watchers):
                changed()

    # --- life -----------------------------------------------------------------------------------------------------

    def status(self) -> ModuleStatus:
        """Return what the module says of itself now; why the device went on no more, until it yields again."""
        return ModuleStatus(
            self._core.phase,
            self._core.exchange,
            None if self._queue is None else self._queue.stream,
            None if self._queue is None else self._queue.chunk_bytes,
            self._session.security,
            self._core.counts,
            self._core.owed_s(self._clock()),
            self._trouble.noted(self._device.status()),
        )

    def adjust_device(self, change: SettingsChange) -> SimulatorSettings:
        """Change settings of a simulated device; return all that it has then. None are changed if one cannot be.

        Raises `BadRequest` if they cannot be, or are not this end's to change, or the device is no simulator.
        """
        return adjusted(self._device, change)

    async def stop(self) -> None:
        """End the connection, the stream and the device, and take no further connection. Can be called twice."""
        await self._session.stop()
        self._drop_queue()
        await self._tasks.cancelled()
        await self._runs.finished()

    # --- the peer module ------------------------------------------------------------------------------------------

    async def serve(self, connection: Connection) -> None:
        """Speak Sync over this connection until it ends. A newer connection takes the place of an older one."""
        try:
            await self._session.serve(connection)
        finally:
            await self._runs.finished()

    def _connected(self) -> None:
        self._handle(ev.Connected())
        self._ticking = self._tasks.start(self._tick())

    def _received(self, frame: bytes) -> None:
        for message in sync.decode(frame):
            self._take(message)

    def _disconnected(self, reason: str) -> None:
        self._ticking.cancel()
        self._handle(ev.Disconnected(reason))

    def _take(self, message: sync.Message) -> None:
        if isinstance(message, sync.Device):
            handle = next(self._handles)
            self._frames[handle] = message.carried
            try:
                self._handle(ev.FrameCame(handle))
            finally:
                self._frames.pop(handle, None)
        else:
            self._handle(ev.Received(message))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._handle(ev.Tick())

    # --- effects --------------------------------------------------------------------------------------------------

    def _handle(self, event: ev.Event) -> None:
        if self._defective:
            return
        try:
            effects = self._core.handle(event, self._clock())
        except (DeviceError, RemoteProtocolError):
            raise  # whoever asked for a stream that cannot be had, or the peer, is told
        except Exception as error:
            self._defective = True
            self._defect(error)
            raise
        with self._at_once():
            for effect in effects:
                self._perform(effect)

    def _perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Send(messages):
                self._session.send(messages)
            case ev.StartDevice():
                self._start_device()
            case ev.StopDevice():
                self._stop_device()
            case ev.ReadBlock():
                self._running.wanted.set()
            case ev.ComputeTags(number):
                self._handle(self._blocks.check(self._open_queue.stream, number))
            case ev.Accept(number):
                self._open_queue.append(self._blocks.take(number))
            case ev.Burn(number):
                self._blocks.take(number)
                self._log.warning("block burned: the ends differ", block=number)
                if self._differed is not None:
                    self._differed(number)
            case ev.EndStream(stream, reason):
                self._log.info("key stream ended", stream=str(stream), reason=reason)
                self._blocks.clear()
                self._open_queue.end(reason)
            case ev.ToDevice(handle):
                self._running.channel.put(self._frames.pop(handle))
            case ev.MaySend():
                self._running.channel.wake()
            case ev.TellSilence(seconds):
                self._trouble.silent(seconds)
            case ev.Disconnect(reason):
                self._session.disconnect(reason)
            case _:
                assert_never(effect)

    @property
    def _open_queue(self) -> ChunkQueue:
        assert self._queue is not None
        return self._queue

    @property
    def _running(self) -> DeviceRun:
        assert self._run is not None
        return self._run

    # --- the device -----------------------------------------------------------------------------------------------

    def _start_device(self) -> None:
        channel = SyncChannel(lambda: self._core.may_send, self._send_frame, lambda: self._handle(ev.FrameTaken()))
        run = self._run = DeviceRun(channel)
        run.task = self._runs.start(self._drive(run), "QKD device")

    def _stop_device(self) -> None:
        run, self._run = self._running, None
        run.channel.end()
        if run.task is not None:
            run.task.cancel()

    def _send_frame(self, frame: bytes) -> None:
        self._handle(ev.FrameSent())
        self._session.send((sync.Device(frame),))

    async def _drive(self, run: DeviceRun) -> None:
        """Read the device for one stream, as the core asks, until the stream is ended by either of them."""
        reason = "its adapter failed"
        async with self._device_free:
            try:
                with adapter_faults(self._log):
                    await self._device.start(run.channel, self._role)
                if run is self._run:
                    self._log.info("key stream runs", stream=str(self._open_queue.stream))
                while True:
                    await run.wanted.wait()
                    run.wanted.clear()
                    with adapter_faults(self._log):
                        block = await self._device.read()
                    self._block_came(block)
            except QssError as error:
                reason = str(error)
            finally:
                if run is self._run:
                    self._trouble.failed(reason)
                    self._handle(ev.DeviceFailed(reason))
                await self._device.stop()

    def _block_came(self, block: RawBlock) -> None:
        self._trouble.over()
        self._blocks.put(block)
        self._handle(ev.BlockRead(block.number, len(block.material)))


def _frames(messages: Sequence[sync.Message]) -> list[bytes]:
    return [sync.encode(part) for part in sync.split(messages)]
