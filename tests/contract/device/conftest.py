"""Every kind of device that must keep the port's contract: each test runs on a pair of each.

A further kind joins by its line in `PAIRS`: a function that makes both ends of one pair, given a folder of its own. Its
blocks should be small and come fast, and some hundreds of KiB should be there to read.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from qss.adapters.devices.file import FileDevice
from qss.adapters.devices.simulator import RateSetSimulator, UnsafeSeededSimulator
from qss.model.simulator_settings import SimulatorSettings
from qss.ports.device import Device
from support.device_channel import MemoryChannel

RATE_BPS = 50e6
SETTINGS = SimulatorSettings(rate_bps=RATE_BPS)
BLOCK_BYTES = 2048


def couriered(folder: Path) -> tuple[Device, Device]:
    """Make two copies of one file of key."""
    key = os.urandom(1 << 20)
    ends = []
    for name in ("here", "there"):
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(key)
        ends.append(FileDevice(path, rate_bps=RATE_BPS, block_bytes=BLOCK_BYTES))
    return ends[0], ends[1]


PAIRS: dict[str, Callable[[Path], tuple[Device, Device]]] = {
    "simulator": lambda _: (
        RateSetSimulator(SETTINGS, block_bytes=BLOCK_BYTES),
        RateSetSimulator(SETTINGS, block_bytes=BLOCK_BYTES),
    ),
    "seeded-simulator": lambda _: (
        UnsafeSeededSimulator(SETTINGS, 7, block_bytes=BLOCK_BYTES),
        UnsafeSeededSimulator(SETTINGS, 7, block_bytes=BLOCK_BYTES),
    ),
    "file": couriered,
}


@pytest.fixture(params=PAIRS)
async def devices(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Device, Device]]:
    """Both ends, not started."""
    pair = PAIRS[request.param](tmp_path)
    yield pair
    for device in pair:
        await device.stop()


@pytest.fixture
def channels() -> tuple[MemoryChannel, MemoryChannel]:
    return MemoryChannel.pair()
