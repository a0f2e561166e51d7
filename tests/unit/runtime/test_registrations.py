"""Modules in processes of their own, registering at a key server: both shells of QRP, on connections in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from qss.core.keyserver.modules import PairPlan
from qss.core.module import ModuleSettings
from qss.model.addresses import Address
from qss.model.errors import Unauthorised
from qss.model.identifiers import PairId, QkdmId, QksId
from qss.ports.device import DeviceRole
from qss.runtime.module import QkdModule
from qss.runtime.module.registering import Registering
from qss.runtime.registrations import Registrations
from qss.wire import qrp
from support.connections import MemoryConnection, memory_pair
from support.module_runners import fast_simulator, raise_defect, until

A, B = QksId("A"), QksId("B")
A1, A2 = QkdmId("A/1"), QkdmId("A/2")
ONE, TWO = PairId(b"1" * 16), PairId(b"2" * 16)
SOUTHBOUND = Address("127.0.0.1", 4001)


class Attached:
    """Implements `Attaching`: notes what is attached."""

    def __init__(self) -> None:
        self.pairs: dict[PairId, tuple[QkdmId, Address]] = {}

    def attach(self, pair: PairId, module: QkdmId, southbound: Address) -> None:
        assert pair not in self.pairs
        self.pairs[pair] = module, southbound

    def detach(self, pair: PairId, reason: str) -> None:
        assert reason
        del self.pairs[pair]


class KeyServer:
    """A key server at site A that takes modules."""

    def __init__(self) -> None:
        self.attached = Attached()
        self.now = 0.0
        plans = [PairPlan(ONE, B, A1), PairPlan(TWO, B, A2)]
        self.registrations = Registrations(A, plans, self.attached, raise_defect, lambda: self.now)
        self.tasks: set[asyncio.Task[None]] = set()

    def run(self, serve: Callable[[MemoryConnection], object], connection: MemoryConnection) -> asyncio.Task[None]:
        task = asyncio.create_task(serve(connection))  # type: ignore[arg-type, var-annotated]
        self.tasks.add(task)
        return task

    def connect(self, registering: Registering, name: str = "A/1") -> MemoryConnection:
        """Connect a module, and return the key server's end of it."""
        ours, theirs = memory_pair(a_is="qks:A", b_is=f"qkdm:{name}")
        self.run(self.registrations.serve, ours)
        self.run(registering.serve, theirs)
        return ours


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    made = KeyServer()
    made.registrations.start()
    yield made
    await made.registrations.stop()
    await asyncio.gather(*made.tasks)


@asynccontextmanager
async def module_process(name: QkdmId = A1, pair: PairId = ONE) -> AsyncIterator[tuple[Registering, QkdModule]]:
    module = QkdModule(fast_simulator(), DeviceRole.INITIATOR, B, raise_defect, settings=ModuleSettings())
    registering = Registering(name, {pair: (B, module)}, SOUTHBOUND, raise_defect)
    try:
        yield registering, module
    finally:
        await registering.stop()
        await module.stop()


async def test_a_module_registers_is_attached_and_tells_how_it_is(key_server):
    async with module_process() as (registering, module):
        key_server.connect(registering)
        await until(lambda: registering.registered)
        assert key_server.attached.pairs == {ONE: (A1, SOUTHBOUND)}
        core = key_server.registrations.modules
        await until(lambda: core.registration(ONE).state is not None)
        state = core.registration(ONE).state
        assert (state.exchange, state.phase, state.stream, state.device.kind) == (
            True, qrp.StreamPhase.DOWN, None, module.status().device.kind,
        )  # fmt: skip
        assert state.counts["read"] == 0
    await until(lambda: not key_server.attached.pairs)


async def test_a_module_that_vanishes_is_detached_and_one_that_comes_back_attached(key_server):
    async with module_process() as (registering, _):
        connection = key_server.connect(registering)
        await until(lambda: ONE in key_server.attached.pairs)
        connection.cut()
        await until(lambda: not key_server.attached.pairs)
        key_server.connect(registering)
        await until(lambda: ONE in key_server.attached.pairs)


async def test_a_silent_module_is_detached(key_server):
    async with module_process() as (registering, _):
        key_server.connect(registering)
        await until(lambda: ONE in key_server.attached.pairs)
        key_server.now += 5.1
        await until(lambda: not key_server.attached.pairs)
        await until(lambda: not registering.registered)


async def test_a_new_process_of_the_same_name_takes_the_place_of_the_old_one(key_server):
    async with module_process() as (old, _), module_process() as (new, _):
        key_server.connect(old)
        await until(lambda: old.registered)
        key_server.connect(new)
        await until(lambda: new.registered and not old.registered)
        assert key_server.attached.pairs == {ONE: (A1, SOUTHBOUND)}


async def test_a_module_that_claims_a_pair_that_is_not_its_own_is_refused(key_server):
    async with module_process(A1, TWO) as (registering, _):
        key_server.connect(registering)
        await asyncio.gather(*key_server.tasks)  # both ends of the connection have ended
        assert not registering.registered
        assert key_server.attached.pairs == {}


@pytest.mark.parametrize("uri", ["qkdm:B/1", "qks:A", "sae:alice"])
async def test_whoever_is_no_module_of_this_site_gets_no_answer(key_server, uri):
    ours, theirs = memory_pair(b_is=uri)
    with pytest.raises(Unauthorised):
        await key_server.registrations.serve(ours)
    assert theirs.waiting == 0


async def test_stop_and_start_reach_the_module_and_outlive_its_connection(key_server):
    async with module_process() as (registering, module):
        connection = key_server.connect(registering)
        await until(lambda: registering.registered)
        key_server.registrations.set_exchange(ONE, on=False)
        assert key_server.attached.pairs == {}
        await until(lambda: not module.status().exchange)
        connection.cut()
        await until(lambda: not registering.registered)
        key_server.connect(registering)
        await until(lambda: registering.registered)
        assert key_server.attached.pairs == {}
        key_server.registrations.set_exchange(ONE, on=True)
        assert ONE in key_server.attached.pairs
        await until(lambda: module.status().exchange)


async def test_garbage_ends_the_connection_of_the_module_that_sent_it_and_no_other(key_server):
    async with module_process() as (registering, _):
        key_server.connect(registering)
        ours, theirs = memory_pair(b_is="qkdm:A/2")
        serving = key_server.run(key_server.registrations.serve, ours)
        await theirs.send(b"garbage")
        await serving
        await until(lambda: key_server.attached.pairs == {ONE: (A1, SOUTHBOUND)})
