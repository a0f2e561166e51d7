"""One run: real sites, the roads between them, and applications.

Things break at random until enough nodes were killed; then all is mended, must work again, and comes to rest; then the
checker reads the log.

Repeatable by its seed as far as real processes are: the same things are broken in the same order.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from qss.app.audit.verification import verify
from qss.cli.demo.network import Network
from qss.cli.demo.nodes import Name, NodeFailed, Nodes, running_nodes
from qss.model.errors import QssError
from qss.model.identifiers import QksId
from support.network import traces_in
from torture.applications import Applications
from torture.checker import gather, violations
from torture.log import Broken, Fault, Log, read
from torture.plan import CLOSE, CUT, STALL, TEAR, Blow, blows, storms
from torture.road import Road
from torture.sites import clients_of, far_road_to, rewire, road_between
from torture.topologies import TOPOLOGIES, Topology
from torture.watchtower import Watchtower

DELIVERIES = "deliveries.jsonl"
"""The log's name in the run's folder."""

RECOVERY_S = 45.0
"""Longest time until what was mended works again."""

REST_S = 30.0
"""Longest time until every slave has its keys, once all works."""

_POLL_S = 0.05
_LOOK_S = 1.0
_MOST_KEYS_IN_LOGS = 500


class GivenUp(QssError):
    """Something did not come about in time."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    seed: int
    deliveries: int
    kills: int
    faults: int
    violations: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.deliveries} deliveries, {self.kills} kills, {self.faults} network faults, "
            f"{len(self.violations)} violations, seed {self.seed}, {self.seconds:.0f} s"
        )


async def run(
    folder: Path, kills: int, seed: int, say: Callable[[str], None], *, split: bool = False, topology: str = "row3"
) -> Outcome:
    """Run in `folder`, which is empty; `say` hears how it goes. What is wrong stands in the outcome.

    With `split`, modules are processes of their own, and killed like nodes.
    """
    began = time.monotonic()
    plan = TOPOLOGIES[topology]
    network = Network(folder, split, plan.links, plan.homes)
    await network.build(lambda _: None)
    async with AsyncExitStack() as stack:
        roads = [await stack.enter_async_context(road_between(network, ends)) for ends in plan.links]
        afar = [far_road_to(network, site) for site in network.sites if plan.has_far_sites]
        afar = [await stack.enter_async_context(road) for road in afar]
        rewire(network, roads, afar)
        log = stack.enter_context(Log(folder / DELIVERIES))
        say(f"seed {seed}, {kills} kills; everything is in {folder}")
        nodes = await stack.enter_async_context(running_nodes(network))
        clients = await stack.enter_async_context(clients_of(network))
        watchtower = await stack.enter_async_context(Watchtower(network))
        applications = Applications(clients, plan.homes, log, Random(f"asks {seed}"))
        one = Run(seed, kills, plan, network, nodes, [*roads, *afar], log, applications, watchtower, say)
        await one.run()
        assert all(road.connections for road in roads), "the sites do not call each other over the roads"
        assert not afar or any(road.connections for road in afar), "far sites do not call each other over the roads"
    record = gather(read(folder / DELIVERIES))
    keys = list(record.keys.values())
    found = [*violations(record, plan.homes), *_in_logs(network, nodes, keys), *_in_audit_logs(network)]
    deliveries = sum(1 for _ in record.deliveries)
    return Outcome(seed, deliveries, one.kills, one.faults, tuple(found), time.monotonic() - began)


