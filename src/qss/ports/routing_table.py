"""The routing table: where the key server and the routing module of a site meet.

The key server publishes what is so at its own site; the routing module publishes the published system's Table 1, and
the network with its ways. Both may be in one process or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from qss.model.identifiers import SaeId
from qss.model.network import Graph, Route, SiteState


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
