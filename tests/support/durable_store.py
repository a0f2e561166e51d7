"""One durable state, and stores opened on it."""

from __future__ import annotations

from collections.abc import Callable

from qss.barrier import Barrier
from qss.model.key_material import KeyMaterial
from qss.ports.store import Store
from support.store_records import SITE

DATA_KEY = KeyMaterial(bytes(range(32)))


class Durable:
    """One durable state, and the stores that were opened on it."""

    def __init__(self, make: Callable[[], Store]) -> None:
        self._make = make
        self._opened: list[Store] = []

    def open(self) -> Store:
        """Return a store on this state, not started."""
        self._opened.append(self._make())
        return self._opened[-1]

    def open_sealed(self, data_key: KeyMaterial = DATA_KEY) -> Barrier:
        """Return the same behind a barrier."""
        return Barrier(self.open(), data_key, SITE)

    async def close(self) -> None:
        for store in self._opened:
            await store.close()
