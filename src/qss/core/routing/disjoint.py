"""Paths that share no repeater, the least cost in all (Routing 9.5). Pure.

Suurballe's algorithm for any number of paths: one cheapest path after the other on the graph whose sites are split in
two, with arcs that are taken turned round. Costs are reduced by the distances of the round before (potentials), so that
none is below 0 and Dijkstra's algorithm serves every round.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from qss.model.identifiers import QksId
from qss.model.network import Graph, Path

_Node = tuple[QksId, bool]
"""A site is split in two: where paths come in (False) and where they go out (True)."""

_LINK = 1
_COST = 1 << 32
"""One number weighs costs first and links then: no graph has so many links."""


def disjoint_paths(graph: Graph, source: QksId, destination: QksId, number: int) -> list[Path]:
    """Return `number` paths that share no site but their ends, the least cost in all, the best first.

    Fewer if there are no more: then as many as can be.
    """
    if source == destination:
        return []
    network = _Residual(graph, source, destination)
    for _ in range(number):
        if not network.augment():
            break
    return sorted(network.paths(graph))


class _Residual:
    """What is left of the split graph once some paths are taken. Each arc carries at most one path."""

    def __init__(self, graph: Graph, source: QksId, destination: QksId) -> None:
        self._start: _Node = (source, True)
        self._end: _Node = (destination, False)
        self._open: dict[_Node, dict[_Node, int]] = {}
        """Arcs that a further path may use, with their weights; those of taken ones are turned round and below 0."""
        self._taken: dict[_Node, set[_Node]] = {}
        self._potentials: dict[_Node, int] = {}
        for site, edges in graph.edges.items():
            leaving = self._open[site, True] = {}
            if site in graph.repeaters:
                self._open[site, False] = {(site, True): 0}
            for neighbour, edge in edges.items():
                leaving[neighbour, False] = _COST * edge.cost + _LINK
        self._open.pop((source, False), None)
        self._open.pop(self._end, None)

    def augment(self) -> bool:
        """Take one more path, perhaps by giving up parts of others; return whether there was one."""
        before = self._cheapest()
        if self._end not in before:
            return False
        node = self._end
        while node != self._start:
            previous = before[node]
            self._turn(previous, node)
            node = previous
        return True

    def _turn(self, one: _Node, other: _Node) -> None:
        """Take an arc, or give up the one that goes the other way."""
        weight = self._open[one].pop(other)
        self._open.setdefault(other, {})[one] = -weight
        if one in self._taken.get(other, ()):
            self._taken[other].remove(one)
        else:
            self._taken.setdefault(one, set()).add(other)

    def _cheapest(self) -> dict[_Node, _Node]:
        """Return the node before each on the cheapest way from the start."""
        potentials = self._potentials
        distances = {self._start: 0}
        before: dict[_Node, _Node] = {}
        done: set[_Node] = set()
        waiting = [(0, self._start)]
        while waiting:
            distance, node = heapq.heappop(waiting)
            if node in done:
                continue
            done.add(node)
            here = distance + potentials.get(node, 0)
            for other, weight in self._open.get(node, {}).items():
                reached = here + weight - potentials.get(other, 0)
                if other not in distances or reached < distances[other]:
                    distances[other], before[other] = reached, node
                    heapq.heappush(waiting, (reached, other))
        self._potentials = {node: distance + potentials.get(node, 0) for node, distance in distances.items()}
        return before

    def paths(self, graph: Graph) -> Iterator[Path]:
        """Yield the paths that were taken."""
        for first in self._taken.get(self._start, ()):
            sites, node = [self._start[0]], first
            while node != self._end:
                if not node[1]:
                    sites.append(node[0])
                (node,) = self._taken[node]
            sites.append(node[0])
            cost = sum(graph.edges[one][other].cost for one, other in itertools.pairwise(sites))
            yield Path(cost, len(sites) - 1, tuple(sites))
