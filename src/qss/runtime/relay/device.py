"""The relay as a device: two ends of an end-to-end stream that yield the same blocks, relayed over repeaters.

The end with the lower ID, the initiator, is the source of all transfers. It makes a block when its stream has less key
than it is to hold (`Blocks`), several at a time, and tells the other end over the device channel which transfers a
block is made of (Relay 4.6); that end has their contents from its relay. Nothing is believed here: the modules at both
ends compare what comes of it (Sync 4).

Not here: how a transfer is carried (`relaying`), over which paths, and how much is needed (`blocks`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from qss.crypto.shares import combine
from qss.model.errors import ConnectionLost, DeviceError, RemoteProtocolError, Unauthorised
from qss.model.identifiers import TransferId
from qss.model.key_material import KeyMaterial
from qss.ports.device import DeviceChannel, DeviceRole, DeviceStatus, RawBlock
from qss.runtime.relay.agreement import Agreement
from qss.runtime.relay.ends import Portion
from qss.runtime.tasks import Defect, Tasks
from qss.wire.relay_device import Block, Offer, decode, encode

WINDOW = 16
"""Blocks that are on their way at a time."""

_RATE_BPS = 8192.0
"""Key comes as it is needed; what is said is what the smallest blocks in a second would be."""


@dataclass(frozen=True, slots=True)
class Made:
    """A block that has arrived at the other end, and the transfers whose contents it is the sum of."""

    transfers: tuple[TransferId, ...]
    content: KeyMaterial


class Blocks(Protocol):
    """What makes blocks, at the initiator."""

    def needed(self, on_their_way: int) -> int:
        """Return how long a block must be that is made now, besides so many bytes that are on their way; 0: none."""
        ...

    async def news(self) -> None:
        """Wait until `needed` may say something else, or for a moment."""
        ...

    async def make(self, number: int, length: int) -> Made:
        """Relay a block of `length` bytes or fewer, on one path after the other until it has arrived."""
        ...


Take = Callable[[TransferId, Portion], Awaitable[KeyMaterial]]
"""Gives the content of a transfer that ends here, once it is there.

Raises `DeviceError` if it does not come, or brings something else to this stream, or to any other.
"""


class RelayDevice:
    """One end. Implements `qss.ports.device.Device`."""

    kind = "relay"

    def __init__(self, blocks: Blocks, take: Take, defect: Defect, agreement: Agreement | None = None) -> None:
        """Have `blocks` made if this end is the initiator; else `take` what was. With `agreement` they are hybrid."""
        self._agreement = agreement
        self._blocks = blocks
        self._take = take
        self._channel: DeviceChannel | None = None
        self._role = DeviceRole.INITIATOR
        self._number = 0
        self._making: deque[tuple[int, asyncio.Future[Made]]] = deque()
        self._tasks = Tasks(defect)

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        """Begin at block 0."""
        if self._channel is not None:
            raise DeviceError("this end of the relay is running already; stop it first")
        self._channel, self._role, self._number = channel, role, 0

    async def read(self) -> RawBlock:
        """Return the next block when one was needed and has arrived. Raises `DeviceError` when no more will come."""
        channel = self._channel
        if channel is None:
            raise DeviceError("this end of the relay is not running; start it")
        try:
            block = await (self._made if self._role is DeviceRole.INITIATOR else self._told)(channel)
        except (ConnectionLost, RemoteProtocolError, Unauthorised) as error:
            raise DeviceError(f"the two ends of the relay have lost each other: {error}") from error
        self._number += 1
        return block

    async def _made(self, channel: DeviceChannel) -> RawBlock:
        self._begin_what_is_needed()
        while not (self._making and self._making[0][1].done()):
            await self._first_or_news()
            self._begin_what_is_needed()
        _, future = self._making.popleft()
        made = future.result()
        number, length = self._number, len(made.content)
        transfers = tuple(transfer.value for transfer in made.transfers)
        if self._agreement is None:
            await channel.send(encode(Block(number, length, transfers)))
            return RawBlock(number, made.content)
        masked = await self._agreement.offer(channel, number, length, transfers)
        return RawBlock(number, combine((made.content, masked)))

    async def _first_or_news(self) -> None:
        """Wait until the first block has arrived, or another one may be needed."""
        waited: set[asyncio.Future[Any]] = {future for _, future in list(self._making)[:1]}
        if len(self._making) == WINDOW:  # no other one is begun, whatever is needed
            await asyncio.wait(waited)
            return
        news: asyncio.Future[None] = asyncio.ensure_future(self._blocks.news())
        try:
            await asyncio.wait(waited | {news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()

    def _begin_what_is_needed(self) -> None:
        while len(self._making) < WINDOW:
            length = self._blocks.needed(sum(length for length, _ in self._making))
            if not length:
                return
            future: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
            self._making.append((length, future))
            self._tasks.start(self._make(self._number + len(self._making) - 1, length, future))

    async def _make(self, number: int, length: int, future: asyncio.Future[Made]) -> None:
        made = await self._blocks.make(number, length)
        if not future.done():
            future.set_result(made)

    async def _told(self, channel: DeviceChannel) -> RawBlock:
        told: Block | Offer
        if self._agreement is None:
            told, masked = decode(await channel.receive(), Block), []
        else:
            told = decode(await channel.receive(), Offer)
            masked = [await self._agreement.answer(channel, told)]
        if told.number != self._number:
            raise DeviceError(f"the other end tells of block {told.number}, where block {self._number} was due")
        shares = len(told.transfers)
        contents = [
            await self._take(TransferId(value), Portion(told.number, share, shares))
            for share, value in enumerate(told.transfers)
        ]
        if {len(content) for content in contents} != {told.length}:
            raise DeviceError(f"what was relayed for block {self._number} is not as long as the other end says")
        return RawBlock(told.number, combine([combine(contents), *masked]))

    async def stop(self) -> None:
        """Stop: what is on its way is given up. Can be called twice, and before `start`."""
        self._channel = None
        await self._tasks.cancelled()
        for _, future in self._making:
            future.cancel()
        self._making.clear()

    def status(self) -> DeviceStatus:
        """Return that there is no quantum channel of its own behind it; what it yields depends on what is needed."""
        return DeviceStatus(
            kind=self.kind, running=self._channel is not None, rate_bps=_RATE_BPS, qber=None, simulated=False
        )
