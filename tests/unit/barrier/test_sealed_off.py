"""Without its master key, or after its end, a store answers nothing."""

from __future__ import annotations

import pytest

from qss.barrier import Barrier, SealedOff
from qss.model.errors import Sealed
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.ports.store import PutKey, SealedStore
from qss.simulation.store import SimulatedDisk, SimulatedStore
from support.store_records import SITE, stream_id


async def closed_barrier() -> SealedStore:
    barrier = Barrier(SimulatedStore(SimulatedDisk()), KeyMaterial(bytes(32)), SITE)
    await barrier.start()
    await barrier.close()
    return barrier


async def sealed_off() -> SealedStore:
    return SealedOff("give the passphrase")


@pytest.mark.parametrize("make", [closed_barrier, sealed_off])
async def test_every_operation_raises(make) -> None:
    store = await make()
    key = PutKey(stream_id(1), 0, KeyMaterial(b"never stored"))
    for operation in (
        store.start(),
        store.commit([], 1),
        store.commit([key], 1),
        store.contents(),
        store.read_key(stream_id(1), Range(0, 1)),
        store.erase_key(stream_id(1), [Range(0, 1)], 1),
    ):
        with pytest.raises(Sealed):
            await operation
    await store.close()
    await store.close()


async def test_the_error_says_what_to_do() -> None:
    with pytest.raises(Sealed, match="give the passphrase"):
        await SealedOff("give the passphrase").contents()
