"""Routing by real processes: `qss routing` beside FRR's ospfd, each router in a network namespace, one after the other.

What is compared is the time from a change to the last router's table: FRR's in the kernel, ours in the module. FRR runs
tuned for speed, once with zebra as it is shipped (`_frr`, with which the goals compare) and once with zebra's own wait
of 10 ms taken out (`_frr_quick`). A prefix is an SAE here; a link goes down by a word of its key server, as a key
stream's end is. Needs root, for the namespaces, and FRR for its half; without FRR ours is measured alone.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import AsyncIterator, Iterator

from benchmarks import frr_plan
from benchmarks.churn import ask_after, come_or_go
from benchmarks.convergence import Convergence, measure
from benchmarks.frr import Frr, Unavailable
from benchmarks.modules import Modules
from benchmarks.results import Line
from benchmarks.routers import Routers

from qss.simulation.topologies import Edges, line, numbered, ring, tangle

COMPARED: dict[str, Edges] = {
    "line10": numbered(line(10)),
    "ring10": numbered(ring(10)),
    "random50": numbered(tangle(50, 1)),
}
SIZES = (10, 20, 30, 40, 50)
CHANGES = 20
ASKED = 8

_FRR = {"frr": (frr_plan.AS_SHIPPED, "<= 1"), "frr_quick": (frr_plan.WITHOUT_ZEBRAS_WAIT, None)}
"""How FRR runs, by its name in the figures, and what our times are to be of its."""


async def routing() -> AsyncIterator[Line]:
    """Measure all."""
    for name, edges in COMPARED.items():
        _tell(f"qss routing, {name}")
        async with Modules(edges) as modules:
            ours = await measure(Routers(modules))
        for one in _ours(name, ours):
            yield one
        async for one in _beside(name, edges, ours):
            yield one
    for size in SIZES:
        _tell(f"qss routing, {size} sites coming and going")
        async for one in _churn(size):
            yield one


def _ours(name: str, ours: Convergence) -> Iterator[Line]:
    yield from ours.lines(f"routing_{name}")
    if name == "line10":
        for hops, milliseconds in ours.prefix_by_router_ms.items():
            yield Line(f"routing_line10_hop{hops}", milliseconds, "ms")


async def _beside(name: str, edges: Edges, ours: Convergence) -> AsyncIterator[Line]:
    for frr, (zebra, goal) in _FRR.items():
        _tell(f"{frr}, {name}")
        try:
            with Frr(edges, zebra) as bed:
                theirs = await measure(bed)
        except Unavailable as reason:
            sys.stderr.write(f"FRR is not measured: {reason}\n")
            return
        for one in theirs.lines(f"routing_{name}_{frr}"):
            yield one
        ratio = f"routing_{frr}_ratio" if name == "line10" else f"routing_{name}_{frr}_ratio"
        yield Line(ratio, ours.prefix.median_ms / theirs.prefix.median_ms, "x", goal)
        yield Line(f"{ratio}_down", ours.link_down.median_ms / theirs.link_down.median_ms, "x", goal)
        yield Line(f"{ratio}_cold", ours.cold_start_ms / theirs.cold_start_ms, "x")


async def _churn(size: int) -> AsyncIterator[Line]:
    """Start so many sites, then let SAEs and links at random sites come and go, one after the other."""
    dice = random.Random(size)
    async with Modules(numbered(tangle(size, 1))) as modules:
        routers = Routers(modules)
        started_s = await routers.cold_start()
        yield Line(f"routing_cold{size}_ms", 1000 * (started_s - routers.listened_s), "ms")
        yield Line(f"routing_cold{size}_from_start_ms", 1000 * started_s, "ms")
        times = [await come_or_go(modules, dice, number) for number in range(1, CHANGES + 1)]
        yield Line(f"routing_churn{size}", 1000 * statistics.median(times), "ms")
        yield Line(f"routing_churn{size}_worst", 1000 * max(times), "ms")
        if size == SIZES[0]:
            asked = [await ask_after(modules, 1000 + number) for number in range(ASKED)]
            yield Line(f"routing_asked{size}", 1000 * statistics.median(asked), "ms")


def _tell(what: str) -> None:
    sys.stderr.write(f"  {what}\n")
