"""The routing table: which site an SAE is at home in, and which neighbour, if any, leads there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from qss.model.identifiers import QksId, SaeId


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
    """What the QKS asks of routing."""

    def route(self, sae: SaeId) -> Route | None:
        """Return an SAE's home site and the way there, or None if the SAE is unknown."""
        ...
