"""The rate-set simulator: two ends of one quantum channel that yield the same bits at a set rate.

There is no quantum channel. The initiator draws the bits from the operating system and sends them, as they are, over
the channel that the module hands it, inside Sync. So a simulated link gives **no more security than its Sync
connection**: whoever breaks that TLS connection, now or later, has the key. It stands in for a device in trials,
demonstrations and tests; its status says `simulated`.

Held here: drawing, pacing, sending. Refused: seeds, except by `UnsafeSeededSimulator`, which says what it is in its
name, its status and the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import Callable

import structlog

from qss.model.errors import ConnectionLost, DeviceError
from qss.model.key_material import KeyMaterial
from qss.model.sizes import fitting_size
from qss.ports.device import DeviceChannel, DeviceRole, DeviceStatus, RawBlock

MIN_BLOCK_BYTES = 1024
MAX_BLOCK_BYTES = 64 * 1024
"""Smallest and largest block that can be asked for."""

CATCH_UP_S = 0.25
"""An end that was held up makes up for at most this time; what it missed beyond is not distilled."""

_BLOCK_S = 0.05

_log = structlog.get_logger(__name__)


def fitting_block(rate_bps: float) -> int:
    """Return the block size, in bytes, for `rate_bps` bit/s: a power of two, 1 KiB to 64 KiB, at least 20 a second."""
    return fitting_size(rate_bps / 8 * _BLOCK_S, MIN_BLOCK_BYTES, MAX_BLOCK_BYTES)


class RateSetSimulator:
    """One end of a simulated device pair. Implements `qss.ports.device.Device`.

    Block n is due when its bits have come in at the set rate since the start. The initiator keeps the pace, and is held
    up when nobody reads it, or nobody reads the other end.
    """

    kind = "simulator"
    seeded = False

    def __init__(
        self,
        rate_bps: float,
        *,
        qber: float = 0.02,
        block_bytes: int | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Simulate `rate_bps` bit/s of raw blocks of `block_bytes` bytes (None: what fits the rate).

        `qber` is only reported. Raises `DeviceError` for a rate, size or QBER that cannot be.
        """
        size = fitting_block(rate_bps) if block_bytes is None else block_bytes
        if not rate_bps > 0 or not MIN_BLOCK_BYTES <= size <= MAX_BLOCK_BYTES or not 0 <= qber <= 1:
            raise DeviceError(
                f"a simulator cannot have {rate_bps} bit/s in blocks of {size} bytes at QBER {qber}: "
                f"set a rate above 0, blocks of {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes and a QBER from 0 to 1"
            )
        self._rate_bps = float(rate_bps)
        self._qber = qber
        self._block_bytes = size
        self._block_s = 8 * size / self._rate_bps
        self._entropy = entropy
        self._channel: DeviceChannel | None = None
        self._role = DeviceRole.INITIATOR
        self._number = 0
        self._due = 0.0

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        """Begin at block 0, which is due when its bits have come in."""
        if self._channel is not None:
            raise DeviceError("the simulator is running already; stop it first")
        self._channel, self._role = channel, role
        self._number = 0
        self._due = asyncio.get_running_loop().time() + self._block_s

    async def read(self) -> RawBlock:
        """Return the next block when it is due. Whoever stops the device cancels a read under way first.

        Raises `DeviceError` if the device is not running, or if its channel has ended.
        """
        channel = self._channel
        if channel is None:
            raise DeviceError("the simulator is not running; start it")
        try:
            if self._role is DeviceRole.INITIATOR:
                await self._until_due()
                block = self._entropy(self._block_bytes)
                await channel.send(block)
            else:
                block = await channel.receive()
        except ConnectionLost as error:
            raise DeviceError(f"the simulated quantum channel has ended: {error}") from error
        number = self._number
        self._number += 1
        return RawBlock(number, KeyMaterial(block))

    async def _until_due(self) -> None:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - CATCH_UP_S)
        await asyncio.sleep(max(0.0, self._due - now))
        self._due += self._block_s

    async def stop(self) -> None:
        """Stop. Can be called twice, and before `start`."""
        self._channel = None

    def status(self) -> DeviceStatus:
        """Return the set rate and QBER, and that there is nothing quantum about them."""
        return DeviceStatus(
            kind=self.kind,
            running=self._channel is not None,
            rate_bps=self._rate_bps,
            qber=self._qber,
            simulated=True,
            seeded=self.seeded,
        )


class UnsafeSeededSimulator(RateSetSimulator):
    """A simulator whose bits anyone can compute who knows the seed: for tests, and for nothing else.

    All streams of one object draw from one sequence, SHAKE256 over seed and block count, so none repeats another; a new
    object begins the sequence anew.
    """

    kind = "seeded-simulator"
    seeded = True

    def __init__(self, rate_bps: float, seed: int, *, qber: float = 0.02, block_bytes: int | None = None) -> None:
        """As `RateSetSimulator`, with a `seed` from 0 to 2^63 - 1."""
        if not 0 <= seed < 1 << 63:
            raise DeviceError(f"the seed {seed} is not from 0 to 2^63 - 1")
        blocks = itertools.count()
        start = seed.to_bytes(8)
        super().__init__(
            rate_bps,
            qber=qber,
            block_bytes=block_bytes,
            entropy=lambda size: hashlib.shake_256(start + next(blocks).to_bytes(8)).digest(size),
        )
        _log.warning("seeded simulator: its key is predictable and protects nothing; for tests only")
