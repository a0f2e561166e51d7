"""The routing table: where the key server and the routing module of a site meet.

The key server publishes what is so at its own site; the routing module publishes the published system's Table 1, and
the network with its ways. Both may be in one process or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from qss.model.identifiers import QksId, SaeId
from qss.model.network import Graph, Load


@dataclass(frozen=True, slots=True)
class SiteState:
    """What the key server says of its site: all of it, each time."""

    saes: Mapping[SaeId, bytes | None] = field(default_factory=dict)
    """SAEs at home here, each with the authority's statement of that, if there is one."""
    homes: Mapping[SaeId, QksId] = field(default_factory=dict)
    """Homes of SAEs elsewhere that are configured: they count, whatever is told of these SAEs."""
    links: Mapping[QksId, Load] = field(default_factory=dict)
    """Links that work, each with its load now."""


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table (the published system's Table 1)."""

    sae: SaeId
    next_hop: QksId | None
    """The neighbour on the way; equal to `dest` for a neighbouring site, and to this site for its own SAEs.

    None if there is no way; `cost` and `length` are 0 then, and say nothing.
    """
    dest: QksId
    """The SAE's home site."""
    cost: int
    """Of the way: the sum of what its links cost."""
    length: int
    """Links on the way; 0 for this site's own SAEs."""


class RoutingTable(Protocol):
    """What the key server says to routing, and asks of it. No verb waits for anything."""

    def publish(self, state: SiteState) -> None:
        """Say how the site is now."""
        ...

    def route(self, sae: SaeId) -> Route | None:
        """Return an SAE's home site and the way there, or None if no home of it counts."""
        ...

    @property
    def graph(self) -> Graph:
        """The network's links as this site sees them now."""
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever routes or graph may be others."""
        ...
