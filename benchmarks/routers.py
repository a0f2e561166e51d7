"""`qss routing` on a topology, measured as FRR is: what is done to the modules, and which tables are right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from benchmarks import modules_plan as plan
from benchmarks.convergence import Rest
from benchmarks.modules import Modules, Right
from benchmarks.shortest_paths import Edge, next_hops

from qss.model.network import SiteState
from qss.simulation.topologies import site
from qss.wire.routes import RoutingStatus


class Routers:
    """Routing modules that are asked to converge (a `Bed`); a prefix is an SAE, a link what its key servers say."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules
        self.listened_s = 0.0
        """How long after the start of the first process the last one took calls."""

    async def cold_start(self) -> float:
        """Start all processes, wait until all is calm; return the time until every site had a way to every SAE."""
        began = time.time()
        await self._modules.start()
        self.listened_s = time.time() - began
        became = await self._modules.wait(self._right_on(self._modules.edges), "the shortest paths")
        return max(became.values()) - began

    async def announce(self, number: int) -> dict[int, float]:
        """Have a further SAE at home at the first site, and no more; return after what time each other site had it."""
        origin, *others = self._modules.routers
        before = self._modules.states[origin]
        sae, after = self._modules.with_sae(origin, number)

        def has(router: int, table: RoutingStatus) -> bool:
            return router == origin or any(sae == route.SAE_ID for route in table.routes)

        began = time.time()
        await self._modules.publish(origin, after)
        became = await self._modules.wait(has, f"{sae}")
        await self._modules.publish(origin, before)
        await self._modules.wait(lambda router, table: router == origin or not has(router, table), f"the end of {sae}")
        return {router: became[router] - began for router in others}

    async def flap(self) -> tuple[float, float]:
        """Take the first edge away, and give it back; return for both the time until the last table had changed."""
        end, other = self._modules.edges[0]
        whole = self._modules.states[end]
        less = {peer: load for peer, load in whole.links.items() if peer != site(other)}
        down = await self._publish(end, replace(whole, links=less), self._modules.edges[1:])
        up = await self._publish(end, whole, self._modules.edges)
        return down, up

    async def rest(self, seconds: float) -> Rest:
        """Let time pass without a change; return what that cost. Key servers go on publishing every second."""
        modules = self._modules
        cpu_s, sent, began = self.cpu_s(), modules.sent_bytes(), time.monotonic()
        await asyncio.sleep(seconds)
        passed = time.monotonic() - began
        per_router_minute = (modules.sent_bytes() - sent) / len(modules.routers) / passed * 60
        return Rest(passed, self.cpu_s() - cpu_s, per_router_minute)

    def cpu_s(self) -> float:
        """Return the seconds that all processes have computed."""
        return self._modules.cpu_s()

    async def _publish(self, router: int, state: SiteState, then: Sequence[Edge]) -> float:
        """Say how a site is; return the time until all tables are right for the edges that there are then."""
        right = self._right_on(then)
        began = time.time()
        await self._modules.publish(router, state)
        became = await self._modules.wait(right, "the shortest paths after a change")
        return max(became.values()) - began

    def _right_on(self, edges: Sequence[Edge]) -> Right:
        """Return whether a table is that of these edges; of equal ways any will do."""
        hops = {router: next_hops(edges, router) for router in self._modules.routers}
        homes = {plan.sae(router): router for router in self._modules.routers}

        def right(router: int, table: RoutingStatus) -> bool:
            found = {route.SAE_ID: route.next_hop for route in table.routes}
            return found.keys() == homes.keys() and all(
                _is_way(found[sae], router, home, hops[router].get(home)) for sae, home in homes.items()
            )

        return right


def _is_way(next_hop: str | None, router: int, home: int, via: frozenset[int] | None) -> bool:
    if home == router:
        return next_hop == site(router)
    return next_hop is None if via is None else next_hop in {site(other) for other in via}
