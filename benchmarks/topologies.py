"""Topologies on which routing is measured, as plain lists of edges, and the tables that routing has to reach on them.

Held here are graphs and shortest paths counted in hops. Refused are parallel edges, loops and graphs in parts: a
measurement ends when every router reaches every other. Nothing here knows a protocol or an address.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable

type Edge = tuple[int, int]
type NextHops = dict[int, frozenset[int]]
"""For each destination that is reached, the neighbours that are first on a shortest path."""


def line(n: int) -> list[Edge]:
    """Return nodes 0 to n - 1 in a row."""
    return [(node, node + 1) for node in range(n - 1)]


def ring(n: int) -> list[Edge]:
    """Return a line with its ends joined; `n` is three or more."""
    if n < 3:
        raise ValueError(f"a ring has three nodes or more, and not {n}")
    return [*line(n), (0, n - 1)]


def random_connected(n: int, seed: int, mean_degree: float = 3.5) -> list[Edge]:
    """Return a random tree with random edges added until the mean degree is reached."""
    source = random.Random(seed)
    chosen = {(source.randrange(node), node) for node in range(1, n)}
    missing = [(a, b) for a in range(n) for b in range(a + 1, n) if (a, b) not in chosen]
    extra = max(0, round(n * mean_degree / 2) - len(chosen))
    return sorted(chosen | set(source.sample(missing, min(extra, len(missing)))))


def nodes_of(edges: Iterable[Edge]) -> list[int]:
    """Return the nodes in order."""
    return sorted({node for edge in edges for node in edge})


def check(edges: list[Edge]) -> None:
    """Raise ValueError unless the graph is simple and in one piece."""
    if len({frozenset(edge) for edge in edges}) < len(edges) or any(a == b for a, b in edges):
        raise ValueError("an edge is there twice, or joins a node with itself: give each pair of nodes one edge")
    nodes = nodes_of(edges)
    if not nodes or len(next_hops(edges, nodes[0])) + 1 < len(nodes):
        raise ValueError("the topology is not in one piece: add edges until every node reaches every other")


def next_hops(edges: Iterable[Edge], source: int) -> NextHops:
    """Return the table of `source`: every edge costs one, and equal paths are all kept."""
    neighbours = _neighbours(edges)
    hops = {source: 0}
    first: dict[int, set[int]] = {source: set()}
    waiting = deque([source])
    while waiting:
        node = waiting.popleft()
        for neighbour in neighbours.get(node, ()):
            if neighbour not in hops:
                hops[neighbour] = hops[node] + 1
                first[neighbour] = set()
                waiting.append(neighbour)
            if hops[neighbour] == hops[node] + 1:
                first[neighbour] |= {neighbour} if node == source else first[node]
    return {node: frozenset(via) for node, via in first.items() if node != source}


def _neighbours(edges: Iterable[Edge]) -> dict[int, list[int]]:
    neighbours: dict[int, list[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    return neighbours
