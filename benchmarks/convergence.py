"""What is measured of routing on a topology, and in which order, whoever routes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.results import Line

_CHANGES = 8
_REST_S = 20.0


@dataclass(frozen=True)
class Spread:
    """Repeated times in milliseconds."""

    median_ms: float
    worst_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Return the spread of times in seconds."""
        return cls(statistics.median(seconds) * 1e3, max(seconds) * 1e3)


@dataclass(frozen=True)
class Rest:
    """What routing costs while nothing changes."""

    seconds: float
    cpu_s: float
    """Computed by all routers together in that time."""
    bytes_per_router_minute: float
    """Sent, with the headers of IP and of the link below."""


@dataclass(frozen=True)
class Convergence:
    """How long routing took on one topology."""

    cold_start_ms: float
    """From the start of the first process to the last router's route to the last other router."""
    cold_start_cpu_s: float
    """Computed by all routers together until all was calm."""
    prefix: Spread
    """From a new prefix at router 0 to its route at the last router."""
    prefix_by_router_ms: dict[int, float]
    """The median for each router but the one that announced."""
    link_down: Spread
    """From the loss of the first edge to the last change of a router's table."""
    link_up: Spread
    """From the return of the first edge to the last change of a router's table: new neighbours have to meet again."""
    rest: Rest

    def lines(self, name: str) -> list[Line]:
        """Return the figures as lines of a benchmark."""
        return [
            Line(f"{name}_cold_start", self.cold_start_ms, "ms"),
            Line(f"{name}_cold_start_cpu", self.cold_start_cpu_s, "s"),
            Line(f"{name}_prefix", self.prefix.median_ms, "ms"),
            Line(f"{name}_prefix_worst", self.prefix.worst_ms, "ms"),
            Line(f"{name}_link_down", self.link_down.median_ms, "ms"),
            Line(f"{name}_link_down_worst", self.link_down.worst_ms, "ms"),
            Line(f"{name}_link_up", self.link_up.median_ms, "ms"),
            Line(f"{name}_rest_cpu", self.rest.cpu_s / self.rest.seconds * 60, "s/min"),
            Line(f"{name}_rest_sent", self.rest.bytes_per_router_minute, "B/min"),
        ]


class Bed(Protocol):
    """Routers on a topology that somebody else's code runs. Times are in seconds."""

    async def cold_start(self) -> float:
        """Start all, wait until all is calm; return the time until every router had a route to every other."""
        ...

    async def announce(self, number: int) -> Mapping[int, float]:
        """Announce a new prefix, number one or more, at router 0, and take it back; return when the others had it."""
        ...

    async def flap(self) -> tuple[float, float]:
        """Take the first edge away, and give it back; return for both the time until the last table had changed."""
        ...

    async def rest(self, seconds: float) -> Rest:
        """Let time pass without a change; return what that cost."""
        ...

    def cpu_s(self) -> float:
        """Return what all routers have computed."""
        ...


async def measure(bed: Bed, changes: int = _CHANGES, rest_s: float = _REST_S) -> Convergence:
    """Return all figures of routers that are not started yet; each change is made so many times."""
    cold_start_s = await bed.cold_start()
    cpu_s = bed.cpu_s()
    prefix = [await bed.announce(number) for number in range(1, changes + 1)]
    links = [await bed.flap() for _ in range(changes)]
    return Convergence(
        cold_start_s * 1e3,
        cpu_s,
        Spread.of([max(times.values()) for times in prefix]),
        {router: statistics.median(times[router] for times in prefix) * 1e3 for router in sorted(prefix[0])},
        Spread.of([down for down, _ in links]),
        Spread.of([up for _, up in links]),
        await bed.rest(rest_s),
    )
