"""The key reservation process as a device: who makes a block and when, and what the other end may say of it.

What holds for every device is in tests/contract/device.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from qss.core.keyserver.stream_supply import Stock, Supply
from qss.model.errors import BadRequest, DeviceError, LimitReached, PeerUnavailable, QssError, Shortage
from qss.model.identifiers import ReservationId
from qss.model.key_material import KeyMaterial
from qss.ports.device import DeviceRole, RawBlock
from qss.runtime.key_streams.device import FIRST_PAUSE_S, LONGEST_PAUSE_S, ReservedKeyDevice
from qss.runtime.key_streams.pair_keys import Reserved
from qss.wire.stream_device import Keys, Want, decode, encode
from support.device_channel import MemoryChannel
from support.module_runners import raise_defect
from support.virtual_time import in_virtual_time, settled

NAME = ReservationId.from_entropy(b"r" * 16)
BLOCK = KeyMaterial(bytes(1024))


@dataclass
class FakeKeys:
    """What the device reserves and fetches with, and what of the stream there is."""

    fails: QssError | None = None
    asked: list[tuple[float, int]] = field(default_factory=list)
    fetched: list[tuple[ReservationId, int]] = field(default_factory=list)
    repeaters: list[int] = field(default_factory=list)
    stock: Stock = field(default_factory=lambda: Stock(0, 0))

    async def reserve(self, length: int) -> Reserved:
        self.asked.append((asyncio.get_running_loop().time(), length))
        if self.fails is not None:
            raise self.fails
        return Reserved(NAME, 3, BLOCK, repeaters=2)

    async def fetch(self, reservation: ReservationId, count: int) -> Reserved:
        self.fetched.append((reservation, count))
        if self.fails is not None:
            raise self.fails
        return Reserved(reservation, count, BLOCK, repeaters=1)


@asynccontextmanager
async def end(keys: FakeKeys, *, asks: bool) -> AsyncIterator[tuple[ReservedKeyDevice, MemoryChannel]]:
    """One end that runs, with chunks of 32 bytes, and the other end of its channel."""
    mine, theirs = MemoryChannel.pair()
    device = ReservedKeyDevice(keys, Supply(32), lambda: keys.stock, keys.repeaters.append, raise_defect, asks=asks)
    await device.start(mine, DeviceRole.RESPONDER)
    yield device, theirs
    await device.stop()


# --- the end that asks --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_block_is_reserved_and_told() -> None:
    keys = FakeKeys()
    async with end(keys, asks=True) as (device, other):
        assert await device.read() == RawBlock(0, BLOCK)
        assert decode(await other.receive(), Keys) == Keys(0, NAME.value, 3)
        assert keys.repeaters == [2]
        assert (await device.read()).number == 1
        assert decode(await other.receive(), Keys).number == 1


@in_virtual_time
async def test_none_is_made_until_one_is_wanted() -> None:
    keys = FakeKeys(stock=Stock(0, 976))
    async with end(keys, asks=True) as (device, other):
        reading = asyncio.create_task(device.read())
        await asyncio.sleep(60)
        assert not keys.asked
        await other.send(encode(Want(976)))  # there is as much
        await settled()
        assert not keys.asked
        await other.send(encode(Want(977)))
        await settled()
        assert [length for _, length in keys.asked] == [1024]
        assert reading.done()
        again = asyncio.create_task(device.read())
        keys.stock = Stock(1952, 0)  # what was there was taken
        device.poke()
        assert (await again).number == 1


@pytest.mark.parametrize("error", [Shortage("none"), LimitReached("quota"), PeerUnavailable("away")])
@in_virtual_time
async def test_what_may_be_had_later_is_asked_for_again_after_growing_pauses(error: QssError) -> None:
    keys = FakeKeys(error)
    async with end(keys, asks=True) as (device, _):
        reading = asyncio.create_task(device.read())
        await asyncio.sleep(20)
        assert device.status().note == str(error)
        times = [at for at, _ in keys.asked]
        pauses = [after - before for before, after in pairwise(times)]
        assert pauses[0] == pytest.approx(FIRST_PAUSE_S)
        assert pauses[1] == pytest.approx(2 * FIRST_PAUSE_S)
        assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S)
        keys.fails = None
        await reading
        assert device.status().note == ""


@pytest.mark.parametrize("asks", [True, False])
@in_virtual_time
async def test_what_will_not_be_had_ends_the_stream(asks: bool) -> None:
    async with end(FakeKeys(BadRequest("no such way")), asks=asks) as (device, other):
        if not asks:
            await other.send(encode(Keys(0, NAME.value, 1)))
        with pytest.raises(DeviceError, match="no key can be had for it: no such way"):
            await device.read()


@pytest.mark.parametrize("frame", [b"", b"\xc1", encode(Keys(0, NAME.value, 1)), encode(Want(1)) + b"\0"])
@in_virtual_time
async def test_what_is_no_want_ends_the_stream_also_while_none_is_wanted(frame: bytes) -> None:
    keys = FakeKeys(stock=Stock(0, 4096))
    async with end(keys, asks=True) as (device, other):
        reading = asyncio.create_task(device.read())
        await other.send(frame)
        with pytest.raises(DeviceError):
            await reading
        assert not keys.asked


@in_virtual_time
async def test_a_want_never_lowers_what_was_wanted() -> None:
    keys = FakeKeys(stock=Stock(0, 100))
    async with end(keys, asks=True) as (device, other):
        for total in (200, 0):
            await other.send(encode(Want(total)))
        await settled()
        assert (await device.read()).number == 0


# --- the other end ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_is_told_is_fetched() -> None:
    keys = FakeKeys(stock=Stock(0, 32))
    async with end(keys, asks=False) as (device, other):
        await other.send(encode(Keys(0, NAME.value, 3)))
        assert await device.read() == RawBlock(0, BLOCK)
        assert keys.fetched == [(NAME, 3)]
        assert keys.repeaters == [1]
        assert not other.frames  # there is enough


@in_virtual_time
async def test_what_is_wanted_is_said_once_and_only_if_it_is_not_there() -> None:
    keys = FakeKeys()
    async with end(keys, asks=False) as (device, other):
        assert decode(await other.receive(), Want) == Want(32)
        device.poke()
        await settled()
        assert not other.frames
        keys.stock = Stock(32, 100)
        device.poke()
        await settled()
        assert not other.frames
        keys.stock = Stock(132, 0)
        device.poke()
        assert decode(await other.receive(), Want) == Want(164)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (encode(Keys(1, NAME.value, 1)), "tells of block 1, where block 0 was due"),
        (encode(Keys(0, bytes(16), 1)), "a reservation ID is"),
        (encode(Want(1)), "Want came where Keys was due"),
        (b"anything", "is no frame"),
    ],
)
@in_virtual_time
async def test_what_cannot_be_told_ends_the_stream_and_fetches_nothing(frame: bytes, why: str) -> None:
    keys = FakeKeys()
    async with end(keys, asks=False) as (device, other):
        await other.send(frame)
        with pytest.raises(DeviceError, match=why):
            await device.read()
        assert keys.fetched == []


# --- both ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asks", [True, False])
@in_virtual_time
async def test_a_read_that_waits_ends_with_its_channel(asks: bool) -> None:
    async with end(FakeKeys(stock=Stock(0, 4096)), asks=asks) as (device, other):
        reading = asyncio.create_task(device.read())
        await settled()
        await other.cut()
        with pytest.raises(DeviceError, match="the channel was cut"):
            await reading


def test_its_status_says_that_it_has_no_quantum_channel() -> None:
    device = ReservedKeyDevice(FakeKeys(), Supply(32), lambda: Stock(0, 0), lambda _: None, raise_defect, asks=True)
    status = device.status()
    assert (status.kind, status.running, status.simulated, status.qber) == ("key-server", False, False, None)
