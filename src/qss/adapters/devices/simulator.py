"""The rate-set simulator: two ends of one quantum channel that yield the same bits at a set rate.

There is no quantum channel. The initiator draws the bits from OpenSSL's generator (CTR_DRBG with AES-256, SP 800-90A),
which the operating system seeds: it costs a twelfth of the operating system's own. It sends them, as they are, over the
channel that the module hands it, inside Sync. So a simulated link gives **no more security than its Sync
connection**: whoever breaks that TLS connection, now or later, has the key. It stands in for a device in trials,
demonstrations and tests; its status says `simulated`.

The initiator keeps the pace, so its settings are the pair's: it tells them to the responder over the same channel, as
JSON in a frame that is shorter than any block.

Held here: drawing, sending, settings. Not here: when there is how much (`distilling`). Refused: seeds, except by
`UnsafeSeededSimulator`, which says what it is in its name, its status and the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
import ssl
from collections.abc import Callable
from dataclasses import asdict

import structlog

from qss.adapters.devices.distilling import Distilling
from qss.model.errors import ConnectionLost, DeviceError
from qss.model.key_material import KeyMaterial
from qss.model.simulator_settings import SimulatorSettings
from qss.model.sizes import fitting_size
from qss.ports.device import DeviceChannel, DeviceRole, DeviceStatus, RawBlock

MIN_BLOCK_BYTES = 1024
MAX_BLOCK_BYTES = 64 * 1024
"""Smallest and largest block that can be asked for."""

NAP_S = 0.25
"""A change of the settings shows within this time."""

_BLOCK_S = 0.05

_log = structlog.get_logger(__name__)


def fitting_block(rate_bps: float) -> int:
    """Return the block size, in bytes, for `rate_bps` bit/s: a power of two, 1 KiB to 64 KiB, at least 20 a second."""
    return fitting_size(rate_bps / 8 * _BLOCK_S, MIN_BLOCK_BYTES, MAX_BLOCK_BYTES)


class RateSetSimulator:
    """One end of a simulated device pair. Implements `qss.ports.device.AdjustableDevice`.

    A block is there when its bits have come in at the set rate. The initiator is held up when nobody reads it, or
    nobody reads the other end; what its buffer does not hold meanwhile is lost.
    """

    kind = "simulator"
    seeded = False

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        block_bytes: int | None = None,
        entropy: Callable[[int], bytes] = ssl.RAND_bytes,
        dice: random.Random | None = None,
    ) -> None:
        """Simulate raw blocks of `block_bytes` bytes (None: what fits the rate). `dice` decide on jitter and outages.

        Raises `DeviceError` for a size that cannot be.
        """
        size = fitting_block(settings.rate_bps) if block_bytes is None else block_bytes
        if not MIN_BLOCK_BYTES <= size <= MAX_BLOCK_BYTES:
            raise DeviceError(
                f"a simulator cannot have blocks of {size} bytes: set {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES}"
            )
        self._block_bytes = size
        self._entropy = entropy
        self._distilling = Distilling(settings, 8 * size, dice or random.Random())  # noqa: S311 - no secret
        self._channel: DeviceChannel | None = None
        self._role = DeviceRole.INITIATOR
        self._number = 0
        self._told: SimulatorSettings | None = None

    @property
    def settings(self) -> SimulatorSettings:
        """What it is set to; at the responder what the initiator was set to when it told last."""
        return self._distilling.settings

    def adjust(self, settings: SimulatorSettings) -> None:
        """Go on with these settings. Raises `DeviceError` at the responder while it runs: the initiator has the say."""
        if self._channel is not None and self._role is DeviceRole.RESPONDER:
            raise DeviceError("the other end of this device pair keeps the pace: set it at the site with the lower ID")
        self._distilling.change(settings, _now())

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        """Begin at block 0, with nothing distilled."""
        if self._channel is not None:
            raise DeviceError("the simulator is running already; stop it first")
        self._channel, self._role = channel, role
        self._number, self._told = 0, None
        if role is DeviceRole.INITIATOR:
            self._distilling.start(_now())

    async def read(self) -> RawBlock:
        """Return the next block when it is there. Whoever stops the device cancels a read under way first.

        Raises `DeviceError` if the device is not running, or if its channel has ended.
        """
        channel = self._channel
        if channel is None:
            raise DeviceError("the simulator is not running; start it")
        try:
            block = await (self._send if self._role is DeviceRole.INITIATOR else self._receive)(channel)
        except ConnectionLost as error:
            raise DeviceError(f"the simulated quantum channel has ended: {error}") from error
        number = self._number
        self._number += 1
        return RawBlock(number, KeyMaterial(block))

    async def _send(self, channel: DeviceChannel) -> bytes:
        await self._tell(channel)
        while wait := self._distilling.take(_now()):
            await asyncio.sleep(min(wait, NAP_S))
            await self._tell(channel)
        await asyncio.sleep(0)  # also one that has much to catch up with lets others have their turn
        block = self._entropy(self._block_bytes)
        await channel.send(block)
        return block

    async def _tell(self, channel: DeviceChannel) -> None:
        if self._told != self.settings:
            self._told = self.settings
            await channel.send(json.dumps(asdict(self._told)).encode())

    async def _receive(self, channel: DeviceChannel) -> bytes:
        while len(frame := await channel.receive()) < MIN_BLOCK_BYTES:
            try:
                settings = SimulatorSettings(**json.loads(frame))
            except (ValueError, TypeError):
                raise DeviceError("the other end of this device pair is no simulator of this release") from None
            self._distilling.change(settings, _now())
        return frame

    async def stop(self) -> None:
        """Stop. Can be called twice, and before `start`."""
        self._channel = None
        self._distilling.stop(_now())

    def status(self) -> DeviceStatus:
        """Return the set rate and QBER, that there is nothing quantum about them, and why nothing comes."""
        running = self._channel is not None
        paces = self._role is DeviceRole.INITIATOR
        trouble = self._distilling.trouble(_now()) if running and paces else self.settings.trouble
        return DeviceStatus(
            kind=self.kind,
            running=running,
            rate_bps=self.settings.rate_bps,
            qber=self.settings.qber,
            simulated=True,
            seeded=self.seeded,
            lost_bits=self._distilling.lost_bits,
            note=trouble if running else "",
        )


class UnsafeSeededSimulator(RateSetSimulator):
    """A simulator whose bits anyone can compute who knows the seed: for tests, and for nothing else.

    All streams of one object draw from one sequence, SHAKE256 over seed and block count, so none repeats another; a new
    object begins the sequence anew.
    """

    kind = "seeded-simulator"
    seeded = True

    def __init__(self, settings: SimulatorSettings, seed: int, *, block_bytes: int | None = None) -> None:
        """As `RateSetSimulator`, with a `seed` from 0 to 2^63 - 1; jitter and outages follow from it as well."""
        if not 0 <= seed < 1 << 63:
            raise DeviceError(f"the seed {seed} is not from 0 to 2^63 - 1")
        blocks = itertools.count()
        start = seed.to_bytes(8)
        super().__init__(
            settings,
            block_bytes=block_bytes,
            entropy=lambda size: hashlib.shake_256(start + next(blocks).to_bytes(8)).digest(size),
            dice=random.Random(seed),  # noqa: S311 - for tests only
        )
        _log.warning("seeded simulator: its key is predictable and protects nothing; for tests only")


def _now() -> float:
    return asyncio.get_running_loop().time()
