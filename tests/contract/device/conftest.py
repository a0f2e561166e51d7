"""Every kind of device that must keep the port's contract: each test runs on a pair of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest

from qss.adapters.devices.etsi004 import Etsi004Device
from qss.adapters.devices.etsi014 import Etsi014Device, Side
from qss.adapters.devices.simulator import RateSetSimulator, UnsafeSeededSimulator
from qss.ports.device import Device
from support.device_channel import MemoryChannel
from support.module_runners import A, B, TwoModules
from support.northbound import ALICE, BOB, FakeKeyService
from support.pki import Pki
from support.southbounds import Southbounds
from support.vendor_box import client_of_004, listening, pair_of_boxes

Pair = tuple[Device, Device]


@asynccontextmanager
async def two(make: Callable[[], Device], _: Pki) -> AsyncIterator[Pair]:
    """Devices that need nothing but each other."""
    yield make(), make()


@asynccontextmanager
async def boxes_with_014(pki: Pki) -> AsyncIterator[Pair]:
    a, b = pair_of_boxes(pki, FakeKeyService(stock=1_000_000))
    async with listening(a, b):
        yield Etsi014Device(a.client, Side.MASTER, ALICE, BOB), Etsi014Device(b.client, Side.SLAVE, BOB, ALICE)


@asynccontextmanager
async def boxes_with_014_the_other_way_round(pki: Pki) -> AsyncIterator[Pair]:
    async with boxes_with_014(pki) as (master, slave):
        yield slave, master


@asynccontextmanager
async def boxes_with_004(pki: Pki) -> AsyncIterator[Pair]:
    async with TwoModules() as modules, Southbounds(modules, pki) as boxes:
        yield (
            Etsi004Device(partial(client_of_004, boxes, pki, A), "qks:A", "qks:B"),
            Etsi004Device(partial(client_of_004, boxes, pki, B), "qks:B", "qks:A"),
        )


PAIRS: dict[str, Callable[[Pki], AbstractAsyncContextManager[Pair]]] = {
    "simulator": partial(two, lambda: RateSetSimulator(50e6, block_bytes=2048)),
    "seeded-simulator": partial(two, lambda: UnsafeSeededSimulator(50e6, 7, block_bytes=2048)),
    "etsi014": boxes_with_014,
    "etsi014, the responder being the master": boxes_with_014_the_other_way_round,
    "etsi004": boxes_with_004,
}


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("devices") / "pki")


@pytest.fixture(params=PAIRS)
async def devices(request: pytest.FixtureRequest, pki: Pki) -> AsyncIterator[Pair]:
    """Both ends, not started: the initiator, the responder."""
    async with PAIRS[request.param](pki) as pair:
        yield pair
        for device in pair:
            await device.stop()


@pytest.fixture
def channels() -> tuple[MemoryChannel, MemoryChannel]:
    return MemoryChannel.pair()
