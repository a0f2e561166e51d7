"""Paths through the network, as every routing module computes them alike (Routing 9). Pure.

Of paths with the same cost the one with fewer links is better; of those, the one whose sites come first by their IDs,
compared from the source on. So all sites agree on the best path, whatever order they learnt of the links in.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from qss.model.identifiers import QksId
from qss.model.network import Graph, Path


def shortest_paths(graph: Graph, source: QksId) -> dict[QksId, Path]:
    """Return the best path from `source` to each site that can be reached, itself included (Dijkstra)."""
    best: dict[QksId, Path] = {}
    before: dict[QksId, QksId] = {}
    reached = {source: (0, 0)}
    waiting = [(0, 0, source)]
    while waiting:
        cost, length, site = heapq.heappop(waiting)
        if site in best:
            continue
        sites = (*best[before[site]].sites, site) if length else (source,)
        best[site] = Path(cost, length, sites)
        if site != source and site not in graph.repeaters:
            continue
        for neighbour, edge in graph.edges.get(site, {}).items():
            if neighbour in best:
                continue
            distance = (cost + edge.cost, length + 1)
            known = reached.get(neighbour)
            if known is None or distance < known:
                reached[neighbour], before[neighbour] = distance, site
                heapq.heappush(waiting, (*distance, neighbour))
            elif distance == known and sites < best[before[neighbour]].sites:
                before[neighbour] = site  # as long, as dear, and first by the IDs of its sites
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
