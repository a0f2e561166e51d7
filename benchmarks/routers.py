"""`qss routing` on a topology: a process for each site, in network namespaces as FRR's daemons are in (`frr`).

Each site has one SAE, and as much key as any other on each of its links. Its key server's part is played from here, by
the way in that a key server takes: the Admin interface. When a table changed is what its module says.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import frr_plan as plan
from benchmarks.convergence import Convergence, Rest, Spread
from benchmarks.load import Caller, Refused, Target, get, post
from benchmarks.namespaces import Daemons, ended_by_signals, sent_bytes
from benchmarks.topologies import Edge, check, next_hops, nodes_of
from benchmarks.wiring import wired

from qss.app.homes import read_statement, state_home
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load, SiteState
from qss.pki.contexts import application_context
from qss.pki.folder import PkiFolder
from qss.wire.routes import RoutingStatus, parse_routing
from qss.wire.site_state import MAX_WAIT_S, render_state, render_wait

FULL = Load(1 << 20, 1 << 20)
_PORT, _ADMIN = 8447, 8448
_DAYS = 2
_PATIENCE_S = 120.0
_CALM_S = 1.1  # a site that changes once a second is not held back

Right = Callable[[int, RoutingStatus], bool]
"""Whether a site's table is as it should be."""


def site_of(node: int) -> QksId:
    """Return the ID of a node's site: in the order of the nodes."""
    return QksId(f"S{node:04}")


def sae_of(node: int, number: int = 0) -> SaeId:
    """Return the ID of a node's SAE."""
    return SaeId(f"sae:{node}.{number}")


async def measure(edges: Sequence[Edge], repetitions: int = 8, rest_s: float = 20.0) -> Convergence:
    """Run `qss routing` on a topology and return all figures."""
    async with Routers(edges) as routers:
        cold_start_s = await routers.cold_start()
        cpu_s = routers.cpu_s()
        prefix = [await routers.announce(number + 1) for number in range(repetitions)]
        links = [await routers.flap() for _ in range(repetitions)]
        return Convergence(
            cold_start_s * 1e3,
            cpu_s,
            Spread.of([max(times.values()) for times in prefix]),
            {node: statistics.median(times[node] for times in prefix) * 1e3 for node in sorted(prefix[0])},
            Spread.of([down for down, _ in links]),
            Spread.of([up for _, up in links]),
            await routers.rest(rest_s),
        )


