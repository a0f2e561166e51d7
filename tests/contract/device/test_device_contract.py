"""What every device promises (`qss.ports.device`), alone and inside two modules that speak Sync."""

from __future__ import annotations

import asyncio

import pytest

from qss.core.module import Phase
from qss.crypto.block_check import MIN_BLOCK_BYTES
from qss.model.errors import DeviceError
from qss.ports.device import DeviceRole
from support.module_runners import TwoModules, chunks, until


async def started(devices, channels):
    await devices[0].start(channels[0], DeviceRole.INITIATOR)
    await devices[1].start(channels[1], DeviceRole.RESPONDER)
    return devices


async def blocks(device, count):
    return [await device.read() for _ in range(count)]


async def test_both_ends_yield_the_same_blocks_numbered_from_0_without_gaps(devices, channels):
    a, b = await started(devices, channels)
    one, two = await asyncio.gather(blocks(a, 20), blocks(b, 20))
    assert one == two
    assert [block.number for block in one] == list(range(20))
    assert len({block.material.reveal() for block in one}) == 20


async def test_blocks_are_large_enough_to_be_checked(devices, channels):
    a, b = await started(devices, channels)
    for block in await asyncio.gather(a.read(), b.read()):
        assert len(block.material) >= MIN_BLOCK_BYTES


async def test_every_start_numbers_from_0_and_yields_other_bits(devices, channels):
    a, b = await started(devices, channels)
    before, _ = await asyncio.gather(blocks(a, 3), blocks(b, 3))
    for device in devices:
        await device.stop()
    a, b = await started(devices, type(channels[0]).pair())
    one, two = await asyncio.gather(blocks(a, 3), blocks(b, 3))
    assert one == two
    assert [block.number for block in one] == [0, 1, 2]
    assert not {block.material.reveal() for block in one} & {block.material.reveal() for block in before}


async def test_what_one_end_does_not_take_holds_the_other_up_and_is_not_lost(devices, channels):
    a, b = await started(devices, channels)
    reading = asyncio.create_task(blocks(a, 40))
    await asyncio.sleep(0.03)
    assert not reading.done()
    assert await blocks(b, 40) == await reading


async def test_an_ended_channel_ends_the_device(devices, channels):
    a, b = await started(devices, channels)
    await channels[0].cut()
    for device in (a, b):
        with pytest.raises(DeviceError):
            await blocks(device, 10_000)


async def test_a_stopped_device_yields_nothing_and_can_be_stopped_at_any_time(devices, channels):
    for device in devices:
        await device.stop()
    a, _ = await started(devices, channels)
    for device in devices:
        await device.stop()
        await device.stop()
    with pytest.raises(DeviceError):
        await a.read()


async def test_a_device_that_was_not_started_yields_nothing(devices):
    for device in devices:
        with pytest.raises(DeviceError, match="start it"):
            await device.read()


async def test_a_stop_in_the_middle_of_a_read_leaves_the_device_ready(devices, channels):
    a, b = await started(devices, channels)
    reading = asyncio.create_task(blocks(a, 1000))
    await blocks(b, 2)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    for device in devices:
        await device.stop()
    a, b = await started(devices, type(channels[0]).pair())
    one, two = await asyncio.gather(blocks(a, 3), blocks(b, 3))
    assert one == two
    assert [block.number for block in one] == [0, 1, 2]


async def test_a_running_device_is_not_started_again(devices, channels):
    a, _ = await started(devices, channels)
    with pytest.raises(DeviceError, match="stop it first"):
        await a.start(channels[0], DeviceRole.INITIATOR)


async def test_status_says_whether_it_runs_and_what_it_yields(devices, channels):
    assert not devices[0].status().running
    await started(devices, channels)
    for device in devices:
        status = device.status()
        assert status.running
        assert status.rate_bps > 0
        assert status.qber is None or 0 <= status.qber <= 1
        assert status.kind
        assert not status.exhausted


async def test_two_modules_make_one_key_stream_of_it_and_then_another(devices):
    """Over a real Sync connection, its window and its block check; what is accepted passed the health tests."""
    pulled = []
    async with TwoModules(*devices) as modules:
        for _ in range(2):
            opened = await modules.open(1024)
            one, two = await asyncio.gather(*(chunks(m, opened.stream, 40) for m in (modules.a, modules.b)))
            assert one == two
            pulled += one
            await modules.a.close(opened.stream)
        for module in (modules.a, modules.b):
            counts = module.status().counts
            assert (counts.unequal_blocks, counts.unhealthy) == (0, {})
    assert len(set(pulled)) == 80


async def test_modules_that_are_cut_off_go_on_with_a_new_stream(devices):
    async with TwoModules(*devices) as modules:
        first = await modules.open(1024)
        before = await chunks(modules.a, first.stream, 5)
        modules.connections[0].cut()
        await until(lambda: {m.status().phase for m in (modules.a, modules.b)} == {Phase.DOWN})
        await modules.connect()
        second = await modules.open(1024)
        one, two = await asyncio.gather(*(chunks(m, second.stream, 5) for m in (modules.a, modules.b)))
        assert one == two
        assert not set(one) & set(before)
