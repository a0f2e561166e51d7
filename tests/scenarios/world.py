"""Several sites in virtual time: the real runtime on simulated disks, over simulated connections and quantum channels.

Everything above the ports is what `qss node` runs: cores, links, relays, sites, key servers, the barrier. One seed
decides all that is random, so a run can be repeated step by step. What is not synced when a site crashes is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qss.barrier import Barrier
from qss.core.keyserver.policy import PairPolicy, PairRule
from qss.core.keyserver.quotas import QuotaPlan, Quotas
from qss.core.keyserver.requests import RequestPlanner
from qss.core.reservation import LinkSettings
from qss.model.addresses import Address
from qss.model.errors import ConnectionLost, DeviceError, QssError, StreamEnded
from qss.model.identifiers import PairId, QksId, SaeId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.keys import KeyLimits
from qss.model.network import Edge, Graph
from qss.ports.key_source import OpenedStream
from qss.runtime.connecting import keep_connected
from qss.runtime.key_server import KeyServer
from qss.runtime.module import QkdModule
from qss.runtime.site import LinkPlan, Site
from qss.simulation.clock import VirtualTimeLoop
from qss.simulation.network import SimulatedConnection, Weather
from qss.simulation.store import SimulatedDisk, SimulatedStore
from qss.transport.connection import Connection
from scenarios.relays import NotedKeys, PadBook, SimulatedRelay

EPOCH = 1_800_000_000.0
"""The wall clock when a run begins, in seconds since the epoch."""

CHUNK_BYTES = 256
CAPACITY_BYTES = 16_384
"""Of each link, and of each end-to-end stream."""

CHUNKS_PER_SECOND = 8
"""Of the first device pair of a link. Each further one has half the rate of the one before."""

HELD_CHUNKS = 16
"""Of one stream, at the module of either end."""

_owner: ContextVar[SimulatedSite | None] = ContextVar("owner", default=None)


class SimulatedAnchor:
    """A site's anchor; it survives crashes."""

    def __init__(self) -> None:
        self.number: int | None = None

    def read(self) -> int | None:
        return self.number

    def write(self, commit_number: int) -> None:
        self.number = max(commit_number, self.number or 0)


def content(stream: StreamId, length: int) -> bytes:
    """Return the first `length` bytes of a stream, to whoever checks."""
    return hashlib.shake_256(b"quantum" + stream.value).digest(length)


class QuantumChannel:
    """A pair of devices and modules: both ends get the same chunks at the same time, until the session breaks."""

    def __init__(self, world: World, ends: tuple[QksId, QksId], number: int) -> None:
        self._world = world
        self._ends = ends
        self.pair = PairId(number.to_bytes(16))
        self._chunks_per_second = CHUNKS_PER_SECOND / 2**number
        self.gone: set[QksId] = set()
        """Sites whose module has vanished."""
        self.detached: set[QksId] = set()
        """Sites that do not know their module: because it has vanished, or though it is well."""
        self._session: tuple[StreamId, float, asyncio.Event] | None = None
        self.lengths: dict[StreamId, int] = {}
        """Bytes that were given out of each stream."""

    def break_session(self) -> None:
        """End the stream at both ends."""
        if self._session is not None:
            self._session[2].set()
            self._session = None

    async def open_connect(
        self, source: QksId, destination: QksId, stream: StreamId | None, chunk_bytes: int | None
    ) -> OpenedStream:
        await asyncio.sleep(0.01)
        if self.gone or not all(self._world.sites[end].running for end in self._ends):
            raise DeviceError("the other module is away")
        if stream is None:
            self.break_session()
            name = StreamId.from_entropy(self._world.entropy(16))
            self._session = name, self._world.loop.time(), asyncio.Event()
            return OpenedStream(name, CHUNK_BYTES)
        if self._session is None or self._session[0] != stream:
            raise DeviceError("there is no such session")
        return OpenedStream(stream, CHUNK_BYTES)

    async def get_key(self, stream: StreamId, index: int, most: int = 1) -> KeyMaterial:
        if self._session is None or self._session[0] != stream:
            raise StreamEnded("the session has ended")
        name, began, ended = self._session
        now, rate = self._world.loop.time(), self._chunks_per_second
        # What an end does not pull, its module holds; and when that is full, the devices stand still.
        began += max(0.0, now - began - (index + HELD_CHUNKS) / rate)
        self._session = name, began, ended
        wait = began + (index + 1) / rate - now
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), max(0.0, wait))
        if ended.is_set():
            raise StreamEnded("the session has ended")
        stop = (index + 1) * CHUNK_BYTES
        self.lengths[stream] = max(stop, self.lengths.get(stream, 0))
        return KeyMaterial(content(stream, stop)[index * CHUNK_BYTES :])

    async def close(self, stream: StreamId) -> None:
        if self._session is not None and self._session[0] == stream:
            self.break_session()


