"""What the tables of a simulated network should be, from what is so and not from what was said.

The graph is that of the roads that are there and connected, at the costs that their ends tell; the homes are those that
the sites were given. Every site is to know best paths and homes of whatever it can reach. What a site still knows of
those that it cannot reach is not judged: it may, until their lifetime has passed.
"""

from __future__ import annotations

from collections.abc import Mapping

from qss.core.routing.paths import shortest_paths
from qss.core.routing.table import Table
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Graph, Path
from qss.simulation.routing import Network


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

    def graph(self) -> Graph:
        """Return the network of what runs and is connected."""
        edges: dict[QksId, dict[QksId, Edge]] = {}
        for each in self._network.roads:
            one, other = each
            if self._network.is_connected(one, other):
                told = [self._network.routers[a].told_of(b) for a, b in ((one, other), (other, one))]
                edge = Edge(max(cost.cost for cost in told), min(cost.available_bits for cost in told))
                edges.setdefault(one, {})[other] = edges.setdefault(other, {})[one] = edge
        return Graph(edges, frozenset(edges))

    def wrong(self) -> list[QksId]:
        """Return the sites whose tables are not what they should be, in order."""
        graph, saes = self.graph(), self._network.saes
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
