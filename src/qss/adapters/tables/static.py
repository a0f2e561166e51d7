"""A routing table that is configured: the home sites of SAEs, and the ways to this site and its neighbours.

There are no ways through other sites: whoever is at home further away is known, and cannot be reached.
"""

from __future__ import annotations

from collections.abc import Mapping

from qss.model.identifiers import QksId, SaeId
from qss.ports.routing_table import Route


class StaticTable:
    """Implements `qss.ports.routing_table.RoutingTable`. Every link costs 1."""

    def __init__(self, here: QksId, neighbours: frozenset[QksId], homes: Mapping[SaeId, QksId]) -> None:
        self._routes = {
            sae: Route(sae, next_hop=site if near else None, dest=site, cost=length, length=length)
            for sae, site in homes.items()
            for near, length in ((site == here or site in neighbours, int(site in neighbours)),)
        }

    def route(self, sae: SaeId) -> Route | None:
        """Return an SAE's home site and the way there, or None if the SAE is unknown."""
        return self._routes.get(sae)
