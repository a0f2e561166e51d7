"""The device: one end of a quantum channel, real or simulated.

A device is trusted to know what secrecy its bits have; that both ends hold the *same* bits is checked by the module
(`core.module`), not believed. A device opens no sockets to its peer: the module hands it a channel, and starts it anew
for every key stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from qss.model.key_material import KeyMaterial
from qss.model.simulator_settings import SimulatorSettings


class DeviceRole(StrEnum):
    """Which end of the quantum channel. The QKS with the lower ID has the `INITIATOR`."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class DeviceChannel(Protocol):
    """The classical channel between the two ends of one device pair: ordered, authenticated, bounded."""

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while the channel is full. Raises `ConnectionLost` when it has ended."""
        ...

    async def receive(self) -> bytes:
        """Return the next frame of the other end. Raises `ConnectionLost` when the channel has ended."""
        ...


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Bits as a device yields them. Both ends number the same block alike, from 0, without gaps."""

    number: int
    material: KeyMaterial


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What a device says of itself."""

    kind: str
    """Name of the adapter, such as `simulator`."""
    running: bool
    rate_bps: float
    """Secret bits per second."""
    qber: float | None
    """Quantum bit error rate, 0 to 1; None if the device does not tell."""
    simulated: bool
    seeded: bool = False
    """The bits are predictable: a simulator with a seed, for tests only."""
    lost_bits: int = 0
    """Bits that were distilled and not kept, since the process began: nobody read them in time, or one end alone had
    them."""
    left_bits: int | None = None
    """How much the device can still yield at all; None if it has no end."""
    exhausted: bool = False
    """Nothing will come before somebody does something about it: no key stream is worth opening."""
    note: str = ""
    """What an operator should know now, if anything: why nothing comes, or what is about to run out."""


class Device(Protocol):
    """One end of a device pair."""

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        """Begin to distil key with the other end, block numbers from 0. Raises `DeviceError` if it cannot."""
        ...

    async def read(self) -> RawBlock:
        """Return the next block, at least 1 KiB. Raises `DeviceError` if no more will come."""
        ...

    async def stop(self) -> None:
        """Stop; blocks not yet read are destroyed. Can be called twice, and before `start`."""
        ...

    def status(self) -> DeviceStatus:
        """Return what the device says of itself now."""
        ...


@runtime_checkable
class AdjustableDevice(Device, Protocol):
    """A simulated device, whose settings can be changed while it runs."""

    @property
    def settings(self) -> SimulatorSettings:
        """What it is set to."""
        ...

    def adjust(self, settings: SimulatorSettings) -> None:
        """Go on with these settings. Raises `DeviceError` if they are the other end's to make."""
        ...
