"""The relay as a device: both ends yield the same blocks in order, several are made at a time, and all of it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from qss.crypto.shares import combine
from qss.model.errors import DeviceError
from qss.model.identifiers import TransferId
from qss.model.key_material import KeyMaterial
from qss.ports.device import DeviceRole, RawBlock
from qss.runtime.relay.device import WINDOW, Made, RelayDevice
from qss.runtime.relay.ends import Portion
from qss.wire.lsa import Authentication
from qss.wire.relay_device import Answer, Block, decode, encode
from support.device_channel import MemoryChannel
from support.module_runners import raise_defect
from support.relay_row import LENGTH, material
from support.virtual_time import in_virtual_time, settled


def named(number: int, share: int = 0) -> TransferId:
    return TransferId(bytes([number, share]).ljust(16, b"-"))


def share_of(number: int, share: int = 0) -> KeyMaterial:
    return material(8 * number + share)


class FakeBlocks:
    """Makes as many blocks as a test says are needed; one that has an event in `may_end` is made when that is set."""

    def __init__(self, needed: int = 0, shares: int = 1) -> None:
        self.left = needed
        self.shares = shares
        self.on_their_way: list[int] = []
        self.asked: list[tuple[int, int]] = []
        self.given_up: list[int] = []
        self.waiting = 0
        self.may_end: dict[int, asyncio.Event] = {}
        self._news = asyncio.Event()

    def need(self, blocks: int) -> None:
        self.left += blocks
        self._news.set()

    def needed(self, on_their_way: int) -> int:
        self.on_their_way.append(on_their_way)
        if not self.left:
            return 0
        self.left -= 1
        return LENGTH

    async def news(self) -> None:
        self.waiting += 1
        try:
            self._news.clear()
            await self._news.wait()
        finally:
            self.waiting -= 1

    async def make(self, number: int, length: int) -> Made:
        self.asked.append((number, length))
        try:
            if number in self.may_end:
                await self.may_end[number].wait()
        except asyncio.CancelledError:
            self.given_up.append(number)
            raise
        shares = range(self.shares)
        content = combine([share_of(number, share) for share in shares])
        return Made(tuple(named(number, share) for share in shares), content)


class Contents:
    """What has come to the other end, and was asked for."""

    def __init__(self) -> None:
        self.come: dict[TransferId, KeyMaterial] = {}
        self.asked: list[tuple[TransferId, Portion]] = []

    async def take(self, transfer: TransferId, portion: Portion) -> KeyMaterial:
        self.asked.append((transfer, portion))
        if transfer not in self.come:
            raise DeviceError("it has not come")
        return self.come.pop(transfer)


@asynccontextmanager
async def source(blocks: FakeBlocks) -> AsyncIterator[tuple[RelayDevice, MemoryChannel]]:
    """An initiator that runs, and the other end of its channel."""
    mine, theirs = MemoryChannel.pair()
    device = RelayDevice(blocks, Contents().take, raise_defect)
    await device.start(mine, DeviceRole.INITIATOR)
    yield device, theirs
    await device.stop()


@asynccontextmanager
async def destination(contents: Contents) -> AsyncIterator[tuple[RelayDevice, MemoryChannel]]:
    """A responder that runs, and the other end of its channel."""
    mine, theirs = MemoryChannel.pair()
    device = RelayDevice(FakeBlocks(), contents.take, raise_defect)
    await device.start(mine, DeviceRole.RESPONDER)
    yield device, theirs
    await device.stop()


async def told(channel: MemoryChannel) -> Block:
    return decode(await channel.receive(), Block)


# --- the source ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_blocks_are_yielded_in_order_whichever_has_arrived_first() -> None:
    blocks = FakeBlocks(3)
    blocks.may_end = {number: asyncio.Event() for number in range(3)}
    async with source(blocks) as (device, other):
        reading = asyncio.create_task(device.read())
        await settled()
        assert blocks.asked == [(number, LENGTH) for number in range(3)]
        for number in (2, 1):
            blocks.may_end[number].set()
            await settled()
            assert not reading.done()
        blocks.may_end[0].set()
        assert await reading == RawBlock(0, share_of(0))
        assert await told(other) == Block(0, LENGTH, (named(0).value,))
        for number in (1, 2):
            assert await device.read() == RawBlock(number, share_of(number))
            assert await told(other) == Block(number, LENGTH, (named(number).value,))


@in_virtual_time
async def test_so_many_are_made_at_a_time_and_each_is_told_what_is_on_its_way() -> None:
    blocks = FakeBlocks(WINDOW + 3)
    blocks.may_end = {number: asyncio.Event() for number in range(WINDOW)}
    async with source(blocks) as (device, other):
        reading = asyncio.create_task(device.read())
        await settled()
        assert [number for number, _ in blocks.asked] == list(range(WINDOW))
        assert blocks.on_their_way == [LENGTH * number for number in range(WINDOW)]
        for number in range(WINDOW):
            blocks.may_end[number].set()
        await reading
        for number in range(1, WINDOW + 3):
            assert (await told(other)).number == number - 1
            await device.read()
            await settled()
            begun = min(WINDOW + number, WINDOW + 3)  # one that is ready leaves room, also while others are
            assert [number for number, _ in blocks.asked] == list(range(begun))


@in_virtual_time
async def test_a_block_is_made_when_one_is_needed_and_none_before() -> None:
    blocks = FakeBlocks()
    async with source(blocks) as (device, _):
        reading = asyncio.create_task(device.read())
        await asyncio.sleep(100)
        assert blocks.asked == []
        blocks.need(1)
        assert (await reading).number == 0


@in_virtual_time
async def test_all_shares_of_a_block_are_told() -> None:
    async with source(FakeBlocks(1, shares=3)) as (device, other):
        block = await device.read()
        assert block.material == combine([share_of(0, share) for share in range(3)])
        assert (await told(other)).transfers == tuple(named(0, share).value for share in range(3))


@in_virtual_time
async def test_stopping_gives_up_what_is_being_made_and_waits_for_nothing() -> None:
    blocks = FakeBlocks(3)
    blocks.may_end = {number: asyncio.Event() for number in (0, 2)}
    async with source(blocks) as (device, _):
        reading = asyncio.create_task(device.read())
        await settled()
        assert blocks.waiting == 1
        reading.cancel()
        await device.stop()
        await asyncio.wait([reading])
        await settled()
        assert (blocks.given_up, blocks.waiting) == ([0, 2], 0)
        assert not device.status().running
        with pytest.raises(DeviceError, match="start it"):
            await device.read()
        await device.stop()  # a second time is no error


@in_virtual_time
async def test_a_device_that_is_started_again_begins_at_block_0() -> None:
    blocks = FakeBlocks(2)
    async with source(blocks) as (device, _):
        await device.read()
        await device.stop()
        blocks.need(1)
        mine, other = MemoryChannel.pair()
        await device.start(mine, DeviceRole.INITIATOR)
        assert (await device.read()).number == 0
        assert (await told(other)).number == 0
        with pytest.raises(DeviceError, match="running already"):
            await device.start(mine, DeviceRole.INITIATOR)


@in_virtual_time
async def test_a_channel_that_is_cut_ends_either_end() -> None:
    async with source(FakeBlocks(1)) as (device, other):
        await other.cut()
        with pytest.raises(DeviceError, match="have lost each other"):
            await device.read()
    async with destination(Contents()) as (device, other):
        await other.cut()
        with pytest.raises(DeviceError, match="have lost each other"):
            await device.read()


def test_its_status_says_that_it_has_no_quantum_channel() -> None:
    status = RelayDevice(FakeBlocks(), Contents().take, raise_defect).status()
    assert (status.kind, status.running, status.simulated, status.qber) == ("relay", False, False, None)


# --- the destination ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [1, 3])
@in_virtual_time
async def test_a_block_is_the_sum_of_the_contents_that_the_other_end_names(shares) -> None:
    contents = Contents()
    contents.come = {named(0, share): share_of(0, share) for share in range(shares)}
    async with destination(contents) as (device, other):
        names = tuple(named(0, share) for share in range(shares))
        await other.send(encode(Block(0, LENGTH, tuple(name.value for name in names))))
        assert await device.read() == RawBlock(0, combine([share_of(0, share) for share in range(shares)]))
        assert contents.asked == [(name, Portion(0, share, shares)) for share, name in enumerate(names)]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (encode(Block(1, LENGTH, (named(0).value,))), "tells of block 1, where block 0 was due"),
        (encode(Block(0, LENGTH + 1, (named(0).value,))), "not as long"),
        (encode(Block(0, LENGTH, (named(0).value, named(1).value))), "not as long"),
        (encode(Block(0, LENGTH, (named(0).value, named(0).value))), "has not come"),
        (encode(Block(0, LENGTH, (named(9).value,))), "has not come"),
        (encode(Answer(0, bytes(1088), Authentication("ed25519", (b"c",), b"s"))), "Answer came where Block was due"),
        (b"anything", "no relay of this release"),
    ],
    ids=["number", "length", "lengths", "twice", "missing", "kind", "form"],
)
@in_virtual_time
async def test_what_the_other_end_says_that_cannot_be_ends_the_stream(frame, why) -> None:
    contents = Contents()
    contents.come = {named(0): share_of(0), named(1): material(1, LENGTH - 1)}
    async with destination(contents) as (device, other):
        await other.send(frame)
        with pytest.raises(DeviceError, match=why):
            await device.read()


@in_virtual_time
async def test_nothing_is_taken_for_a_block_that_is_not_due() -> None:
    contents = Contents()
    async with destination(contents) as (device, other):
        await other.send(encode(Block(7, LENGTH, (named(0).value,))))
        with pytest.raises(DeviceError):
            await device.read()
        assert contents.asked == []
