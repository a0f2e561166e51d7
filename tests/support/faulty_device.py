"""A device whose blocks something happens to on their way out."""

from __future__ import annotations

from collections.abc import Callable

from qss.adapters.devices.simulator import RateSetSimulator
from qss.model.simulator_settings import SimulatorSettings
from qss.ports.device import DeviceChannel, DeviceRole, RawBlock
from support.module_runners import FAST_BPS

Fault = Callable[[RawBlock], RawBlock]


def no_fault(block: RawBlock) -> RawBlock:
    """Leave a block as it is."""
    return block


class FaultyDevice:
    """A simulator whose blocks go through `fault`, and which counts what is done with it."""

    def __init__(self, fault: Fault = no_fault, rate_bps: float = FAST_BPS) -> None:
        self._device = RateSetSimulator(SimulatorSettings(rate_bps=rate_bps), block_bytes=1024)
        self.fault = fault
        self.starts = 0
        self.reads = 0
        self.status = self._device.status
        self.stop = self._device.stop

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        self.starts += 1
        await self._device.start(channel, role)

    async def read(self) -> RawBlock:
        block = self.fault(await self._device.read())
        self.reads += 1
        return block
