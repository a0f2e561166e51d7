"""Two sites' key streams of applications on connections in memory; only the key is made up, and where it comes from.

Alice and Ann are at home in A, Carol and Chris in C; C has the higher ID and dials. What is reserved at one end can be
fetched at the other, once and by its slave, as the KRP has it.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from qss.core.keyserver.stream_parties import StreamPlan
from qss.model.errors import ConnectionLost, DeviceError, QssError, Unauthorised
from qss.model.identifiers import QksId, ReservationId, SaeId, StreamId
from qss.model.key_material import KeyMaterial
from qss.runtime.key_streams.pair_keys import Reserved
from qss.runtime.key_streams.streams import KeyStreams
from qss.transport.connection import Connection
from qss.wire.etsi004.messages import (
    NULL_KSID,
    Answer,
    Close,
    CloseAnswer,
    GetKey,
    GetKeyAnswer,
    OpenConnect,
    OpenConnectAnswer,
    QoS,
    Request,
)
from qss.wire.etsi004.status import Status
from support.connections import MemoryConnection, memory_pair
from support.module_runners import raise_defect

A, C = QksId("A"), QksId("C")
ALICE, ANN, CAROL, CHRIS = map(SaeId, ("sae:alice", "sae:ann", "sae:carol", "sae:chris"))
HOMES = {ALICE: A, ANN: A, CAROL: C, CHRIS: C}
NAMED = StreamId(b"predefined KSID!")
JSON = "application/json"


@dataclass
class Ledger:
    """The key that both sites hold."""

    short: QssError | None = None
    """What asks for key are refused with."""
    repeaters: int = 0
    altered: Callable[[bytes], bytes] = bytes
    """What is done to key at the end that fetches it."""
    reserved: int = 0
    """Bytes in all."""
    asked: int = 0
    waiting: dict[ReservationId, tuple[SaeId, SaeId, Reserved]] = field(default_factory=dict)
    """What was not fetched yet, its master and its slave."""
    masters: set[SaeId] = field(default_factory=set)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def made(self, master: SaeId, slave: SaeId, length: int) -> Reserved:
        name = ReservationId.from_entropy(next(self._numbers).to_bytes(4, "little") * 4)
        material = KeyMaterial(hashlib.shake_128(name.value).digest(length))
        self.reserved += length
        self.masters.add(master)
        reserved = Reserved(name, 1, material, self.repeaters)
        self.waiting[name] = master, slave, reserved
        return reserved


class LedgerKeys:
    """Implements `qss.runtime.key_streams.device.KeyOfPair`."""

    def __init__(self, ledger: Ledger, plan: StreamPlan) -> None:
        self._ledger = ledger
        self._plan = plan

    async def reserve(self, length: int) -> Reserved:
        self._ledger.asked += 1
        await asyncio.sleep(0.001)
        if self._ledger.short is not None:
            raise self._ledger.short
        return self._ledger.made(self._plan.sae, self._plan.other, length)

    async def fetch(self, reservation: ReservationId, count: int) -> Reserved:
        await asyncio.sleep(0.001)
        master, slave, reserved = self._ledger.waiting.get(reservation, (None, None, None))
        if reserved is None or (master, slave, count) != (self._plan.other, self._plan.sae, 1):
            raise DeviceError("it is not here")
        del self._ledger.waiting[reservation]
        material = KeyMaterial(self._ledger.altered(reserved.material.reveal()))
        return Reserved(reservation, 1, material, reserved.repeaters)


class Site:
    """One site's key streams, and applications that call."""

    def __init__(self, sites: StreamSites, here: QksId) -> None:
        self.here = here
        self._allowed = sites.allowed
        loop = asyncio.get_running_loop()
        self.streams = KeyStreams(
            here,
            self._plan,
            lambda plan: LedgerKeys(sites.ledger, plan),
            sites.dialled,
            raise_defect,
            entropy=sites.entropy,
            clock=loop.time,
        )
        self.calls: list[int] = []

    def _plan(self, caller: SaeId, other: SaeId) -> StreamPlan:
        may_ask, may_be_asked = (caller, other) in self._allowed, (other, caller) in self._allowed
        if HOMES[caller] != self.here or HOMES.get(other, self.here) == self.here or not (may_ask or may_be_asked):
            raise Unauthorised("no rule lets them")
        return StreamPlan(caller, other, HOMES[other], may_ask, may_be_asked)

    def asked(self, caller: SaeId, request: Request) -> asyncio.Future[tuple[Any, Status]]:
        future: asyncio.Future[tuple[Any, Status]] = asyncio.get_running_loop().create_future()

        def answer(reply: Answer, status: Status) -> None:
            assert not future.done(), "a call was answered twice"
            future.set_result((reply, status))

        self.calls.append(self.streams.ask(caller, request, answer))
        return future

    async def open(
        self, caller: SaeId, other: SaeId, stream: StreamId | None = None, qos: QoS | None = None
    ) -> OpenConnectAnswer:
        """OPEN_CONNECT, the caller being the source."""
        name = NULL_KSID if stream is None else stream.value
        answer, _ = await self.asked(caller, OpenConnect(caller, other, qos or QoS(), name))
        assert isinstance(answer, OpenConnectAnswer)
        return answer

    async def get(self, caller: SaeId, stream: StreamId, index: int, room: int = 0) -> GetKeyAnswer:
        answer, _ = await self.asked(caller, GetKey(stream.value, index, room))
        assert isinstance(answer, GetKeyAnswer)
        return answer

    async def chunk(self, caller: SaeId, stream: StreamId, index: int) -> bytes:
        answer = await self.get(caller, stream, index)
        assert answer.status == 0
        assert answer.index == index
        assert answer.key is not None
        return answer.key.reveal()

    async def close(self, caller: SaeId, stream: StreamId) -> int:
        answer, _ = await self.asked(caller, Close(stream.value))
        assert isinstance(answer, CloseAnswer)
        return answer.status


