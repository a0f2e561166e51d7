"""Paths through the network, as every routing module computes them alike (Routing 9.1 to 9.3, and 9.5). Pure.

Of paths with the same cost the one with fewer links is better; of those, the one whose sites come first by their IDs,
compared from the source on. So all sites agree on the best path, whatever order they learnt of the links in.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping

from qss.model.identifiers import QksId
from qss.model.network import Edge, Graph, Path

_MOST_LOST = 0.25
"""The part of all paths above which seeking all of them costs less than seeking only those that were lost."""


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


def repaired_paths(
    graph: Graph, source: QksId, before: Mapping[QksId, Path], changed: Iterable[tuple[QksId, QksId]]
) -> dict[QksId, Path]:
    """Return what `shortest_paths` would, from the paths as they were before the costs of these links changed.

    Only paths that led over them, or may lead over them now, are sought. Which sites are repeaters must have stayed.
    """
    arcs = [arc for one, other in changed for arc in ((one, other), (other, one))]
    lost: set[QksId] = set()
    for begin, end in arcs:
        if end in before and before[end].sites[-2:] == (begin, end):
            place = before[end].length  # whatever leads through this site does so at the same place
            lost.update(s for s, path in before.items() if path.length >= place and path.sites[place] == end)
    if len(lost) > len(before) * _MOST_LOST:
        return shortest_paths(graph, source)
    best = {site: path for site, path in before.items() if site not in lost} if lost else dict(before)
    waiting: list[tuple[int, int, tuple[QksId, ...]]] = []

    def go_on(path: Path, neighbour: QksId, edge: Edge) -> None:
        further = (path.cost + edge.cost, path.length + 1, (*path.sites, neighbour))
        known = best.get(neighbour)
        if known is None or further < (known.cost, known.length, known.sites):
            heapq.heappush(waiting, further)

    def leads_on(site: QksId) -> bool:
        return site in best and (site == source or site in graph.repeaters)

    for begin, end in (*arcs, *((peer, site) for site in lost for peer in graph.edges.get(site, {}))):
        edge = graph.edges.get(begin, {}).get(end)
        if edge is not None and leads_on(begin):
            go_on(best[begin], end, edge)
    while waiting:
        path = Path(*heapq.heappop(waiting))
        site = path.sites[-1]
        if site in best and best[site] <= path:
            continue
        best[site] = path
        if leads_on(site):
            for neighbour, edge in graph.edges.get(site, {}).items():
                go_on(path, neighbour, edge)
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
