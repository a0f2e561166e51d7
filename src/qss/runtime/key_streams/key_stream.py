"""One application's key stream at one end: what its calls are answered stands on a module, once the two ends have met.

Until then the module is not there, and what is said of it is that it waits for the other end. Held here: the module,
and through how many repeaters the stream's key has passed. Not here: whose the stream is (`streams`), and when the
ends meet (`offering`, `answering`).
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable
from typing import Protocol

from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.keyserver.stream_supply import Stock, Supply
from qss.core.module import ModuleSettings, Phase
from qss.core.module.calls import Announcement, View
from qss.model.errors import DeviceError
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.relay_policy import MAX_HOPS
from qss.ports.device import DeviceRole
from qss.runtime.key_streams.device import RATE_BPS, KeyOfPair, ReservedKeyDevice
from qss.runtime.module import ModuleStatus, QkdModule
from qss.runtime.module.southbound import KeyTerms, Southbound
from qss.runtime.tasks import Defect
from qss.transport.connection import Connection

CHUNK_BYTES = 32
"""Of a stream whose callers do not ask for a size: a key of 256 bits."""

MAX_DIFFERENT = 8
"""With so many blocks that differed at the two ends a stream ends: it would burn key without end."""


class Follower(Protocol):
    """Who hears what becomes of a stream."""

    def begun(self, stream: StreamId, chunk_bytes: int) -> None:
        """It is open at this end."""
        ...

    def over(self, stream: StreamId) -> None:
        """Its caller has closed it, or its TTL has ended."""
        ...

    def announced(self, stream: StreamId) -> Announcement | None:
        """Return what the other end has announced of it."""
        ...


class KeyStream:
    """One stream. Implements `qss.runtime.module.southbound.KeyStreamModule`."""

    def __init__(
        self,
        stream: StreamId,
        plan: StreamPlan,
        here: QksId,
        keys: KeyOfPair,
        follower: Follower,
        defect: Defect,
        *,
        entropy: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve `plan`'s SAE of this site, which is `here`, once it has called OPEN_CONNECT."""
        self.stream = stream
        self.plan = plan
        self.is_open = asyncio.Event()
        """Set once it is open at this end."""
        self._here = here
        self._keys = keys
        self._follower = follower
        self._defect = defect
        self._entropy = entropy
        self._clock = clock
        self._chunk_bytes = 0
        self._repeaters = 0
        self._different = 0
        self._in_vain = False
        self._module: QkdModule | None = None
        self._device: ReservedKeyDevice | None = None
        self._runs = False
        """The module has been told to open the stream: from then on it speaks for itself."""
        self._watchers: list[Callable[[], None]] = []
        self.southbound = Southbound(
            self,
            here,
            plan.peer,
            terms=KeyTerms(lambda: self._repeaters, MAX_HOPS - 1, CHUNK_BYTES),
            entropy=lambda _: stream.value,  # NULL is given this name
            clock=clock,
        )
        """What its calls are answered."""

    @property
    def chunk_bytes(self) -> int:
        """The size of its chunks; 0 before it is open."""
        return self._chunk_bytes

    def status(self) -> ModuleStatus | None:
        """Return what its module says of itself; None before the two ends have met."""
        return None if self._module is None else self._module.status()

    # --- the module, as calls see it ------------------------------------------------------------------------------

    def view(self) -> View:
        """As `QkdModule.view`."""
        if self._runs and self._module is not None:
            return self._module.view()
        if not self._chunk_bytes:
            return View(Phase.IDLE, None, self._follower.announced(self.stream), 0)
        return View(Phase.IDLE if self._in_vain else Phase.OPENING, self.stream, None, 0)

    def begin(self, stream: StreamId, chunk_bytes: int) -> None:
        """Open the stream at this end, with chunks of this size. Raises `DeviceError` if it was opened before."""
        if self._chunk_bytes or stream != self.stream:
            raise DeviceError("this key stream has been opened before; open a new one")
        self._chunk_bytes = chunk_bytes
        self.is_open.set()
        self._follower.begun(stream, chunk_bytes)

    def end(self, stream: StreamId) -> None:
        """As `QkdModule.end`; the stream is over."""
        if self._module is not None:
            self._module.end(stream)
        self._follower.over(stream)

    def take(self) -> tuple[KeyMaterial, float]:
        """As `QkdModule.take`."""
        assert self._module is not None  # nothing is ready before
        return self._module.take()

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """As `QkdModule.watch`."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def rate_bps(self) -> float:
        """Return what a caller may demand (bit/s)."""
        return RATE_BPS

    # --- the other end --------------------------------------------------------------------------------------------

    def give_up(self) -> None:
        """The two ends have not met, and will not."""
        self._in_vain = True
        self._changed()

    async def serve(self, connection: Connection, *, asks: bool) -> None:
        """Run the stream, which is open at both ends, over this connection until that ends. Once, and never again.

        `asks`: this end reserves the key.
        """
        assert self._module is None
        supply = Supply(self._chunk_bytes)
        device = self._device = ReservedKeyDevice(
            self._keys, supply, self._stock, self._note_repeaters, self._defect, asks=asks
        )
        self._module = QkdModule(
            device,
            DeviceRole.INITIATOR if self._here < self.plan.peer else DeviceRole.RESPONDER,
            self.plan.peer,
            self._defect,
            entropy=self._entropy,
            clock=self._clock,
            settings=ModuleSettings(silence_s=math.inf, held_bytes=supply.lead),  # what is not needed is not owed
            differed=self._block_differed,
        )
        self._module.watch(self._module_changed)
        await self._module.serve(connection)

    def _module_changed(self) -> None:
        assert self._module is not None
        assert self._device is not None
        if self._runs:
            self._device.poke()
            self._changed()
        elif self._module.view().phase is Phase.IDLE:  # the connection stands
            self._runs = True
            try:
                self._module.begin(self.stream, self._chunk_bytes)
            except DeviceError:  # whatever the other end has said by then: not to be mended by trying again
                self._runs = False
                self.give_up()

    def _changed(self) -> None:
        for changed in tuple(self._watchers):
            changed()

    def _stock(self) -> Stock:
        assert self._module is not None
        return Stock(self._module.status().counts.delivered, self._module.held_bytes)

    def _block_differed(self, number: int) -> None:
        """What was reserved was equal at both sites: one of them is broken, or wants key to be burned."""
        del number
        self._different += 1
        if self._different >= MAX_DIFFERENT and self._device is not None:
            self._device.fail(f"{self._different} blocks of it differed at the two sites")

    def _note_repeaters(self, repeaters: int) -> None:
        self._repeaters = max(self._repeaters, repeaters)

    async def stop(self) -> None:
        """Answer nobody any more, end the connection, and destroy what was not taken. Can be called twice."""
        self.southbound.stop()
        if self._module is not None:
            await self._module.stop()