class Run:
    """The course of a run."""

    def __init__(
        self,
        seed: int,
        kills: int,
        topology: Topology,
        network: Network,
        nodes: Nodes,
        roads: Sequence[Road],
        log: Log,
        applications: Applications,
        watchtower: Watchtower,
        say: Callable[[str], None],
    ) -> None:
        self._seed = seed
        self._planned = kills
        self._topology = topology
        self._network = network
        self._nodes = nodes
        self._roads = {road.ends: road for road in roads}
        self._log = log
        self._applications = applications
        self._watchtower = watchtower
        self._say = say
        self.kills = 0
        self.faults = 0

    async def run(self) -> None:
        """Run to the end. What must not be goes to the log, and ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                watching = [group.create_task(self._watch()), group.create_task(self._look_on())]
                await self._until(self._watchtower.all_are_known, "a site does not know all applications")
                asking = [group.create_task(self._applications.converse(one)) for one in self._topology.conversations]
                await self._until_served(self._topology.directions, "at the start")
                storming = group.create_task(self._storm())
                for blow in blows(self._seed, self._network.processes, self._planned):
                    await self._strike(blow)
                storming.cancel()
                self._say("all is mended")
                for road in self._roads.values():
                    road.mend()
                await self._until_served(self._topology.directions, "at the end, with everything mended")
                await self._until(self._watchtower.modules_run, "a device pair has no key stream after all is mended")
                self._applications.stop()
                await self._rest(asking)
                for task in watching:
                    task.cancel()
        except* (NodeFailed, GivenUp) as errors:
            for error in errors.exceptions:
                self._log.write(Broken(str(error)))

    # --- what breaks ----------------------------------------------------------------------------------------------

    async def _strike(self, blow: Blow) -> None:
        await asyncio.sleep(blow.after_s)
        await self._kill(*blow.victims)
        await asyncio.sleep(blow.down_s)
        await self._start(*blow.victims)
        if blow.again_s is not None:
            await asyncio.sleep(blow.again_s)
            await self._kill(blow.victims[0])
            await self._start(blow.victims[0])
        for victim in blow.victims:
            await self._until_served(self._directions(victim), f"after {victim} was killed", enough=1)
        self._say(
            f"{self.kills:4} kills, {self.faults} network faults, {self._applications.deliveries} deliveries so far"
        )

    def _directions(self, victim: Name) -> tuple[tuple[QksId, QksId], ...]:
        """Return the directions in which keys are given by way of a node, or of a module."""
        for module in self._network.modules:
            if victim == module.name:
                return (module.site, module.peer), (module.peer, module.site)
        return tuple(direction for direction in self._topology.directions if victim in direction)

    async def _kill(self, *victims: Name) -> None:
        for victim in victims:
            self._log.write(Fault(f"kill {victim}"))
            await self._nodes.kill(victim)
            self.kills += 1

    async def _start(self, *victims: Name) -> None:
        for victim in victims:
            self._log.write(Fault(f"start {victim}"))
            await self._nodes.start(victim)

    async def _storm(self) -> None:
        for storm in storms(self._seed, list(self._roads)):
            await asyncio.sleep(storm.after_s)
            road = self._roads[storm.road]
            self._log.write(Fault(f"{storm.what} {'-'.join(storm.road)} for {storm.lasts_s:.1f} s"))
            {CUT: road.cut, TEAR: road.tear, STALL: road.stall, CLOSE: road.close}[storm.what]()
            self.faults += 1
            await asyncio.sleep(storm.lasts_s)
            road.mend()

    # --- what must be ---------------------------------------------------------------------------------------------

    async def _until_served(self, directions: Sequence[tuple[QksId, QksId]], when: str, enough: int = 0) -> None:
        """Wait until masters got keys in all these directions, or in `enough` (0: all) of them, after this moment."""
        before = Counter(self._applications.served)
        deadline = time.monotonic() + RECOVERY_S
        while True:
            served = [one for one in directions if self._applications.served[one] > before[one]]
            if len(served) >= (enough or len(directions)):
                return
            if time.monotonic() > deadline:
                rest = ", ".join(f"{one} to {other}" for one, other in directions if (one, other) not in served)
                raise GivenUp(f"no key for {RECOVERY_S:g} s {when}: {rest}")
            await asyncio.sleep(_POLL_S)

    async def _until(self, so: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + RECOVERY_S
        while not await so():
            if time.monotonic() > deadline:
                raise GivenUp(f"{otherwise}, for {RECOVERY_S:g} s")
            await asyncio.sleep(_POLL_S)

    async def _rest(self, asking: Sequence[asyncio.Task[None]]) -> None:
        """Wait until all slaves have their keys and nothing moves, and look at every site."""
        try:
            async with asyncio.timeout(REST_S):
                await asyncio.wait(asking)
                await self._applications.fetch_late()
                for look in await self._watchtower.at_rest():
                    self._log.write(look)
        except TimeoutError:
            raise GivenUp(f"slaves still wait, or sites still move, {REST_S:g} s after all works") from None

    async def _watch(self) -> None:
        """See that no node ends by itself."""
        while True:
            self._nodes.check()
            await asyncio.sleep(_POLL_S)

    async def _look_on(self) -> None:
        """Note what sites tell while all this goes on."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for site in self._network.sites:
                for look in await self._watchtower.look(site):
                    self._log.write(look)


def _in_logs(network: Network, nodes: Nodes, keys: Sequence[bytes]) -> list[str]:
    """Return what must not stand in a log and does."""
    some = Random(0).sample(keys, min(len(keys), _MOST_KEYS_IN_LOGS))
    return [
        f"the log of {name} holds {found}"
        for name in network.processes
        for found in traces_in(nodes.log(name).read_bytes(), some)
    ]


def _in_audit_logs(network: Network) -> list[str]:
    """Return what is wrong with the sites' audit logs."""
    found = []
    for data in sorted(network.folder.glob("*.data")):
        try:
            verify(data, network.pki.authority.certificate)
        except QssError as error:
            found.append(f"the audit log of {data.stem}: {error}")
    return found
