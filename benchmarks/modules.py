"""`qss routing` on a topology: a process for each site, in network namespaces as FRR's daemons are in (`frr`).

Each site has one SAE, and as much key as any other on each of its links. Its key server's part is played from here, by
the way in that a key server takes: the Admin interface. When a table changed is what its module says. Not here: what is
done to them and which tables are right (`routers`, `churn`).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import modules_plan as plan
from benchmarks.addressing import neighbours, routers_of
from benchmarks.load import Caller, Refused, Target, connected, get, post
from benchmarks.namespaces import Daemons, ended_by_signals, sent_bytes
from benchmarks.shortest_paths import Edge
from benchmarks.wiring import wired

from qss.app.homes import read_statement, state_home
from qss.model.identifiers import SaeId
from qss.model.network import Load, SiteState
from qss.pki.contexts import application_context
from qss.pki.folder import PkiFolder
from qss.simulation.topologies import site
from qss.wire.routes import RoutingStatus, parse_routing
from qss.wire.site_state import render_state

CALM_S = 1.1
"""After this a site that changes once a second is not held back, and tables have come to rest."""

_FULL = Load(1 << 20, 1 << 20)
_DAYS = 2
_PATIENCE_S = 120.0

Right = Callable[[int, RoutingStatus], bool]
"""Whether a site's table is as it should be."""


class Modules:
    """Routing modules on a topology in one piece; a context that leaves nothing behind."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        self.edges = edges
        self.routers = routers_of(edges)
        self.states: dict[int, SiteState] = {}
        """What each key server says of its site."""
        self._left = AsyncExitStack()
        self._callers: dict[int, Caller] = {}
        self._publishers: dict[int, Caller] = {}

    async def __aenter__(self) -> Self:
        try:
            self._left.enter_context(ended_by_signals())
            self._folder = Path(self._left.enter_context(tempfile.TemporaryDirectory(prefix="qss-routers-")))
            self._namespaces = wired(self.edges, self._left)
            self._daemons = Daemons()
            self._left.callback(self._daemons.stop)
            self._pki = PkiFolder(self._folder / "pki")
            self._pki.create("routing benchmark", _DAYS + 1)
            for router in self.routers:
                self._configure(router)
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

    async def start(self) -> None:
        """Start all processes, and return when each takes calls and has been told of its site."""
        for router in self.routers:
            command = [sys.executable, "-m", "qss.cli.main", "routing", "--config", str(self._file(router))]
            self._daemons.start(command, self._namespaces[router], self._file(router).with_suffix(".log"))
        await asyncio.gather(*map(self._connect, self.routers))

    async def publish(self, router: int, state: SiteState) -> None:
        """Say as a site's key server how the site is."""
        self.states[router] = state
        await self._publishers[router].ask(post("/routing/publish", render_state(state)))

    async def ask(self, router: int, request: bytes) -> RoutingStatus:
        """Return what a module says of the network when it is asked so."""
        return parse_routing(await self._callers[router].ask(request))

    async def table(self, router: int) -> RoutingStatus:
        """Return what a module knows of the network."""
        return await self.ask(router, get("/routing"))

    async def wait(self, right: Right, what: str) -> dict[int, float]:
        """Wait until all tables are right, and return when each became so (`time.time`), as its site says.

        Nobody is asked before all is calm: that would slow down what is measured.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            await asyncio.sleep(CALM_S)
            tables = dict(zip(self.routers, await asyncio.gather(*map(self.table, self.routers)), strict=True))
            wrong = [router for router, table in tables.items() if not right(router, table)]
            if not wrong:
                return {router: table.changed for router, table in tables.items()}
            self._daemons.check()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"after {_PATIENCE_S:.0f} s the sites of routers {wrong} lack {what}: see what they said last"
                )

    def with_sae(self, router: int, number: int) -> tuple[SaeId, SiteState]:
        """Return a further SAE, and the state of a router's site in which it is at home there."""
        sae, state = plan.sae(router, number), self.states[router]
        statement = read_statement(state_home(self._pki, sae, site(router), _DAYS))
        return sae, replace(state, saes={**state.saes, sae: statement})

    def cpu_s(self) -> float:
        """Return the seconds that all processes have computed."""
        return self._daemons.cpu_s()

    def sent_bytes(self) -> int:
        """Return what all processes have sent, with the headers of IP and of the link below."""
        return sum(map(sent_bytes, self._daemons.pids))

    def _file(self, router: int) -> Path:
        return self._folder / f"{site(router)}.toml"

    def _configure(self, router: int) -> None:
        self._pki.issue_site(site(router), ["localhost"], _DAYS)
        links = dict.fromkeys(map(site, neighbours(self.edges, router)), _FULL)
        self.states[router] = SiteState(links=links)
        _, self.states[router] = self.with_sae(router, 0)
        self._file(router).write_text(plan.configuration(self.edges, router), "utf-8")

    async def _connect(self, router: int) -> None:
        """Play the key server from the moment when its module listens."""
        pair = self._pki.site(site(router))
        context = application_context(pair.certificate, pair.key, self._pki.authority.certificate)
        target = Target(plan.ADMIN_PORT, context, self._namespaces[router])

        def still_awaited() -> Target:
            self._daemons.check()
            return target

        self._callers[router] = await connected(still_awaited, _PATIENCE_S)
        self._publishers[router] = await Caller.to(target)
        await self.publish(router, self.states[router])
        task = asyncio.create_task(self._keep_publishing(router, await Caller.to(target)))
        self._left.push_async_callback(_ended, task)

    async def _keep_publishing(self, router: int, caller: Caller) -> None:
        while True:
            await asyncio.sleep(1.0)
            with suppress(Refused):
                await caller.ask(post("/routing/publish", render_state(self.states[router])))

    def _logged(self) -> str:
        lines = [line for log in self._folder.glob("*.log") for line in log.read_text("utf-8").splitlines()]
        return "\n".join(["The modules said last:", *lines[-20:]])


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
        await task
