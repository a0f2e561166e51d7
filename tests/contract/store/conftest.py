"""Every store that must keep the port's contract: each test runs on all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from qss.adapters.stores.sqlite import SqliteStore, create_store
from qss.ports.store import Contents, Store
from qss.simulation.store import SimulatedDisk, SimulatedStore
from support.durable_store import Durable
from support.store_records import SITE


def _sqlite(folder: Path) -> Callable[[], Store]:
    path = folder / "ledger.sqlite"
    create_store(path, SITE)
    return lambda: SqliteStore(path, SITE)


def _simulation(_: Path) -> Callable[[], Store]:
    disk = SimulatedDisk()
    return lambda: SimulatedStore(disk)


@pytest.fixture(params=[_sqlite, _simulation], ids=["sqlite", "simulation"])
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Durable]:
    durable = Durable(request.param(tmp_path))
    yield durable
    await durable.close()


@pytest.fixture
def store(durable: Durable) -> Store:
    """A store on the durable state, not started."""
    return durable.open()


@pytest.fixture
async def first(store: Store) -> Contents:
    """What the store's start returned."""
    return await store.start()


@pytest.fixture
def fence(first: Contents) -> int:
    return first.incarnation
