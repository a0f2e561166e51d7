"""After its end a barrier has no data key, and answers nothing."""

from __future__ import annotations

import pytest

from qss.barrier import Barrier
from qss.model.errors import Sealed
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.ports.store import PutKey
from qss.simulation.store import SimulatedDisk, SimulatedStore
from support.store_records import SITE, stream_id


async def test_every_operation_raises() -> None:
    store = Barrier(SimulatedStore(SimulatedDisk()), KeyMaterial(bytes(32)), SITE)
    await store.start()
    await store.close()
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
