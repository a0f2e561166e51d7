"""The links of this site: which of them work, and at what cost they are told (Routing 8).

Held here: loads, ticks, and what is to be told of links whose adjacency is full. Not here: the cost itself (`cost`),
nor when it is told (`origination`).
"""

from __future__ import annotations

from collections.abc import Callable

from qss.core.routing.cost import CostWeights, LinkCost, Told
from qss.model.identifiers import QksId
from qss.model.network import Load
from qss.wire.routing import LinkState


class SiteLinks:
    """The links of one site, at this end."""

    def __init__(self, weights: CostWeights, tick_s: float) -> None:
        """Begin with none."""
        self._weights = weights
        self._tick_s = tick_s
        self._loads: dict[QksId, Load] = {}
        self._costs: dict[QksId, LinkCost] = {}
        self._ticked_at = 0.0

    def set_up(self, loads: dict[QksId, Load]) -> None:
        """Have these links work, and no others."""
        for peer in self._loads.keys() - loads.keys():
            del self._costs[peer]
        for peer, load in loads.items():
            if peer not in self._costs:
                self._costs[peer] = LinkCost(self._weights, load)
        self._loads = loads

    def tick(self, now: float) -> bool:
        """Look at the costs if it is time (Routing 8.2); return whether another one is to be told."""
        if now - self._ticked_at < self._tick_s:
            return False
        self._ticked_at = now
        changed = [peer for peer, load in self._loads.items() if self._costs[peer].tick(load)]
        return bool(changed)

    def told_of(self, peer: QksId) -> Told:
        """Return what is told of a link that works."""
        return self._costs[peer].told

    def told_of_all(self) -> dict[QksId, Told]:
        """Return what is told of each link that works."""
        return {peer: cost.told for peer, cost in self._costs.items()}

    def told(self, is_full: Callable[[QksId], bool]) -> list[LinkState]:
        """Return what is to be told: links that work, to neighbours whose adjacency is full (Routing 4.4)."""
        return [
            LinkState(peer, cost.told.cost, cost.told.available_bits)
            for peer, cost in self._costs.items()
            if is_full(peer)
        ]
