"""The tables that routing has to reach on a topology, counted in hops: what a measurement holds the routers' tables to.

Held here is a search of its own, by breadth. Refused is that of `qss`: it would be held to itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

type Edge = tuple[int, int]
type NextHops = dict[int, frozenset[int]]
"""For each destination that is reached, the neighbours that are first on a shortest path."""


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
