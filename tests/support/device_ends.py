"""Both ends of a device pair, read as their modules would read them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qss.model.errors import DeviceError
from qss.ports.device import Device


async def read(device: Device, count: int) -> list[bytes]:
    """Return the next blocks of one end."""
    return [(await device.read()).material.reveal() for _ in range(count)]


async def same(devices: Sequence[Device], count: int = 1) -> list[bytes]:
    """Return blocks that both ends have alike."""
    async with asyncio.timeout(10):
        one, two = await asyncio.gather(*(read(device, count) for device in devices))
    assert one == two
    return one


async def ending(devices: Sequence[Device]) -> tuple[str, str]:
    """Return why each end ended; an end that would wait for ever is stopped with the other."""
    reading = [asyncio.create_task(read(device, 1000)) for device in devices]
    async with asyncio.timeout(10):
        await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.02)
    for task in reading:
        task.cancel()
    results = await asyncio.gather(*reading, return_exceptions=True)
    assert any(isinstance(result, DeviceError) for result in results), results
    assert all(isinstance(result, DeviceError | asyncio.CancelledError) for result in results), results
    return str(results[0]), str(results[1])
