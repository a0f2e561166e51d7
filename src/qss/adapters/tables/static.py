"""A routing table that is configured: the home sites of SAEs, and no ways but those to this site and its neighbours."""

from __future__ import annotations

from collections.abc import Mapping

from qss.model.identifiers import QksId, SaeId
from qss.ports.routing_table import Route


class StaticTable:
    """Implements `qss.ports.routing_table.RoutingTable`. Every link costs 1."""

    def __init__(self, here: QksId, neighbours: frozenset[QksId], homes: Mapping[SaeId, QksId]) -> None:
        self._routes = {
            sae: Route(sae, next_hop=site, dest=site, cost=length, length=length)
            for sae, site in homes.items()
            for length in (0 if site == here else 1,)
            if site == here or site in neighbours
        }

    def route(self, sae: SaeId) -> Route | None:
        """Return the way to an SAE's home site, or None if the SAE is unknown or at home further away."""
        return self._routes.get(sae)
