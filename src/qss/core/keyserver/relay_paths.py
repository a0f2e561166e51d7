"""The paths that relayed key takes: the best that fit a policy, and have key left (Relay 6.2). Pure.

One path is exactly the best, by cost, links and sites, of those that have no more links than the policy allows. Several
that share no repeater cost the least in all (`core.routing.disjoint`), if all of them are short enough. If not, the
fewest links in all are tried; then one set after the other, in the order of the best path in it, and the first that
fits is taken, whatever it costs. That search ends after `MOST_STEPS`, for in a large network it might take for ever: a
policy that wants several paths, and short ones, may then not find those that there are.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from qss.core.routing import disjoint_paths
from qss.model.identifiers import QksId
from qss.model.network import Graph, Path
from qss.model.relay_policy import RelayPolicy

MOST_STEPS = 2_000
"""Beginnings of paths that are looked at where several have to be short: some 20 ms."""


def choose_paths(
    graph: Graph,
    source: QksId,
    destination: QksId,
    policy: RelayPolicy,
    bits: int = 0,
    avoid_sites: Collection[QksId] = (),
    avoid_links: Collection[tuple[QksId, QksId]] = (),
) -> tuple[Path, ...]:
    """Return as many paths as the policy wants, the best first; none if there are not so many.

    Each of their links has at least `bits` of key left. `avoid_sites` and `avoid_links` (their ends in either order)
    are kept clear of besides what the policy avoids; source and destination are no repeaters, and never avoided. The
    direct link between them is a path, too.
    """
    if source == destination:
        return ()
    avoided = (policy.avoid | frozenset(avoid_sites)) - {source, destination}
    usable = graph.with_key(bits).without(avoided).without_links(avoid_links)
    near = _within(usable, source, destination, policy.max_hops)
    if policy.disjoint_paths > 1:
        return _apart(near, source, destination, policy.disjoint_paths, policy.max_hops)
    best = _best(near, source, destination, policy.max_hops)
    return () if best is None else (best,)


def _best(graph: Graph, source: QksId, destination: QksId, most: int) -> Path | None:
    """Return the best path of at most so many links: Dijkstra, where a dearer way to a site counts if it is shorter."""
    shortest: dict[QksId, int] = {}
    waiting = [Path(0, 0, (source,))]
    while waiting:
        path = heapq.heappop(waiting)
        site = path.sites[-1]
        if site == destination:
            return path
        if path.length < shortest.get(site, most):
            shortest[site] = path.length
            for further in _further(graph, path):
                heapq.heappush(waiting, further)
    return None


def _apart(graph: Graph, source: QksId, destination: QksId, number: int, most: int) -> tuple[Path, ...]:
    """Return paths of at most so many links that share no repeater; none if there are not so many."""
    for weighed in (graph, _at_one_cost(graph)):
        found = disjoint_paths(weighed, source, destination, number)
        if len(found) < number:
            return ()
        if all(path.length <= most for path in found):
            return tuple(sorted(_costed(graph, path.sites) for path in found))
    return _Search(graph, source, destination, most).first(number)


class _Search:
    """Goes through sets of paths that share no repeater until one is found, or `MOST_STEPS` are taken."""

    def __init__(self, graph: Graph, source: QksId, destination: QksId, most: int) -> None:
        self._graph, self._source, self._destination, self._most = graph, source, destination, most
        self._left = _links_from(graph, destination)
        self._steps = MOST_STEPS

    def first(self, number: int, after: Path | None = None, taken: frozenset[QksId] = frozenset()) -> tuple[Path, ...]:
        """Return the first set of so many paths that all come after one, and keep clear of what is taken; else none."""
        for path in self._ways(taken):
            if after is not None and path <= after:
                continue
            if number == 1:
                return (path,)
            others = self.first(number - 1, path, taken | frozenset(path.sites[1:-1]))
            if others:
                return (path, *others)
        return ()

    def _ways(self, taken: frozenset[QksId]) -> Iterator[Path]:
        """Yield the paths that are short enough and keep clear of what is taken, the best first."""
        waiting = [Path(0, 0, (self._source,))]
        while waiting and self._steps:
            self._steps -= 1
            path = heapq.heappop(waiting)
            if path.sites[-1] == self._destination:
                yield path
                continue
            for further in _further(self._graph, path):
                site = further.sites[-1]
                if site not in taken and site not in path.sites and further.length + self._left[site] <= self._most:
                    heapq.heappush(waiting, further)


def _further(graph: Graph, path: Path) -> Iterator[Path]:
    """Yield a path that begins at its source, with each next site."""
    site = path.sites[-1]
    if path.length and site not in graph.repeaters:
        return
    for neighbour, edge in graph.edges.get(site, {}).items():
        yield Path(path.cost + edge.cost, path.length + 1, (*path.sites, neighbour))


def _within(graph: Graph, source: QksId, destination: QksId, most: int) -> Graph:
    """Return the part of a network where paths of at most so many links can lead, in the order of its sites."""
    here, there = _links_from(graph, source), _links_from(graph, destination)
    leading = graph.repeaters | {source, destination}
    near = {site for site in leading & here.keys() & there.keys() if here[site] + there[site] <= most}
    edges = {
        site: {peer: edge for peer, edge in sorted(graph.edges.get(site, {}).items()) if peer in near}
        for site in sorted(near)
    }
    return Graph(edges, graph.repeaters)


def _links_from(graph: Graph, site: QksId) -> Mapping[QksId, int]:
    """Return how many links each site is away from one, through repeaters."""
    found, waiting = {site: 0}, deque([site])
    while waiting:
        one = waiting.popleft()
        if one == site or one in graph.repeaters:
            for other in graph.edges.get(one, {}):
                if other not in found:
                    found[other] = found[one] + 1
                    waiting.append(other)
    return found


def _at_one_cost(graph: Graph) -> Graph:
    edges = {one: {other: replace(edge, cost=1) for other, edge in ends.items()} for one, ends in graph.edges.items()}
    return Graph(edges, graph.repeaters)


def _costed(graph: Graph, sites: tuple[QksId, ...]) -> Path:
    return Path(sum(graph.edges[one][other].cost for one, other in pairwise(sites)), len(sites) - 1, sites)
