"""Couriered key as a device: two ends with the same files, which are used from the beginning, once.

Somebody made the key elsewhere, and brought one copy to each end. There is no quantum channel; the secrecy is that of
the making and the way. Over the channel go, in this order:

1. once, from each end: size and SHA-256 of each of its files (JSON). What is used is the files that both have, from the
   first one on; if two differ, nothing is used.
2. for each block, from each end: how far its files are used (8 bytes, most significant first). The block begins at the
   higher of the two, and what lies before is given up: an end that crashed may have used it.

The digests say nothing useful of key that is random; who counts every bit may count 256 of each file as told to whoever
can read Sync. Held here: what the ends say to each other, and the pace. Not here: files and what a crash leaves
(`key_files`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import structlog

from qss.adapters.devices.key_files import KeyFiles, Used
from qss.model.errors import ConnectionLost, DeviceError
from qss.model.key_material import KeyMaterial
from qss.ports.device import DeviceChannel, DeviceRole, DeviceStatus, RawBlock

MIN_BLOCK_BYTES = 1024
MAX_BLOCK_BYTES = 64 * 1024
"""Smallest and largest block that can be asked for."""

DEFAULT_RATE_BPS = 1e6
DEFAULT_BLOCK_BYTES = 16 * 1024

CATCH_UP_S = 0.25
"""An end that was held up makes up for at most this time."""

_MOST_AHEAD_BLOCKS = 64
"""How far the other end may be ahead, in blocks: a lying one must not be able to have all key given up at once."""

_VERSION = 1
_WARN_PART = 10

_log = structlog.get_logger(__name__)


class FileDevice:
    """One end of couriered key. Implements `qss.ports.device.Device`."""

    kind = "file"

    def __init__(
        self,
        path: Path,
        *,
        state: Path | None = None,
        used: Used = Used.OVERWRITTEN,
        rate_bps: float = DEFAULT_RATE_BPS,
        block_bytes: int = DEFAULT_BLOCK_BYTES,
        warn_bits: int | None = None,
    ) -> None:
        """Use the key in the file or folder `path`, at most `rate_bps` bit/s of it, in blocks of `block_bytes` bytes.

        `state` and `used` are as in `KeyFiles`; the smaller of the two ends' blocks is taken. When less than
        `warn_bits` are left (None: a tenth of all), status and log say so. Raises `DeviceError` for a rate or size that
        cannot be.
        """
        if not rate_bps > 0 or not MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES:
            raise DeviceError(
                f"couriered key cannot be used at {rate_bps} bit/s in blocks of {block_bytes} bytes: "
                f"set a rate above 0, and blocks of {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes"
            )
        self._path = path
        self._files = KeyFiles(path, state, used)
        self._rate_bps = float(rate_bps)
        self._block_bytes = block_bytes
        self._warn_bits = warn_bits
        self._warned = False
        self._channel: DeviceChannel | None = None
        self._work: asyncio.Future[object] | None = None
        self._limit: int | None = None
        self._size = 0
        self._number = 0
        self._due = 0.0

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        """Open the files; reads all that is new of them. The other end is met with the first block."""
        if self._channel is not None:
            raise DeviceError("the couriered key is in use already; stop it first")
        del role  # both ends do the same
        await self._in_thread(self._files.open)
        self._channel = channel
        self._limit, self._size, self._number = None, self._block_bytes, 0
        self._due = asyncio.get_running_loop().time()

    async def read(self) -> RawBlock:
        """Return the next block, once both ends ask for it. Raises `DeviceError` at the end of the key."""
        channel = self._channel
        if channel is None:
            raise DeviceError("the couriered key is not in use; start it")
        try:
            if self._limit is None:
                self._limit = await self._meet(channel)
            self._refuse_used_up(self._files.position, self._limit)
            await self._until_due()
            start = await self._agree(channel, self._limit)
        except ConnectionLost as error:
            raise DeviceError(f"the channel to the other end of the couriered key has ended: {error}") from error
        if self._limit - start < MIN_BLOCK_BYTES:
            await self._in_thread(lambda: self._files.take(start, 0))
        self._refuse_used_up(start, self._limit)
        length = min(self._size, self._limit - start)
        taken = await self._in_thread(lambda: self._files.take(start, length))
        self._warn()
        self._due += 8 * length / self._rate_bps
        number = self._number
        self._number += 1
        return RawBlock(number, KeyMaterial(taken))

    async def _meet(self, channel: DeviceChannel) -> int:
        """Tell and learn what files there are; return how many bytes both ends have alike."""
        mine = [(file.size, file.digest.hex()) for file in self._files.files]
        hello = {"device": self.kind, "version": _VERSION, "block_bytes": self._block_bytes, "files": mine}
        await channel.send(json.dumps(hello).encode())
        theirs, block_bytes = _hello(await channel.receive())
        common = min(len(mine), len(theirs))
        for place in range(common):
            if mine[place] != theirs[place]:
                raise DeviceError(
                    f"the two ends have different key in {self._files.files[place].name}: bring the same files, with "
                    "names that sort alike, to both"
                )
        if len(mine) != len(theirs):
            _log.warning(
                "one end has more files of couriered key than the other; they wait",
                path=str(self._path),
                here=len(mine),
                there=len(theirs),
            )
        self._size = min(self._block_bytes, block_bytes)
        return sum(size for size, _ in mine[:common])

    async def _agree(self, channel: DeviceChannel, limit: int) -> int:
        """Return where the next block begins."""
        mine = self._files.position
        await channel.send(mine.to_bytes(8))
        frame = await channel.receive()
        theirs = int.from_bytes(frame)
        if len(frame) != 8 or theirs > max(limit, mine):
            raise DeviceError("the other end says of its couriered key what cannot be; check its release and its files")
        if theirs - mine > _MOST_AHEAD_BLOCKS * self._size:
            raise DeviceError(
                f"the other end says that it has used {theirs - mine} bytes of the couriered key more than this one, "
                "which no interruption explains: find out why, then give both ends fresh key"
            )
        if theirs > mine:
            _log.warning("couriered key is given up: the other end has used it", bits=8 * (theirs - mine))
        return max(mine, theirs)

    async def _until_due(self) -> None:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - CATCH_UP_S)
        await asyncio.sleep(max(0.0, self._due - now))

    async def _in_thread[T](self, work: Callable[[], T]) -> T:
        """Run what blocks, to its end even if nobody waits any more: `stop` does then."""
        future = asyncio.get_running_loop().run_in_executor(None, work)
        self._work = cast("asyncio.Future[object]", future)
        return await asyncio.shield(future)

    async def stop(self) -> None:
        """Stop, and let others use the files. A block that is being read is lost."""
        if self._work is not None and not self._work.done():
            with contextlib.suppress(DeviceError):
                await asyncio.shield(self._work)
        self._channel = self._work = None
        self._files.close()

    # --- what it says of itself ---------------------------------------------------------------------------------------

    @property
    def _own_bytes_left(self) -> int:
        return self._files.size - self._files.position

    @property
    def _left_bits(self) -> int:
        """Of what both ends have alike, as far as is known."""
        if self._limit is None:
            return 8 * self._own_bytes_left
        return 8 * max(0, self._limit - self._files.position)

    def _runs_low(self) -> bool:
        warn_bits = 8 * self._files.size // _WARN_PART if self._warn_bits is None else self._warn_bits
        return bool(self._files.files) and self._left_bits < warn_bits

    def _warn(self) -> None:
        if not self._runs_low():
            self._warned = False
        elif not self._warned:
            self._warned = True
            _log.warning("couriered key runs low: bring more to both ends", path=str(self._path), bits=self._left_bits)

    def _refuse_used_up(self, position: int, limit: int) -> None:
        if limit - position < MIN_BLOCK_BYTES:
            _log.error("couriered key is used up", path=str(self._path))
            raise DeviceError(self._used_up)

    @property
    def _used_up(self) -> str:
        return f"the couriered key in {self._path} is used up: bring fresh key to both ends"

    def status(self) -> DeviceStatus:
        """Return the configured rate, and what is left."""
        files = self._files
        exhausted = bool(files.files) and self._own_bytes_left < MIN_BLOCK_BYTES and not files.has_news()
        if exhausted:
            note = self._used_up
        elif self._runs_low():
            note = f"of the couriered key in {self._path} {self._left_bits} bits are left: bring more to both ends"
        else:
            note = ""
        return DeviceStatus(
            kind=self.kind,
            running=self._channel is not None,
            rate_bps=self._rate_bps,
            qber=0.0,
            simulated=False,
            left_bits=self._left_bits if self._files.files else None,
            exhausted=exhausted,
            note=note,
        )


def _hello(frame: bytes) -> tuple[list[tuple[int, str]], int]:
    """Read the other end's first frame: its files and its size of blocks."""
    try:
        hello = json.loads(frame)
        kind, version = hello["device"], hello["version"]
        files = [(int(size), str(digest)) for size, digest in hello["files"]]
        block_bytes = int(hello["block_bytes"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        kind, version, files, block_bytes = None, None, [], 0
    if (kind, version) != (FileDevice.kind, _VERSION):
        raise DeviceError(
            "the other end of this device pair has no couriered key, or another release: configure both ends alike"
        )
    if not MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES:
        raise DeviceError(f"the other end has blocks of {block_bytes} bytes; correct its configuration")
    return files, block_bytes