class Routers:
    """Routing modules on a topology; a context that leaves nothing behind. Times are returned in seconds."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        self._edges = list(edges)
        check(self._edges)
        self.nodes = nodes_of(edges)
        self._left = AsyncExitStack()
        self.states: dict[int, SiteState] = {}
        self._callers: dict[int, Caller] = {}
        self._publishers: dict[int, Caller] = {}
        self.listened_s = 0.0
        """How long after the start of the first process the last one took calls."""

    async def __aenter__(self) -> Self:
        try:
            self._left.enter_context(ended_by_signals())
            self._folder = Path(self._left.enter_context(tempfile.TemporaryDirectory(prefix="qss-routers-")))
            links = AsyncExitStack()
            await self._left.enter_async_context(links)
            self._namespaces = wired(self._edges, self._left)
            self._daemons = Daemons()
            self._left.callback(self._daemons.stop)
            self._pki = PkiFolder(self._folder / "pki")
            self._pki.create("routing benchmark", _DAYS + 1)
            for node in self.nodes:
                self._configure(node)
        except BaseException:
            await self._left.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self._logged())
        await self._left.aclose()

    # --- what is measured -------------------------------------------------------------------------------------------

    async def cold_start(self) -> float:
        """Start all processes; return the time until every site has a way to every SAE."""
        began = time.time()
        for node in self.nodes:
            command = [sys.executable, "-m", "qss.cli.main", "routing", "--config", str(self._file(node))]
            self._daemons.start(command, self._namespaces[node], self._file(node).with_suffix(".log"))
        await asyncio.gather(*map(self._connect, self.nodes))
        self.listened_s = time.time() - began
        became = await self.wait(self.right_on(self._edges), "the shortest paths")
        return max(became.values()) - began

    async def announce(self, number: int) -> dict[int, float]:
        """Have a further SAE at home at the first site, and no more; return when each other site had it."""
        origin = self.nodes[0]
        sae, before = sae_of(origin, number), self.states[origin]
        statement = read_statement(state_home(self._pki, sae, site_of(origin), _DAYS))
        others = set(self.nodes) - {origin}

        def has(node: int, table: RoutingStatus) -> bool:
            return node not in others or any(sae == route.SAE_ID for route in table.routes)

        began = time.time()
        await self.publish(origin, SiteState({**before.saes, sae: statement}, {}, before.links))
        became = await self.wait(has, f"{sae}")
        await self.publish(origin, before)
        await self.wait(lambda node, table: not has(node, table) or node == origin, f"the end of {sae}")
        return {node: became[node] - began for node in others}

    async def come_or_go(self, dice: random.Random, number: int) -> float:
        """Have an SAE, or a link, come or go at some site; return when the last table had changed."""
        node = dice.choice(self.nodes)
        before = self.states[node]
        if dice.random() < 0.5:
            sae = sae_of(node, number + 1)
            statement = read_statement(state_home(self._pki, sae, site_of(node), _DAYS))
            changed, what = replace(before, saes={**before.saes, sae: statement}), "an SAE"
        else:
            lost = dice.choice(sorted(before.links))
            changed = replace(before, links={peer: load for peer, load in before.links.items() if peer != lost})
            what = "a link"
        there = await self._change(node, changed, f"the coming or going of {what}")
        back = await self._change(node, before, f"the coming or going of {what}")
        return max(there, back)

    async def _change(self, node: int, state: SiteState, what: str) -> float:
        versions = {each: (await self._table(each)).version for each in self.nodes}
        began = time.time()
        await self.publish(node, state)
        became = await self.wait(lambda each, table: table.version != versions[each], what)
        return max(became.values()) - began

    async def ask_after(self, number: int) -> float:
        """Return the time until a key server that asks the last site's module has a further SAE of the first site's."""
        origin, last = self.nodes[0], self.nodes[-1]
        sae, before = sae_of(origin, number), self.states[origin]
        statement = read_statement(state_home(self._pki, sae, site_of(origin), _DAYS))
        caller = self._callers[last]
        version = parse_routing(await caller.ask(get("/routing"))).version
        waiting = asyncio.create_task(caller.ask(post("/routing/wait", render_wait(version, MAX_WAIT_S))))
        await asyncio.sleep(_CALM_S)
        began = time.monotonic()
        await self.publish(origin, SiteState({**before.saes, sae: statement}, {}, before.links))
        told = parse_routing(await waiting)
        took = time.monotonic() - began
        if sae not in {route.SAE_ID for route in told.routes}:
            raise RuntimeError(f"another change came between: {told.routes}")
        await asyncio.sleep(_CALM_S)
        await self.publish(origin, before)
        await asyncio.sleep(_CALM_S)
        return took

    async def flap(self) -> tuple[float, float]:
        """Take the first edge away, and give it back; return for both the time until the last table had changed."""
        end, other = self._edges[0]
        whole = self.states[end]
        less = {peer: load for peer, load in whole.links.items() if peer != site_of(other)}
        down = await self._set(end, SiteState(whole.saes, {}, less), self._edges[1:])
        up = await self._set(end, whole, self._edges)
        return down, up

    async def rest(self, seconds: float) -> Rest:
        """Let time pass without a change; return what that cost. Key servers go on publishing every second."""
        cpu_s, sent, began = self.cpu_s(), self._sent(), time.monotonic()
        await asyncio.sleep(seconds)
        passed = time.monotonic() - began
        return Rest(passed, self.cpu_s() - cpu_s, (self._sent() - sent) / len(self.nodes) / passed * 60)

    def cpu_s(self) -> float:
        """Return the seconds that all processes have computed."""
        return self._daemons.cpu_s()

    async def publish(self, node: int, state: SiteState) -> None:
        """Say as a site's key server how the site is."""
        self.states[node] = state
        await self._publishers[node].ask(post("/routing/publish", render_state(state)))

    async def wait(self, right: Right, what: str) -> dict[int, float]:
        """Wait until all tables are right, and return when each became so (`time.time`), as its site says.

        Nobody is asked before all is calm: that would slow down what is measured.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            await asyncio.sleep(_CALM_S)
            tables = dict(zip(self.nodes, await asyncio.gather(*map(self._table, self.nodes)), strict=True))
            wrong = [node for node, table in tables.items() if not right(node, table)]
            if not wrong:
                return {node: table.changed for node, table in tables.items()}
            self._daemons.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"sites {wrong} do not have {what} within {_PATIENCE_S:g} s")

    async def _table(self, node: int) -> RoutingStatus:
        return parse_routing(await self._callers[node].ask(get("/routing")))

    def right_on(self, edges: Sequence[Edge], more: Mapping[int, int] | None = None) -> Right:
        """Return whether a table is that of these edges, each site with as many SAEs besides its first as `more` says.

        Of equal ways any will do.
        """
        hops = {node: next_hops(edges, node) for node in self.nodes}
        saes = {sae_of(node, number): node for node in self.nodes for number in range(1 + (more or {}).get(node, 0))}

        def right(node: int, table: RoutingStatus) -> bool:
            found = {route.SAE_ID: route.next_hop for route in table.routes}
            return found.keys() == saes.keys() and all(
                _is_way(found[sae], node, home, hops[node].get(home)) for sae, home in saes.items()
            )

        return right

    # --- building ---------------------------------------------------------------------------------------------------

    def _file(self, node: int) -> Path:
        return self._folder / f"{site_of(node)}.toml"

    def _configure(self, node: int) -> None:
        site = site_of(node)
        self._pki.issue_site(site, ["localhost"], _DAYS)
        statement = read_statement(state_home(self._pki, sae_of(node), site, _DAYS))
        neighbours = plan.neighbours(self._edges, node)
        self.states[node] = SiteState({sae_of(node): statement}, {}, dict.fromkeys(map(site_of, neighbours), FULL))
        links = "".join(
            f'[[links]]\npeer = "{site_of(other)}"\naddress = "{self._address(other, node)}:{_PORT}"\n'
            for other in neighbours
        )
        self._file(node).write_text(
            f'[site]\nid = "{site}"\nexternal = "{plan.loopback(node)}:8444"\n'
            f'[tls]\nauthority = "pki/ca.pem"\ncertificate = "pki/sites/{site}.pem"\nkey = "pki/sites/{site}.key"\n'
            f'[neighbours]\nlisten = "0.0.0.0:{_PORT}"\n[admin]\nlisten = "127.0.0.1:{_ADMIN}"\n{links}',
            "utf-8",
        )

    def _address(self, node: int, towards: int) -> str:
        """Return the address of a node on its link to another."""
        return plan.addresses(self._edges, node)[plan.interface(towards)].partition("/")[0]

    async def _connect(self, node: int) -> None:
        """Play the node's key server from the moment when its module listens."""
        pair = self._pki.site(site_of(node))
        context = application_context(pair.certificate, pair.key, self._pki.authority.certificate)
        target = Target(_ADMIN, context, self._namespaces[node])
        self._callers[node], self._publishers[node] = await self._caller(target), await self._caller(target)
        await self.publish(node, self.states[node])
        task = asyncio.create_task(self._keep_publishing(node, await self._caller(target)))
        self._left.push_async_callback(_ended, task)

    async def _caller(self, target: Target) -> Caller:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return await Caller.to(target)
            except OSError:
                self._daemons.check()
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)

    async def _keep_publishing(self, node: int, caller: Caller) -> None:
        while True:
            await asyncio.sleep(1.0)
            with suppress(Refused):
                await caller.ask(post("/routing/publish", render_state(self.states[node])))

    async def _set(self, node: int, state: SiteState, edges: Sequence[Edge]) -> float:
        right = self.right_on(edges)
        began = time.time()
        await self.publish(node, state)
        became = await self.wait(right, "the shortest paths after a change")
        return max(became.values()) - began

    def _sent(self) -> int:
        return sum(map(sent_bytes, self._daemons.pids))

    def _logged(self) -> str:
        lines = [line for log in self._folder.glob("*.log") for line in log.read_text("utf-8").splitlines()]
        return "\n".join(["The modules said last:", *lines[-20:]])


def _is_way(next_hop: str | None, node: int, home: int, via: frozenset[int] | None) -> bool:
    if home == node:
        return next_hop == site_of(node)
    return next_hop is None if via is None else next_hop in {site_of(other) for other in via}


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
        await task
