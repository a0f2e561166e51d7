"""What the tables of a simulated network should be, from what is so and not from what was said.

The graph is that of the roads that are there and connected, at the cost of the key that they have; the homes are those
that the sites were given. A link whose key has changed is told damped (Routing 8.3), so of the costs that may be told
then the one that is told is taken, and the link has to be told again if it is none of them. Every site is to know best
paths and homes of whatever it can reach. What a site still knows of those that it cannot reach is not judged: it may,
until their lifetime has passed.
"""

from __future__ import annotations

from collections.abc import Mapping

from qss.core.routing.cost import Told
from qss.core.routing.paths import shortest_paths
from qss.core.routing.table import Table
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Graph, Path
from qss.simulation.routing import Network, road


class Truth:
    """Looks at a network, again and again, and keeps what it has found for as long as nothing changes."""

    def __init__(self, network: Network, liars: frozenset[QksId] = frozenset()) -> None:
        """Of the tables, links and SAEs of `liars` nothing is asked."""
        self._network = network
        self._liars = liars
        self._graph = Graph()
        self._saes: dict[QksId, dict[SaeId, bytes | None]] = {}
        self._paths: dict[QksId, Mapping[QksId, Path]] = {}
        self._right: dict[QksId, Table] = {}
        """Tables that were found right."""

    def graph(self) -> Graph | None:
        """Return the network of what runs and is connected; None if a cost is told that may not be."""
        edges: dict[QksId, dict[QksId, Edge]] = {}
        for each in self._network.roads:
            one, other = sorted(each)
            if self._network.is_connected(one, other):
                ends = [self._told(one, other), self._told(other, one)]
                told = [each for each in ends if each is not None]
                if len(told) < len(ends):
                    return None
                edge = Edge(max(cost.cost for cost in told), min(cost.available_bits for cost in told))
                edges.setdefault(one, {})[other] = edges.setdefault(other, {})[one] = edge
        return Graph(edges, frozenset(edges) - self._network.no_transit)

    def _told(self, one: QksId, other: QksId) -> Told | None:
        """Return what `one` has to tell of the link (Routing 8.1 to 8.4), None if that is not what it tells."""
        weights = self._network.settings.weights
        load, first = (loads[road(one, other)] for loads in (self._network.roads, self._network.first_loads))
        exact = weights.base - weights.level * min(1.0, load.available_bits / load.capacity_bits)
        step = weights.base / 16
        if load == first:
            bits = 1 << load.available_bits.bit_length() - 1 if load.available_bits else 0
            cost = max(1, round(round(exact / step) * step)) + load.administrative_cost
            return Told(cost if bits else cost + (1 << 20), bits)
        told = self._network.routers[one].told_of(other)
        if told.available_bits == 0:  # perhaps it has some again, and it is not told yet whether that lasts
            return told if load.available_bits < load.capacity_bits / 16 else None
        off = abs(told.cost - load.administrative_cost - exact)
        return told if load.available_bits and off <= step + 1 else None

    def wrong(self) -> list[QksId]:
        """Return the sites whose tables are not what they should be, in order."""
        graph, saes = self.graph(), self._network.saes
        if graph is None:
            return sorted(self._network.routers.keys() - self._liars)
        if graph != self._graph:
            self._graph, self._paths, self._right = graph, {}, {}
        if saes != self._saes:
            self._saes, self._right = dict(saes), {}
        routers = self._network.routers
        return [here for here in sorted(routers.keys() - self._liars) if not self._is_right(here, routers[here].table)]

    def _is_right(self, here: QksId, table: Table) -> bool:
        if self._right.get(here) is table:
            return True
        if here not in self._paths:
            self._paths[here] = shortest_paths(self._graph, here)
        if table.paths != self._paths[here] or not self._are_homes_right(table):
            return False
        self._paths[here] = table.paths  # the same, and kept once
        self._right[here] = table
        return True

    def _are_homes_right(self, table: Table) -> bool:
        judged = table.paths.keys() - self._liars
        homes = {sae: there for there in judged for sae in self._saes[there]}
        return {sae: there for sae, there in table.homes.items() if there in judged} == homes


def settle(network: Network, within_s: float, every_s: float = 0.005) -> float:
    """Let it run until all tables are right; return how long that took. Raises `AssertionError` if it takes longer.

    They are looked at every so many seconds.
    """
    truth = Truth(network)
    took = network.run(within_s, lambda: not truth.wrong(), every_s)
    wrong = truth.wrong()
    if wrong:
        raise AssertionError(f"{len(wrong)} tables are not right after {within_s} s, such as that of {wrong[0]}")
    if network.breaches:
        raise AssertionError(f"somebody broke the protocol: {network.breaches[0]}")
    return took