class StreamSites:
    """Sites `a` and `c`, begun on entry and stopped on exit."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.allowed = {(one, other) for one in HOMES for other in HOMES}
        """Which master may ask for key with which slave, at both sites."""
        self.unreachable = False
        self.connections: list[tuple[MemoryConnection, MemoryConnection]] = []
        """Each as C's end and A's."""
        self.refused: list[QssError] = []
        """What A found wrong with connections."""
        self._drawn = itertools.count(1)
        self._serving: set[asyncio.Task[None]] = set()

    def entropy(self, length: int) -> bytes:
        return hashlib.shake_128(b"entropy" + bytes([next(self._drawn)])).digest(length)

    async def __aenter__(self) -> Self:
        self.a, self.c = Site(self, A), Site(self, C)
        return self

    async def __aexit__(self, *_: object) -> None:
        for site in (self.c, self.a):
            site.streams.stop()
            site.streams.stop()
            await site.streams.stopped()
        for mine, theirs in self.connections:
            mine.cut()
            theirs.cut()
        await asyncio.gather(*self._serving)

    async def dialled(self, peer: QksId) -> Connection:
        assert peer == A
        if self.unreachable:
            raise ConnectionLost("nobody is there")
        return self.connected()

    def connected(self, caller: str = C) -> MemoryConnection:
        """Have A serve a connection of a site; return that site's end."""
        mine, theirs = memory_pair(64, f"qks:{caller}", "qks:A")
        self.connections.append((mine, theirs))
        self.run(self._serve(theirs))
        return mine

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: MemoryConnection) -> None:
        try:
            await self.a.streams.take(connection)
        except ConnectionLost:
            pass
        except QssError as error:
            self.refused.append(error)
        finally:
            with suppress(ConnectionLost):
                await connection.close()

    async def met(self, chunk_bytes: int = 0, qos: QoS | None = None) -> StreamId:
        """A stream that Alice and Carol have open."""
        opened = await self.a.open(ALICE, CAROL, qos=qos or QoS(key_chunk_size=chunk_bytes))
        assert opened.status == 1
        stream = StreamId(opened.stream)
        assert (await self.c.open(CAROL, ALICE, stream, qos)).status == 0
        return stream
