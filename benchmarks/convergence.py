"""What is measured of routing on a topology, whoever routes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import Line


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
    """From the first start of a daemon to the last router's route to the last other router."""
    cold_start_cpu_s: float
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
