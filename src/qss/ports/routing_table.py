"""The routing table: which site an SAE is at home in, and which neighbour leads there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from qss.model.identifiers import QksId, SaeId


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table (the published system's Table 1)."""

    sae: SaeId
    next_hop: QksId
    """The neighbour on the way; equal to `dest` for a neighbouring site, and to this site for its own SAEs."""
    dest: QksId
    """The SAE's home site."""
    cost: int
    length: int
    """Links on the way; 0 for this site's own SAEs."""


class RoutingTable(Protocol):
    """What the QKS asks of routing."""

    def route(self, sae: SaeId) -> Route | None:
        """Return the way to an SAE's home site, or None if the SAE is unknown or unreachable."""
        ...
