"""Routing by real processes: `qss routing` beside FRR's ospfd, each router in a network namespace, one after the other.

What is compared is the time from a change to the last router's table: FRR's in the kernel, ours in the module. FRR runs
as it was tuned for speed for the goal, and once more with zebra's own wait of 10 ms taken out (`_quick`). A prefix is
an SAE here; a link goes down by a word of its key server, as a key stream's end is. Needs root, for the namespaces, and
FRR for its half; without FRR ours is measured alone.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Iterator

from benchmarks import frr, topologies
from benchmarks.convergence import Convergence
from benchmarks.results import Line
from benchmarks.routers import Routers, measure
from benchmarks.topologies import Edge

COMPARED: dict[str, list[Edge]] = {
    "line10": topologies.line(10),
    "ring10": topologies.ring(10),
    "random50": topologies.random_connected(50, 1),
}
SIZES = (10, 20, 30, 40, 50)
CHANGES = 20
ASKED = 8


async def routing() -> list[Line]:
    """Measure all."""
    lines: list[Line] = []
    for name, edges in COMPARED.items():
        _tell(f"qss routing, {name}")
        ours = await measure(edges)
        lines += ours.lines(f"routing_{name}")
        for number, milliseconds in ours.prefix_by_router_ms.items():
            if name == "line10":
                lines.append(Line(f"routing_line10_hop{number}", milliseconds, "ms"))
        lines += _beside(name, edges, ours)  # blocks: nothing else is to run meanwhile
    for size in SIZES:
        _tell(f"qss routing, {size} sites coming and going")
        lines += await _churn(size)
    return lines


def _beside(name: str, edges: list[Edge], ours: Convergence) -> Iterator[Line]:
    for suffix, quick in (("", False), ("_quick", True)):
        try:
            _tell(f"FRR{', zebra without wait' if quick else ''}, {name}")
            theirs = frr.measure(edges, quick=quick)
        except frr.Unavailable as reason:
            sys.stderr.write(f"FRR is not measured: {reason}\n")
            return
        yield from theirs.lines(f"routing_{name}_frr{suffix}")
        goal = None if quick else "<= 1"
        ratio = f"routing_{name}_frr{suffix}_ratio"
        if name == "line10":
            ratio = f"routing_frr{suffix}_ratio"
        yield Line(ratio, ours.prefix.median_ms / theirs.prefix.median_ms, "x", goal)
        yield Line(f"{ratio}_down", ours.link_down.median_ms / theirs.link_down.median_ms, "x", goal)
        yield Line(f"{ratio}_cold", ours.cold_start_ms / theirs.cold_start_ms, "x")


async def _churn(size: int) -> list[Line]:
    """Start so many sites, then let SAEs and links at random sites come and go, one after the other."""
    dice = random.Random(size)
    edges = topologies.random_connected(size, 1)
    async with Routers(edges) as routers:
        started_s = await routers.cold_start()
        times = [await routers.come_or_go(dice, number) for number in range(CHANGES)]
        asked = [await routers.ask_after(1000 + number) for number in range(ASKED)] if size == SIZES[0] else []
    name = f"routing_cold{size}"
    return [
        Line(f"{name}_ms", 1000 * (started_s - routers.listened_s), "ms"),
        Line(f"{name}_started_ms", 1000 * started_s, "ms"),
        Line(f"routing_churn{size}", 1000 * statistics.median(times), "ms"),
        Line(f"routing_churn{size}_worst", 1000 * max(times), "ms"),
        *(Line("routing_asked10", 1000 * statistics.median(asked), "ms") for _ in asked[:1]),
    ]


def _tell(what: str) -> None:
    sys.stderr.write(f"  {what}\n")