@dataclass
class Road:
    """The way between two neighbours: a connection now and then, and what may be wrong with it."""

    ends: tuple[QksId, QksId]
    channels: tuple[QuantumChannel, ...]
    closed_until: float = 0.0
    connections: list[SimulatedConnection] = field(default_factory=list)
    """Those of key servers and relays."""


class SimulatedSite:
    """One site: its disk and anchor last, its process comes and goes."""

    def __init__(self, world: World, here: QksId, neighbours: tuple[QksId, ...]) -> None:
        self.world = world
        self.here = here
        self.neighbours = neighbours
        self.disk = SimulatedDisk()
        self.anchor = SimulatedAnchor()
        self.data_key = KeyMaterial(world.entropy(32))
        self.wall_offset = 0.0
        self.damaged = False
        """Some of its stored key cannot be read."""
        self.forgot_at = -1.0
        """When it last may have forgotten an answer before its time."""
        self.running = False
        self._starting = False
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.site: Site
        self.relay: SimulatedRelay
        self.key_server: KeyServer
        self.store: SimulatedStore
        self._context: Context

    def clocks(self) -> tuple[float, float]:
        now = self.world.loop.time()
        return now, EPOCH + now + self.wall_offset

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that ends when the site's process does."""
        return self._context.run(asyncio.get_running_loop().create_task, work)

    async def start(self) -> None:
        """Start the process, if it does not run."""
        if self.running or self._starting:
            return
        self._starting = True
        self._context = copy_context()
        self._context.run(_owner.set, self)
        self.world.log(self.here, "start", f"incarnation {self.disk.incarnation}, commit {self.disk.commit_number}")
        try:
            starting = self.spawn(self._start())
            await asyncio.wait({starting})  # a crash ends it
            if starting.cancelled():
                self.disk.in_use = False  # as the lock of a process that is no more
            else:
                starting.result()
        finally:
            self._starting = False  # a crash may come before the start has ended

    async def _start(self) -> None:
        world, limits = self.world, KeyLimits(max_key_per_request=16, max_key_size=4096)
        policy = PairPolicy([PairRule("*", frozenset({"*"}))])
        links = frozenset(self.neighbours)
        planner = RequestPlanner(self.here, limits, policy, world.homes.get, links, lambda: world.graph)
        self.store = SimulatedStore(self.disk, world.sync, world.entropy)
        barrier = Barrier(self.store, self.data_key, self.here)
        plans = [
            LinkPlan(
                self._settings(planner, peer),
                {
                    channel.pair: channel
                    for channel in world.road(self.here, peer).channels
                    if self.here not in channel.detached
                },
            )
            for peer in self.neighbours
        ]
        clock, relay = world.loop.time, SimulatedRelay(self.here, world)
        relay.relay(NotedKeys(self.here, barrier, world.pads), self.neighbours, self._defect, clock)
        self.relay = relay
        self.site = Site(
            barrier,
            self.anchor,
            plans,
            self.clocks,
            lambda peer: LinkPlan(self._settings(planner, peer), {}),
            relay,
        )
        try:
            await self.site.start()
        except QssError as error:
            world.log(self.here, "start failed", str(error))
            self.site.failed.cancel()
            return
        self.site.failed.add_done_callback(self._failed)
        self.running = True
        relay.start(self.site, CAPACITY_BYTES, self._defect, clock, world.entropy)
        quotas, streams = Quotas(QuotaPlan()), relay.streams
        assert streams is not None
        self.key_server = KeyServer(
            self.here, limits, planner, quotas, self.site.links, streams, world.entropy, world.loop.time
        )
        for plan in plans:  # modules may have come and gone while the site started
            for channel in world.road(self.here, plan.settings.peer).channels:
                there, sources = self.here not in channel.detached, self.site.links[plan.settings.peer].sources
                if there and channel.pair not in plan.sources:
                    sources.attach(channel.pair, channel)
                elif not there and channel.pair in plan.sources:
                    sources.detach(channel.pair, "so it happened")
        for peer in self.neighbours:
            if self.here < peer:
                for serve in (SimulatedSite.serve_link, SimulatedSite.serve_relay):
                    call = partial(world.connect, self.here, peer, serve)
                    self.spawn(keep_connected(peer, call, partial(serve, self, peer)))

    def _settings(self, planner: RequestPlanner, peer: QksId) -> LinkSettings:
        world = self.world
        return LinkSettings(
            self.here,
            peer,
            partial(planner.objection, peer),
            max_reservations=200,
            reserved_s=world.reserved_s,
            grace_s=world.grace_s,
            stream_s=world.stream_s,
            successor_chunks=world.successor_chunks,
            reply_timeout_s=2.0,
            max_keys=16,
            max_key_bytes=512,
            capacity_bytes=CAPACITY_BYTES,
        )

    def _defect(self, error: BaseException) -> None:
        self.site.fail(error)

    async def stop(self) -> None:
        """End the process in an orderly way."""
        self.running = False
        await self.relay.stop()
        await self.site.stop()

    def _failed(self, failed: asyncio.Future[None]) -> None:
        if not failed.cancelled() and self.running:
            self.world.violations.append(f"site {self.here} has failed: {failed.exception()!r}")

    async def serve_link(self, peer: QksId, connection: Connection) -> None:
        """Serve a neighbour's key server."""
        await self.site.links[peer].serve(connection)

    async def serve_relay(self, peer: QksId, connection: Connection) -> None:
        """Serve a neighbour's relay."""
        await self.relay.relaying.serve(peer, connection)

    async def serve_far(self, connection: Connection) -> None:
        """Serve the key server of a site that is no neighbour."""
        assert self.relay.streams is not None
        try:
            await self.relay.streams.take(connection)
        finally:
            await connection.close()

    async def serve_module(self, module: QkdModule, connection: Connection) -> None:
        """Serve the module at the other end of an end-to-end stream."""
        try:
            await module.serve(connection)
        finally:
            await connection.close()

    def detach(self, peer: QksId, channel: QuantumChannel, *, gone: bool) -> None:
        """The link to `peer` loses its module of one pair, which has vanished or is well."""
        self.world.log(self.here, "module", f"{channel.pair} {'vanishes' if gone else 'is detached'}")
        channel.detached.add(self.here)
        if gone:
            channel.gone.add(self.here)
            channel.break_session()
        if self.running:
            self.site.links[peer].sources.detach(channel.pair, "so it happened")

    def attach(self, peer: QksId, channel: QuantumChannel) -> None:
        """The module of one pair comes back."""
        if self.here not in channel.detached:
            return
        self.world.log(self.here, "module", f"{channel.pair} comes back")
        channel.detached.discard(self.here)
        channel.gone.discard(self.here)
        if self.running:
            self.site.links[peer].sources.attach(channel.pair, channel)

    async def crash(self, *, synced: bool = False) -> None:
        """Kill the process. With `synced`, what was on its way to the disk has just arrived there."""
        if not self.running:
            return
        self.running = False
        self.world.log(self.here, "crash", "after a sync" if synced else "")
        await self.store.crash(synced=synced)
        for peer in self.neighbours:
            road = self.world.road(self.here, peer)
            for channel in road.channels:
                channel.break_session()
            for connection in road.connections:
                connection.cut()
        self.world.cut_far(self.here)
        while self.tasks:
            for task in list(self.tasks):
                task.cancel()
            await asyncio.wait(list(self.tasks))
        if not self.site.failed.done():
            self.site.failed.cancel()


