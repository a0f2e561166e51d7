"""`Barrier`: the sealed store, made of a store and a data key.

Key is used in the order in which it was stored, so of each stream the block that was read last is kept, sealed as it
is: the next key is most likely in it. What a block holds at its place never changes, so a kept one is never wrong;
with an erasure, or the end of its stream, it goes.

Refused here: ordering of commits (the store's), fences (the caller's), and any plaintext that outlives a call.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from qss.barrier.sealer import Sealer
from qss.crypto.commit_proof import commit_proof, proof_key
from qss.model.errors import HeadMismatch, Sealed, Tampered
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range, subtract, union
from qss.ports.store import (
    Change,
    Contents,
    DropBlock,
    DropStream,
    PutBlock,
    PutKey,
    SealedBlock,
    SealedChange,
    Store,
)

BLOCK_BYTES = 64 << 10
"""Largest block. What a batch puts side by side is sealed together up to this size."""

# Bytes that one commit of an erasure covers, and parts that it names: bounds what it reads and writes at once.
_ERASED_AT_ONCE = 4 << 20
_PARTS_AT_ONCE = 256

_KEPT_BLOCKS = 64


class Barrier:
    """Implements `qss.ports.store.SealedStore` for `site`, with that site's data key (32 bytes).

    `entropy(n)` returns n random bytes; it is the operating system's but in tests.
    """

    def __init__(
        self, store: Store, data_key: KeyMaterial, site: QksId, *, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._store = store
        self._sealer: Sealer | None = Sealer(data_key, site, entropy)
        self._proof_key = proof_key(data_key.reveal())
        self._erasing = asyncio.Lock()
        self._kept: OrderedDict[StreamId, SealedBlock] = OrderedDict()
        self._erasures = 0
        """Counts erasures: what was read while there was one may be gone, and is not kept."""

    async def start(self) -> Contents:
        """As `SealedStore.start`."""
        self._unsealed()
        return await self._store.start()

    async def commit(self, batch: Sequence[SealedChange], fence: int) -> int:
        """As `SealedStore.commit`. The order of batches is the order of the calls: nothing is awaited before."""
        try:
            return await self._store.commit(list(_seal(self._unsealed(), batch)), fence)
        finally:
            for change in batch:
                if isinstance(change, DropStream):
                    self._forget(change.stream)

    async def contents(self) -> Contents:
        """As `SealedStore.contents`."""
        self._unsealed()
        return await self._store.contents()

    async def read_key(self, stream: StreamId, part: Range) -> KeyMaterial:
        """As `SealedStore.read_key`."""
        sealer = self._unsealed()
        pieces: list[bytes] = []
        position = part.start
        for block in await self._blocks(stream, part):
            here = Range(block.start, block.start + block.length).intersection(part)
            if here is None or here.start != position:
                break
            secret = sealer.open(_at(stream, block))
            pieces.append(secret[here.start - block.start : here.stop - block.start])
            position = here.stop
        if position != part.stop:
            raise Tampered(
                f"stored key of stream {stream} is missing at {position}: it was removed outside qss",
                position,
                part.stop,
                position + BLOCK_BYTES,
            )
        return KeyMaterial(b"".join(pieces))

    async def _blocks(self, stream: StreamId, part: Range) -> tuple[SealedBlock, ...]:
        kept = self._kept.get(stream)
        if kept is not None and kept.start <= part.start and part.stop <= kept.start + kept.length:
            return (kept,)
        erasures = self._erasures
        blocks = await self._store.blocks(stream, part)
        if blocks and erasures == self._erasures:
            self._kept[stream] = blocks[-1]
            self._kept.move_to_end(stream)
            if len(self._kept) > _KEPT_BLOCKS:
                self._kept.popitem(last=False)
        return blocks

    def _forget(self, stream: StreamId) -> None:
        self._erasures += 1
        self._kept.pop(stream, None)

    async def erase_key(self, stream: StreamId, parts: Sequence[Range], fence: int) -> None:
        """As `SealedStore.erase_key`. A block that is not erased whole and does not open is given up whole.

        Many parts are erased in several commits, each of them whole; what an error leaves over can be erased again.
        """
        sealer = self._unsealed()
        # Two erasures that read the same block would each bring back what the other one erased.
        async with self._erasing:
            try:
                for portion in _portions(parts):
                    await self._erase(sealer, stream, portion, fence)
            finally:
                self._forget(stream)

    async def _erase(self, sealer: Sealer, stream: StreamId, portion: Sequence[Range], fence: int) -> None:
        changes = await self._erasure(sealer, stream, portion)
        if not changes:
            return
        try:
            await self._store.commit(changes, fence)
        except HeadMismatch:
            # Only the end of the whole stream can have come between, and then nothing is left to erase.
            if await self._erasure(sealer, stream, portion):
                raise

    async def check_in_place(self) -> None:
        """As `SealedStore.check_in_place`."""
        await self._store.check_in_place()

    def prove(self, peer: QksId, incarnation: int, commit_number: int) -> bytes:
        """As `SealedStore.prove`."""
        self._unsealed()
        return commit_proof(self._proof_key, peer, incarnation, commit_number)

    async def close(self) -> None:
        """As `SealedStore.close`."""
        self._sealer = None
        self._proof_key = b""
        self._kept.clear()
        await self._store.close()

    async def _erasure(self, sealer: Sealer, stream: StreamId, parts: Sequence[Range]) -> list[Change]:
        """Return the changes that take `parts` out of the blocks that are stored now. Only those are read that stay."""
        found = {place for part in parts for place in await self._store.places(stream, part)}
        changes: list[Change] = [DropBlock(stream, place.start) for place in sorted(found)]
        sealer.renew()
        for rest in filter(None, (subtract(place, parts) for place in sorted(found))):
            for block in await self._store.blocks(stream, rest[0]):
                changes += _without(sealer, stream, block, parts)
        return changes

    def _unsealed(self) -> Sealer:
        if self._sealer is None:
            raise Sealed("the store is closed and sealed; start this site again")
        return self._sealer


def _at(stream: StreamId, block: SealedBlock) -> SealedBlock:
    """Return the block as if of `stream`: what was asked for counts, not what the store says of it."""
    return SealedBlock(stream, block.start, block.length, block.sealed)


def _seal(sealer: Sealer, batch: Sequence[SealedChange]) -> Iterator[Change]:
    """Yield the batch with its keys sealed, neighbours together. Keys never change sides with a `DropStream`."""
    if any(isinstance(change, PutKey) for change in batch):
        sealer.renew()
    run: list[PutKey] = []
    for change in batch:
        if isinstance(change, PutKey):
            if run and not _adjoins(run[-1], change):
                yield from _seal_run(sealer, run)
                run = []
            run.append(change)
            continue
        if isinstance(change, DropStream):
            yield from _seal_run(sealer, run)
            run = []
        yield change
    yield from _seal_run(sealer, run)


def _adjoins(before: PutKey, after: PutKey) -> bool:
    return before.stream == after.stream and before.start + len(before.material) == after.start


def _seal_run(sealer: Sealer, run: Sequence[PutKey]) -> Iterator[PutBlock]:
    secret = b"".join(change.material.reveal() for change in run)
    for offset in range(0, len(secret), BLOCK_BYTES):
        piece = secret[offset : offset + BLOCK_BYTES]
        yield PutBlock(sealer.seal(run[0].stream, run[0].start + offset, piece))


def _without(sealer: Sealer, stream: StreamId, block: SealedBlock, parts: Sequence[Range]) -> Iterator[PutBlock]:
    """Yield what is left of a block without `parts`, sealed anew: nothing if it does not open."""
    try:
        secret = sealer.open(_at(stream, block))
    except Tampered:
        return
    for piece in subtract(Range(block.start, block.start + block.length), parts):
        kept = secret[piece.start - block.start : piece.stop - block.start]
        yield PutBlock(sealer.seal(stream, piece.start, kept))


def _portions(parts: Iterable[Range]) -> Iterator[list[Range]]:
    """Yield the same bytes in order, bounded in size and number, every byte once."""
    portion: list[Range] = []
    size = 0
    for part in union(parts):
        for start in range(part.start, part.stop, _ERASED_AT_ONCE):
            piece = Range(start, min(part.stop, start + _ERASED_AT_ONCE))
            if portion and (size + len(piece) > _ERASED_AT_ONCE or len(portion) == _PARTS_AT_ONCE):
                yield portion
                portion, size = [], 0
            portion.append(piece)
            size += len(piece)
    if portion:
        yield portion
