"""Paths through the network, as every routing module computes them alike (Routing 9). Pure.

Of paths with the same cost the one with fewer links is better; of those, the one whose sites come first by their IDs,
compared from the source on. So all sites agree on the best path, whatever order they learnt of the links in.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from qss.model.identifiers import QksId
from qss.model.network import Graph, Path


def shortest_paths(graph: Graph, source: QksId) -> dict[QksId, Path]:
    """Return the best path from `source` to each site that can be reached, itself included (Dijkstra)."""
    best: dict[QksId, Path] = {}
    waiting = [Path(0, 0, (source,))]
    while waiting:
        path = heapq.heappop(waiting)
        site = path.sites[-1]
        if site in best:
            continue
        best[site] = path
        if site != source and site not in graph.repeaters:
            continue
        for neighbour, edge in graph.edges.get(site, {}).items():
            if neighbour not in best:
                heapq.heappush(waiting, Path(path.cost + edge.cost, path.length + 1, (*path.sites, neighbour)))
    return best


def equal_paths(graph: Graph, source: QksId, destination: QksId, most: int = 16) -> list[Path]:
    """Return all paths of the least cost and number of links, at most `most`, the best first."""
    distances = {site: (path.cost, path.length) for site, path in shortest_paths(graph, destination).items()}
    if source not in distances or source == destination:
        return [Path(0, 0, (source,))] if source == destination else []

    def onward(path: Path) -> Iterator[Path]:
        site = path.sites[-1]
        if site == destination:
            yield path
            return
        if site != source and site not in graph.repeaters:
            return
        cost, length = distances[site]
        for neighbour, edge in sorted(graph.edges.get(site, {}).items()):
            if distances.get(neighbour) == (cost - edge.cost, length - 1):
                yield from onward(Path(path.cost + edge.cost, path.length + 1, (*path.sites, neighbour)))

    found = onward(Path(0, 0, (source,)))
    return [path for path, _ in zip(found, range(most), strict=False)]


_Node = tuple[QksId, bool]
"""A site is split in two: where paths come in (False) and where they go out (True)."""


def disjoint_paths(graph: Graph, source: QksId, destination: QksId, number: int) -> list[Path]:
    """Return `number` paths that share no site but their ends, the least cost in all, the best first.

    Fewer if there are no more: then as many as can be. By successive shortest paths with Bellman-Ford's relaxation on
    the graph whose sites are split in two, which is Suurballe's algorithm for any number of paths.
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
        self._arcs: dict[_Node, dict[_Node, tuple[int, int]]] = {}
        for site, edges in graph.edges.items():
            if site not in (source, destination) and site in graph.repeaters:
                self._add((site, False), (site, True), (0, 0))
            for neighbour, edge in edges.items():
                if neighbour != source and site != destination:
                    self._add((site, True), (neighbour, False), (edge.cost, 1))
        self._taken: set[tuple[_Node, _Node]] = set()

    def _add(self, one: _Node, other: _Node, weight: tuple[int, int]) -> None:
        self._arcs.setdefault(one, {})[other] = weight

    def augment(self) -> bool:
        """Take one more path, perhaps by giving up parts of others; return whether there was one."""
        before = self._cheapest()
        if self._end not in before:
            return False
        node = self._end
        while node != self._start:
            previous = before[node]
            arc = (previous, node)
            if (node, previous) in self._taken:
                self._taken.remove((node, previous))
            else:
                self._taken.add(arc)
            node = previous
        return True

    def _cheapest(self) -> dict[_Node, _Node]:
        """Return the node before each on the cheapest way from the start. Arcs that are given up cost less than 0."""
        distance: dict[_Node, tuple[int, int]] = {self._start: (0, 0)}
        before: dict[_Node, _Node] = {}
        changed = [self._start]
        while changed:
            following: set[_Node] = set()
            for node in sorted(changed):
                cost, length = distance[node]
                for other, (more, links) in self._open(node):
                    reached = (cost + more, length + links)
                    if other not in distance or reached < distance[other]:
                        distance[other], before[other] = reached, node
                        following.add(other)
            changed = list(following)
        return before

    def _open(self, node: _Node) -> Iterator[tuple[_Node, tuple[int, int]]]:
        for other, weight in self._arcs.get(node, {}).items():
            if (node, other) not in self._taken:
                yield other, weight
        for other, taken in [arc for arc in self._taken if arc[1] == node]:
            cost, length = self._arcs[other][taken]
            yield other, (-cost, -length)

    def paths(self, graph: Graph) -> Iterator[Path]:
        """Yield the paths that were taken."""
        following: dict[_Node, list[_Node]] = {}
        for one, other in self._taken:
            following.setdefault(one, []).append(other)
        for first in following.get(self._start, []):
            sites, node = [self._start[0]], first
            while True:
                if not node[1]:
                    sites.append(node[0])
                if node == self._end:
                    break
                (node,) = following[node]
            cost = sum(graph.edges[one][other].cost for one, other in itertools.pairwise(sites))
            yield Path(cost, len(sites) - 1, tuple(sites))
