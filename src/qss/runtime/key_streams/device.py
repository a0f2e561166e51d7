"""The key reservation process as a device: one end reserves key and says under which name, the other end fetches it.

The end that asks makes a block when either end wants more than there is (`core.keyserver.stream_supply`); the other end
says what it wants (Streams 3.2, 3.4). Nothing is believed here: the modules at both ends compare what comes of it.

Not here: what is reserved and fetched (`pair_keys`), nor who asks (Streams 2.5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from qss.core.keyserver.stream_supply import Stock, Supply
from qss.model.errors import ConnectionLost, DeviceError, QssError, RemoteProtocolError, Unavailable
from qss.model.identifiers import ReservationId
from qss.ports.device import DeviceChannel, DeviceRole, DeviceStatus, RawBlock
from qss.runtime.key_streams.pair_keys import Reserved
from qss.runtime.tasks import Defect, Tasks
from qss.wire.stream_device import Keys, Want, decode, encode

RATE_BPS = 1_000_000.0
"""Key comes as it is needed; what is said is what a caller may demand."""

FIRST_PAUSE_S = 0.1
"""After so long key is asked for again that was not to be had; each time in vain doubles it."""

LONGEST_PAUSE_S = 2.0
"""But no longer."""


class KeyOfPair(Protocol):
    """Reserves and fetches: `PairKeys`."""

    async def reserve(self, length: int) -> Reserved: ...  # noqa: D102 - see PairKeys
    async def fetch(self, reservation: ReservationId, count: int) -> Reserved: ...  # noqa: D102


class ReservedKeyDevice:
    """One end. Implements `qss.ports.device.Device`."""

    kind = "key-server"

    def __init__(
        self,
        keys: KeyOfPair,
        supply: Supply,
        stock: Callable[[], Stock],
        relayed: Callable[[int], None],
        defect: Defect,
        *,
        asks: bool,
    ) -> None:
        """`asks`: this end reserves. `stock` tells what it has had of the stream, whose key comes in no other way.

        `relayed` hears through how many repeaters a block has passed, before that is yielded.
        """
        self._keys = keys
        self._supply = supply
        self._stock = stock
        self._relayed = relayed
        self._asks = asks
        self._channel: DeviceChannel | None = None
        self._number = 0
        self._wanted_there = 0
        self._news = asyncio.Event()
        self._failure: QssError | None = None
        self._trouble = ""
        self._tasks = Tasks(defect)

    def poke(self) -> None:
        """What `stock` tells may have changed."""
        self._news.set()

    def fail(self, reason: str) -> None:
        """Have the end that asks for key reserve no more of it: the stream ends."""
        self._failure = DeviceError(reason)
        self._news.set()

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        """Begin at block 0. Which role it is does not matter."""
        del role
        if self._channel is not None:
            raise DeviceError("this end of the key stream is running already; stop it first")
        self._channel, self._number, self._wanted_there, self._failure = channel, 0, 0, None
        self._tasks.start(self._talk(channel), "wants of a key stream")

    async def read(self) -> RawBlock:
        """Return the next block when it was needed and is there. Raises `DeviceError` when no more will come."""
        channel = self._channel
        if channel is None:
            raise DeviceError("this end of the key stream is not running; start it")
        number = self._number
        try:
            reserved = await (self._reserved(channel) if self._asks else self._fetched(channel))
        except DeviceError:
            raise
        except QssError as error:
            raise DeviceError(f"no key can be had for it: {error}") from error
        self._relayed(reserved.repeaters)
        self._number += 1
        return RawBlock(number, reserved.material)

    async def stop(self) -> None:
        """Stop. Can be called twice, and before `start`."""
        self._channel = None
        await self._tasks.cancelled()

    def status(self) -> DeviceStatus:
        """Return that there is no quantum channel of its own behind it, and why no key comes, if none does."""
        running = self._channel is not None
        return DeviceStatus(self.kind, running, RATE_BPS, qber=None, simulated=False, note=self._trouble)

    # --- the end that asks ----------------------------------------------------------------------------------------

    async def _reserved(self, channel: DeviceChannel) -> Reserved:
        pause = FIRST_PAUSE_S
        while True:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            length = self._supply.needed(self._stock(), self._wanted_there)
            if not length:
                await self._news.wait()
                continue
            try:
                reserved = await self._keys.reserve(length)
            except Unavailable as error:
                self._trouble = str(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            self._trouble = ""
            await channel.send(encode(Keys(self._number, reserved.reservation.value, reserved.count)))
            return reserved

    async def _hear(self, channel: DeviceChannel) -> None:
        """Take in what the other end wants."""
        while True:
            wanted = decode(await channel.receive(), Want).total
            self._wanted_there = max(self._wanted_there, wanted)
            self._news.set()

    # --- the other end --------------------------------------------------------------------------------------------

    async def _fetched(self, channel: DeviceChannel) -> Reserved:
        told = decode(await channel.receive(), Keys)
        if self._failure is not None:
            raise self._failure
        if told.number != self._number:
            raise DeviceError(f"the other end tells of block {told.number}, where block {self._number} was due")
        return await self._keys.fetch(ReservationId(told.reservation), told.count)

    async def _tell(self, channel: DeviceChannel) -> None:
        """Say what this end wants, whenever it has less."""
        told = 0
        while True:
            self._news.clear()
            stock = self._stock()
            wanted = self._supply.wanted(stock.taken)
            if wanted > max(told, stock.taken + stock.held):
                await channel.send(encode(Want(wanted)))
                told = wanted
            await self._news.wait()

    async def _talk(self, channel: DeviceChannel) -> None:
        """Say or hear what is wanted; have whoever reads hear of what ended that."""
        try:
            await (self._hear(channel) if self._asks else self._tell(channel))
        except (ConnectionLost, RemoteProtocolError) as error:
            self._failure = error
            self._news.set()
