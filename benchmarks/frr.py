"""FRR's ospfd on a topology: a network namespace with `zebra` and `ospfd` for each router, and how long routing takes.

Held here is how the daemons are run and what is done to them (`convergence`). Refused is to install anything, to touch
the machine's own FRR, and to trust the daemons' word: what counts is the kernel's routing table of every router. Calls
block the event loop, on which nothing else is to run meanwhile, and each has a time limit.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import frr_plan
from benchmarks.addressing import announced, index, loopback, routers_of
from benchmarks.convergence import Rest
from benchmarks.kernel_tables import KernelTables, Right, Table
from benchmarks.namespaces import Daemons, ended_by_signals, sent_bytes
from benchmarks.shortest_paths import Edge, next_hops
from benchmarks.wiring import wired

_PROGRAMS = Path("/usr/lib/frr")
_USER = "frr"
_START_TIMEOUT_S = 120.0
_CHANGE_TIMEOUT_S = 30.0
_POLL_S = 0.002
_CALM_S = 0.3  # longer than any timer that a change sets off
_SETTLED_S = 1.5


class Unavailable(Exception):
    """FRR cannot be run here; the message says what to do."""


class Frr:
    """Routers on a topology in one piece (a `Bed`); a context that leaves nothing behind."""

    def __init__(self, edges: Sequence[Edge], zebra: str) -> None:
        self._edges = edges
        self._zebra = zebra
        self._routers = routers_of(edges)
        self._left = ExitStack()

    def __enter__(self) -> Self:
        if not _installed():
            raise Unavailable("FRR or iproute2 is not installed: apt-get install frr iproute2")
        try:
            self._left.enter_context(ended_by_signals())
            self._build()
        except BaseException:
            self._left.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self._logged())
        self._left.close()

    async def cold_start(self) -> float:
        """Start all daemons, wait until all is calm; return the time until every router had a route to every other."""
        began = time.monotonic()
        for router in self._routers:
            self._start("zebra", router)
        waiting = list(self._routers)
        while waiting:
            waiting = [router for router in waiting if not self._followed(router)]
            if time.monotonic() > began + _START_TIMEOUT_S:
                raise TimeoutError(f"zebra of routers {waiting} does not start: run it by hand to see why")
            time.sleep(_POLL_S)  # noqa: ASYNC251 - nothing else is to run
        became = self._tables.wait(self._reaches_all, _START_TIMEOUT_S, "a route to each other router")
        self._settle()
        return max(became.values()) - began

    async def announce(self, number: int) -> dict[int, float]:
        """Announce a new prefix at router 0, and take it back; return after what time each other router had it."""
        address, origin = announced(number), self._routers[0]
        others = set(self._routers) - {origin}
        began = time.monotonic()
        self._tables.kernels[origin].add_address(address)
        became = self._tables.wait(
            lambda router, table: router not in others or address in table, _CHANGE_TIMEOUT_S, f"{address}"
        )
        self._tables.rest(_CALM_S, _CHANGE_TIMEOUT_S)
        self._tables.kernels[origin].remove_address(address)
        self._tables.wait(lambda _, table: address not in table, _CHANGE_TIMEOUT_S, f"the end of {address}")
        self._tables.rest(_CALM_S, _CHANGE_TIMEOUT_S)
        return {router: moment - began for router, moment in became.items()}

    async def flap(self) -> tuple[float, float]:
        """Take the first edge away, and give it back; return for both the time until the last table had changed."""
        down = self._set_first_edge(self._edges[1:], up=False)
        self._tables.rest(_CALM_S, _CHANGE_TIMEOUT_S)
        up = self._set_first_edge(self._edges, up=True)
        self._settle()
        return down, up

    async def rest(self, seconds: float) -> Rest:
        """Let time pass without a change; return what that cost."""
        self._settle()
        cpu_s, sent, began = self.cpu_s(), self._sent_bytes(), time.monotonic()
        time.sleep(seconds)  # noqa: ASYNC251 - nothing else is to run
        passed = time.monotonic() - began
        per_router_minute = (self._sent_bytes() - sent) / len(self._routers) / passed * 60
        return Rest(passed, self.cpu_s() - cpu_s, per_router_minute)

    def cpu_s(self) -> float:
        """Return the seconds that all daemons have computed."""
        return self._daemons.cpu_s()

    def _settle(self) -> None:
        """Wait until all tables are those of the topology, and stay so."""
        self._tables.wait(self._as_on(self._edges), _CHANGE_TIMEOUT_S, "the shortest paths")
        self._tables.rest(_SETTLED_S, _CHANGE_TIMEOUT_S)
        self._daemons.check()

    # --- building ---------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._folder = Path(self._left.enter_context(tempfile.TemporaryDirectory(prefix="qss-frr-")))
        shutil.chown(self._folder, _USER, _USER)
        self._namespaces = wired(self._edges, self._left)
        for router in self._routers:
            self._write(router)
        self._tables = KernelTables(self._namespaces)
        self._left.callback(self._tables.close)
        self._daemons = Daemons()
        self._left.callback(self._daemons.stop)

    def _write(self, router: int) -> None:
        folder = self._folder / str(router)
        folder.mkdir()
        shutil.chown(folder, _USER, _USER)
        (folder / "zebra.conf").write_text(self._zebra, "ascii")
        (folder / "ospfd.conf").write_text(frr_plan.ospfd(self._edges, router), "ascii")

    def _start(self, program: str, router: int) -> None:
        folder = self._folder / str(router)
        command = [str(_PROGRAMS / program), "-f", f"{folder}/{program}.conf", "-i", f"{folder}/{program}.pid"]
        command += ["-z", f"{folder}/zserv", "--vty_socket", str(folder), "-P", "0"]
        self._daemons.start(command, self._namespaces[router], folder / f"{program}.log")

    def _followed(self, router: int) -> bool:
        """Start ospfd as soon as zebra serves: its vty socket is the last that it opens."""
        if not (self._folder / str(router) / "zebra.vty").exists():
            return False
        self._start("ospfd", router)
        return True

    def _logged(self) -> str:
        """Return what the daemons said last; lines begin with the time."""
        said = [
            (line, f"{log.parent.name}/{log.stem}: {line}")
            for log in self._folder.glob("*/*.log")
            for line in log.read_text("utf-8").splitlines()
        ]
        return "\n".join(["The daemons said last:", *(named for _, named in sorted(said)[-20:])])

    # --- what is right ----------------------------------------------------------------------------------------------

    def _reaches_all(self, router: int, table: Table) -> bool:
        return all(loopback(other) in table for other in self._routers if other != router)

    def _as_on(self, edges: Sequence[Edge]) -> Right:
        expected = {router: self._expected(edges, router) for router in self._routers}
        return lambda router, table: table == expected[router]

    def _expected(self, edges: Sequence[Edge], router: int) -> Table:
        hops = next_hops(edges, router)
        return {loopback(other): frozenset(map(index, via)) for other, via in hops.items()}

    def _set_first_edge(self, then: Sequence[Edge], *, up: bool) -> float:
        """Take the first edge down or up; return the time until all tables are right for the edges that are there."""
        end, other = self._edges[0]
        right = self._as_on(then)
        began = time.monotonic()
        self._tables.kernels[end].set_link(index(other), up=up)
        became = self._tables.wait(right, _CHANGE_TIMEOUT_S, "the shortest paths after a change")
        return max(became.values()) - began

    def _sent_bytes(self) -> int:
        return sum(map(sent_bytes, self._daemons.pids[: len(self._routers)]))


def _installed() -> bool:
    ours = (shutil.which(program) for program in ("ip", "setpriv"))
    theirs = (shutil.which(program, path=str(_PROGRAMS)) for program in ("zebra", "ospfd"))
    return None not in (*ours, *theirs)
