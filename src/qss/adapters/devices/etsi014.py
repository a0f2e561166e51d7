"""A vendor's box, or a key management entity, that offers ETSI GS QKD 014 as a device at both ends.

The *master* asks its box for keys and tells their IDs to the *slave* over the channel that the module hands it (so
inside Sync); the slave fetches the same keys from its box by their IDs. Which end is which is configured, and nothing
to do with who dials. What keys make a block stands in `key_blocks`; `docs/reference/vendor-boxes.md` numbers the steps.

Held here: asking, offering, fetching, and whose move it is. A key that the slave's box does not have costs the keys of
that request, at both ends alike. That the boxes gave both ends the same bytes is not believed but checked by the
module, like that of every device. Refused: to go on with a box that gives a key ID twice, or that refuses the SAE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum

import structlog

from qss.adapters.devices.key_blocks import KeyBlocks, KnownIds
from qss.adapters.devices.patience import Patience, until_answered
from qss.client.errors import KeyServerRefused
from qss.client.vendor_box import VendorBox
from qss.model.errors import DeviceError, QssError, RemoteProtocolError, Shortage
from qss.model.identifiers import KeyId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyLimits
from qss.ports.device import DeviceChannel, DeviceRole, DeviceStatus, RawBlock
from qss.wire.vendor_boxes import (
    MAX_BLOCK_BYTES,
    MAX_KEY_BYTES,
    MAX_OFFERED,
    MIN_BLOCK_BYTES,
    Held,
    Offer,
    Ready,
    Terms,
    decode,
    encode,
)

_NOT_FOUND = (400, 404)
"""How boxes say that they do not have a key (ETSI GS QKD 014, clause 6.4, says 400)."""

_log = structlog.get_logger(__name__)


class Side(StrEnum):
    """Which end of a pair of boxes this is: the `MASTER` asks for fresh keys, the `SLAVE` fetches them by their IDs."""

    MASTER = "master"
    SLAVE = "slave"


class Etsi014Device:
    """One end of a pair of boxes. Implements `qss.ports.device.Device`."""

    kind = "etsi014"

    def __init__(
        self,
        box: Callable[[], VendorBox],
        side: Side,
        own_sae: str,
        other_sae: str,
        *,
        key_bits: int | None = None,
        block_bytes: int = MIN_BLOCK_BYTES,
        rate_bps: float = 10_000.0,
        patience: Patience | None = None,
    ) -> None:
        """Take key from the box that `box` makes a client of, anew for every key stream.

        `own_sae` and `other_sae` are the SAE IDs under which the two ends are known to the boxes.
        `key_bits` (None: the box's default) and `block_bytes`, the least that a block has, count at the master.
        `rate_bps` is what the box is said to yield, and is reported until there is a rate that was measured.
        """
        if not MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES or not rate_bps > 0:
            raise DeviceError(
                f"a box cannot yield blocks of {block_bytes} bytes at {rate_bps} bit/s: "
                f"set {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes and a rate above 0"
            )
        self._box = box
        self._side = side
        self._names = own_sae, other_sae
        self._key_bits = key_bits
        self._block_bytes = block_bytes
        self._patience = patience or Patience()
        self._rate_bps = rate_bps
        self._dropped_bytes = 0
        self._known = KnownIds()
        self._end: _Master | _Slave | None = None
        self._blocks: KeyBlocks | None = None
        self._note = ""
        self._number = 0
        self._began = 0.0
        self._yielded = 0

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        """Begin a key stream with the other end. Nothing is asked of the box before the first `read`.

        Raises `PkiError` if the certificates for the box cannot be used.
        """
        if self._end is not None:
            raise DeviceError("the device is running already; stop it first")
        box = self._box()
        if self._side is Side.MASTER:
            self._end = _Master(
                box, channel, self._names, self._patience, self._tell, self._key_bits, self._block_bytes
            )
        else:
            self._end = _Slave(box, channel, self._names, self._patience, self._tell)
        self._number = self._yielded = 0

    async def read(self) -> RawBlock:
        """Return the next block, however long the box takes for it.

        Raises `DeviceError` if no more will come; the text says what to do at the box.
        """
        end = self._end
        if end is None:
            raise DeviceError("the device is not running; start it")
        try:
            if self._blocks is None:
                self._blocks = await end.agree(self._known)
                self._began = asyncio.get_running_loop().time()
            while (block := self._blocks.take()) is None:
                await end.add_to(self._blocks)
        except DeviceError:
            raise
        except QssError as error:
            raise DeviceError(f"the {self._side}'s box cannot go on: {error}") from error
        number = self._number
        self._number += 1
        self._measure(len(block))
        return RawBlock(number, block)

    def _measure(self, length: int) -> None:
        self._yielded += length
        passed = asyncio.get_running_loop().time() - self._began
        if passed > 0:
            self._rate_bps = 8 * self._yielded / passed

    def _tell(self, note: str) -> None:
        self._note = note

    async def stop(self) -> None:
        """Stop; keys that make no whole block are forgotten at both ends. Can be called twice, and before `start`."""
        if self._blocks is not None:
            self._dropped_bytes += self._blocks.dropped_bytes
        self._blocks = None
        end, self._end = self._end, None
        if end is not None:
            self._note = ""
            await end.box.close()

    def status(self) -> DeviceStatus:
        """Return what is known of the box; of the quantum channel behind it 014 says nothing."""
        dropped = self._dropped_bytes + (self._blocks.dropped_bytes if self._blocks else 0)
        return DeviceStatus(
            kind=self.kind,
            running=self._end is not None,
            rate_bps=self._rate_bps,
            qber=None,
            simulated=False,
            lost_bits=8 * dropped,
            note=self._note,
        )


class _Master:
    """The end that asks for fresh keys."""

    def __init__(
        self,
        box: VendorBox,
        channel: DeviceChannel,
        names: tuple[str, str],
        patience: Patience,
        tell: Callable[[str], None],
        key_bits: int | None,
        block_bytes: int,
    ) -> None:
        self.box = box
        self._channel = channel
        self._names = names
        self._patience = patience
        self._tell = tell
        self._key_bits = key_bits
        self._block_bytes = block_bytes
        self._size: int | None = None
        self._key_bytes = 0

    async def agree(self, known: KnownIds) -> KeyBlocks:
        """Boxes 2.1 and 2.2: learn what the box offers, tell the slave, and wait until its box has answered."""
        limits = (await until_answered(self.box.offer, self._patience, self._tell)).limits
        bits = _key_bits(limits, self._key_bits)
        self._size = None if bits == limits.key_size else bits  # boxes of one size may not know the parameter
        await self._channel.send(encode(Terms(self._names[0], bits // 8, self._block_bytes)))
        ready = decode(await self._channel.receive(), Ready)
        _check_names(self._names, ready.sae)
        most = min(limits.max_key_per_request, ready.max_keys, MAX_OFFERED)
        self._key_bytes = bits // 8
        return KeyBlocks(self._key_bytes, self._block_bytes, most, known)

    async def add_to(self, blocks: KeyBlocks) -> None:
        """Boxes 2.3: get keys, offer them, and hear whether the slave has them too."""
        keys = await until_answered(lambda: self._fresh_keys(blocks), self._patience, self._tell)
        if any(len(key.material) != self._key_bytes for key in keys):
            raise RemoteProtocolError(f"it answered keys of another size than {8 * self._key_bytes} bits")
        blocks.offered([key.key_id for key in keys])
        await self._channel.send(encode(Offer(tuple(key.key_id.value for key in keys))))
        if decode(await self._channel.receive(), Held).held:
            blocks.held([key.material for key in keys])
        else:
            blocks.dropped()
            _log.warning("keys dropped: the other end's box does not have them", keys=len(keys))

    async def _fresh_keys(self, blocks: KeyBlocks) -> tuple[Key, ...]:
        try:
            return await self.box.fresh_keys(blocks.next_number, self._size)
        except Shortage:
            blocks.short(await self._stored())
            raise

    async def _stored(self) -> int | None:
        try:
            return (await self.box.offer()).stored_key_count
        except QssError:
            return None  # it was not needed for anything else


class _Slave:
    """The end that fetches keys by their IDs."""

    def __init__(
        self,
        box: VendorBox,
        channel: DeviceChannel,
        names: tuple[str, str],
        patience: Patience,
        tell: Callable[[str], None],
    ) -> None:
        self.box = box
        self._channel = channel
        self._names = names
        self._patience = patience
        self._tell = tell
        self._key_bytes = 0

    async def agree(self, known: KnownIds) -> KeyBlocks:
        """Boxes 2.1 and 2.2: hear what the master will offer, once this end's box has answered."""
        most = await until_answered(self._most_keys, self._patience, self._tell)
        await self._channel.send(encode(Ready(self._names[0], min(most, MAX_OFFERED))))
        terms = decode(await self._channel.receive(), Terms)
        _check_names(self._names, terms.sae)
        self._key_bytes = terms.key_bytes
        return KeyBlocks(terms.key_bytes, terms.block_bytes, MAX_OFFERED, known)

    async def _most_keys(self) -> int:
        """Return how many keys the box serves in one request, if it tells a slave."""
        try:
            return (await self.box.offer()).limits.max_key_per_request
        except RemoteProtocolError:
            return MAX_OFFERED
        except KeyServerRefused as refused:
            if refused.status >= 500:
                raise
            return MAX_OFFERED  # it may be that only a master may ask: dec_keys will tell

    async def add_to(self, blocks: KeyBlocks) -> None:
        """Boxes 2.4: fetch what the master offers, and say whether all of it is here."""
        offer = decode(await self._channel.receive(), Offer)
        key_ids = [KeyId(value) for value in offer.key_ids]
        blocks.offered(key_ids)
        try:
            keys = await self._fetch(key_ids)
        except (KeyServerRefused, RemoteProtocolError) as error:
            blocks.dropped()
            _log.warning("keys dropped: this end's box does not have them", keys=len(key_ids), reason=str(error))
            if blocks.dropped_in_a_row >= self._patience.losses:
                raise DeviceError(
                    f"the slave's box has none of the keys of {blocks.dropped_in_a_row} requests in a row; check that "
                    f"the boxes are a pair, and own_sae and other_sae at both ends ({error})"
                ) from error
        else:
            blocks.held(keys)
        await self._channel.send(encode(Held(held=blocks.dropped_in_a_row == 0)))

    async def _fetch(self, key_ids: Sequence[KeyId]) -> list[KeyMaterial]:
        """Return the keys of these IDs, which may come to the box a little later than to us.

        Raises `KeyServerRefused` or `RemoteProtocolError` if they cannot be had, and others will be.
        """
        now = asyncio.get_running_loop().time
        end = now() + self._patience.late_s
        for pause in self._patience.pauses():
            try:
                keys = await until_answered(lambda: self.box.keys_with_ids(key_ids), self._patience, self._tell)
            except KeyServerRefused as refused:
                if refused.status not in _NOT_FOUND:
                    raise DeviceError(f"the slave's box cannot go on: {refused}") from refused
                if now() + pause > end:
                    raise
                await asyncio.sleep(pause)
                continue
            if any(len(key.material) != self._key_bytes for key in keys):
                raise RemoteProtocolError(f"it answered keys of another size than {8 * self._key_bytes} bits")
            return [key.material for key in keys]
        raise AssertionError("pauses do not end")


def _check_names(names: tuple[str, str], told: str) -> None:
    """Boxes 2.2: keys that the master asks for another SAE cannot be fetched by this one."""
    own, other = names
    if told != other:
        raise DeviceError(
            f"the other end of this pair of boxes is SAE {told!r}, but other_sae at {own!r} is {other!r}; "
            "set own_sae and other_sae crosswise at the two ends"
        )


def _key_bits(limits: KeyLimits, configured: int | None) -> int:
    bits = limits.key_size if configured is None else configured
    most = min(limits.max_key_size, 8 * MAX_KEY_BYTES)
    if not limits.min_key_size <= bits <= most or bits % 8:
        raise DeviceError(
            f"the master's box does not offer keys of {bits} bits; set key_bits to a multiple of 8 from "
            f"{limits.min_key_size} to {most}"
        )
    return bits
