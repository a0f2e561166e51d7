"""Every kind of device that must keep the port's contract: each test runs on a pair of each.

A further kind joins by its line in `PAIRS` or `BOXES`: a function that makes both ends of one pair. Its
blocks should be small and come fast, and some hundreds of KiB should be there to read.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from qss.adapters.devices.etsi004 import Etsi004Device
from qss.adapters.devices.etsi014 import Etsi014Device, Side
from qss.adapters.devices.file import FileDevice
from qss.adapters.devices.simulator import RateSetSimulator, UnsafeSeededSimulator
from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.keyserver.stream_supply import Stock, Supply
from qss.model.identifiers import QksId
from qss.model.simulator_settings import SimulatorSettings
from qss.ports.device import Device
from qss.runtime.key_streams.device import ReservedKeyDevice
from support.device_channel import MemoryChannel
from support.module_runners import A, B, TwoModules, raise_defect
from support.northbound import ALICE, BOB
from support.pki import Pki
from support.southbounds import Southbounds
from support.stream_sites import ALICE as SAE_ALICE
from support.stream_sites import CAROL, Ledger, LedgerKeys
from support.vendor_box import RandomKeys, client_of_004, listening, pair_of_boxes

RATE_BPS = 50e6
SETTINGS = SimulatorSettings(rate_bps=RATE_BPS)
BLOCK_BYTES = 2048

Pair = tuple[Device, Device]


def simulators(_: Path) -> Pair:
    return RateSetSimulator(SETTINGS, block_bytes=BLOCK_BYTES), RateSetSimulator(SETTINGS, block_bytes=BLOCK_BYTES)


def seeded_simulators(_: Path) -> Pair:
    return (
        UnsafeSeededSimulator(SETTINGS, 7, block_bytes=BLOCK_BYTES),
        UnsafeSeededSimulator(SETTINGS, 7, block_bytes=BLOCK_BYTES),
    )


def couriered(folder: Path) -> Pair:
    """Make two copies of one file of key."""
    key = os.urandom(1 << 20)
    ends = []
    for name in ("here", "there"):
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(key)
        ends.append(FileDevice(path, rate_bps=RATE_BPS, block_bytes=BLOCK_BYTES))
    return ends[0], ends[1]


def key_servers(_: Path) -> Pair:
    """Make both ends of an application's key stream that always wants more; the first one asks for key."""
    ledger, there = Ledger(), StreamPlan(CAROL, SAE_ALICE, QksId("A"), may_ask=False, may_be_asked=True)
    here = StreamPlan(SAE_ALICE, CAROL, QksId("C"), may_ask=True, may_be_asked=False)
    one, other = (
        ReservedKeyDevice(
            LedgerKeys(ledger, plan),
            Supply(BLOCK_BYTES),
            lambda: Stock(0, 0),
            lambda _: None,
            raise_defect,
            asks=plan.may_ask,
        )
        for plan in (here, there)
    )
    return one, other


def key_servers_the_other_way_round(folder: Path) -> Pair:
    one, other = key_servers(folder)
    return other, one


@asynccontextmanager
async def boxes_with_014(pki: Pki) -> AsyncIterator[Pair]:
    a, b = pair_of_boxes(pki, RandomKeys(stock=1_000_000))
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
            Etsi004Device(partial(client_of_004, boxes, pki, A), "qks:A", "qks:B", chunk_bytes=BLOCK_BYTES),
            Etsi004Device(partial(client_of_004, boxes, pki, B), "qks:B", "qks:A"),
        )


PAIRS: dict[str, Callable[[Path], Pair]] = {
    "simulator": simulators,
    "seeded-simulator": seeded_simulators,
    "file": couriered,
    "key-server": key_servers,
    "key-server, the responder asking": key_servers_the_other_way_round,
}
"""Devices that need a folder at most."""

BOXES: dict[str, Callable[[Pki], AbstractAsyncContextManager[Pair]]] = {
    "etsi014": boxes_with_014,
    "etsi014, the responder being the master": boxes_with_014_the_other_way_round,
    "etsi004": boxes_with_004,
}
"""Devices that need boxes in operation."""


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("devices") / "pki")


@pytest.fixture(params=[*PAIRS, *BOXES])
async def devices(request: pytest.FixtureRequest, tmp_path: Path, pki: Pki) -> AsyncIterator[Pair]:
    """Both ends, not started: the initiator's, the responder's."""
    async with AsyncExitStack() as stack:
        make = BOXES.get(request.param)
        pair = PAIRS[request.param](tmp_path) if make is None else await stack.enter_async_context(make(pki))
        yield pair
        for device in pair:
            await device.stop()


@pytest.fixture
def channels() -> tuple[MemoryChannel, MemoryChannel]:
    return MemoryChannel.pair()