class World:
    """Sites, the roads between them, time and chance."""

    def __init__(self, seed: int, roads: tuple[tuple[str, str], ...], saes: dict[str, str], pairs: int = 1) -> None:
        self.random = random.Random(seed)
        random.seed(seed)  # for what jitters its pauses
        self.loop = VirtualTimeLoop(self._between_steps)
        self.loop.set_task_factory(_make_task)
        self.homes = {SaeId(sae): QksId(site) for sae, site in saes.items()}
        self.reserved_s = 30.0
        self.grace_s = 30.0
        self.stream_s = 1e9
        self.successor_chunks = 1 << 32
        self.weather: Weather = lambda: (self.random.expovariate(500),)
        self.in_order = True
        self.slow_disk_s = 0.002
        self.events: list[str] = []
        self.violations: list[str] = []
        self.steps = 0
        self.breakpoints: dict[int, Callable[[], Awaitable[None]]] = {}
        self._running: set[asyncio.Task[None]] = set()
        names = sorted({QksId(end) for road in roads for end in road})
        self.pads = PadBook(self.violate)
        self.far_connections: list[tuple[frozenset[QksId], SimulatedConnection]] = []
        """Those of far sites, by both ends."""
        self._roads = {
            frozenset(road): Road(
                ends := (QksId(road[0]), QksId(road[1])), tuple(QuantumChannel(self, ends, i) for i in range(pairs))
            )
            for road in roads
        }
        self.sites = {
            name: SimulatedSite(
                self, name, tuple(sorted(QksId(o) for road in roads for o in road if name in road and o != name))
            )
            for name in names
        }

    def entropy(self, length: int) -> bytes:
        """Return bytes that the seed decides."""
        return self.random.randbytes(length)

    async def sync(self) -> None:
        """A disk's sync."""
        await asyncio.sleep(self.random.expovariate(1 / self.slow_disk_s))

    def log(self, who: str, what: str, more: str = "") -> None:
        """Note an event."""
        self.events.append(f"{self.loop.time():9.4f} {who:4} {what}{': ' if more else ''}{more}")

    def violate(self, what: str) -> None:
        """Note that something is wrong."""
        self.log("----", "VIOLATION", what)
        self.violations.append(what)

    def road(self, one: QksId, other: QksId) -> Road:
        """Return the road between two neighbours."""
        return self._roads[frozenset((one, other))]

    def are_neighbours(self, one: QksId, other: QksId) -> bool:
        """Whether there is a road between two sites."""
        return frozenset((one, other)) in self._roads

    @property
    def is_meshed(self) -> bool:
        """Whether all sites are neighbours."""
        return len(self._roads) == len(self.sites) * (len(self.sites) - 1) // 2

    @property
    def roads(self) -> list[Road]:
        """All roads."""
        return list(self._roads.values())

    @property
    def graph(self) -> Graph:
        """The roads, as everybody knows them; nobody knows which of them work."""
        edges: dict[QksId, dict[QksId, Edge]] = {}
        for road in self._roads.values():
            one, other = road.ends
            edges.setdefault(one, {})[other] = edges.setdefault(other, {})[one] = Edge(1, 8 * CAPACITY_BYTES)
        return Graph(edges, frozenset(edges), dict.fromkeys(edges, Address("far.example", 1)))

    async def connect(
        self, here: QksId, peer: QksId, serve: Callable[[SimulatedSite, QksId, Connection], Coroutine[Any, Any, None]]
    ) -> Connection:
        """Call a neighbour. Raises `ConnectionLost` if it cannot be reached."""
        await asyncio.sleep(0.002)
        road, there = self.road(here, peer), self.sites[peer]
        if self.loop.time() < road.closed_until or not there.running:
            raise ConnectionLost("nobody answers")
        mine, theirs = SimulatedConnection.pair(here, peer, self.weather, in_order=self.in_order)
        road.connections = [connection for connection in road.connections if not connection.is_broken] + [mine]
        there.spawn(serve(there, here, theirs))
        return mine

    async def call_far(self, here: QksId, peer: QksId) -> Connection:
        """Call the key server of a site that is no neighbour. Raises `ConnectionLost`."""
        return await self._call(here, peer, lambda there, theirs: there.serve_far(theirs))

    async def call_module(self, here: QksId, peer: QksId, pair: PairId) -> Connection:
        """Call the module of an end-to-end stream at its other end. Raises `ConnectionLost`."""

        def serve(there: SimulatedSite, theirs: Connection) -> Coroutine[Any, Any, None]:
            return there.serve_module(there.relay.module_for(here, pair), theirs)

        return await self._call(here, peer, serve)

    async def _call(
        self, here: QksId, peer: QksId, serve: Callable[[SimulatedSite, Connection], Coroutine[Any, Any, None]]
    ) -> Connection:
        await asyncio.sleep(0.002)
        there = self.sites[peer]
        if not there.running:
            raise ConnectionLost("nobody answers")
        mine, theirs = SimulatedConnection.pair(here, peer, self.weather, in_order=self.in_order)
        served = serve(there, theirs)
        self.far_connections = [each for each in self.far_connections if not each[1].is_broken]
        self.far_connections.append((frozenset((here, peer)), mine))
        there.spawn(served)
        return mine

    def cut_far(self, *sites: QksId) -> None:
        """Break the connections that these sites have with far ones."""
        for ends, connection in self.far_connections:
            if ends >= set(sites):
                connection.cut()

    def at_step(self, steps: int, what: Callable[[], Awaitable[None]]) -> None:
        """Do something after so many more steps of the loop, whatever is under way then."""
        self.breakpoints[self.steps + steps] = what

    def _between_steps(self) -> None:
        self.steps += 1
        what = self.breakpoints.pop(self.steps, None)
        if what is not None:
            task = self.loop.create_task(_as_coroutine(what))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def backup(self, site: QksId) -> SimulatedDisk:
        """Return a copy of a site's disk as it is now."""
        copied = deepcopy(self.sites[site].disk)
        copied.in_use = copied.full = False
        return copied


async def _as_coroutine(what: Callable[[], Awaitable[None]]) -> None:
    await what()


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, **options)
    owner = _owner.get()
    if owner is not None:
        owner.tasks[task] = None
        task.add_done_callback(owner.tasks.pop)
    return task
