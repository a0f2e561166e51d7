"""The network as routing sees it: links with their cost and the key that they have left, ways over them, SAEs' homes.

Values, and what can be asked of one alone. Not here: how ways are found (`core.routing.paths`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from qss.model.addresses import Address
from qss.model.identifiers import QksId, SaeId


@dataclass(frozen=True, slots=True)
class Load:
    """A link as this end sees it: bits of key left and capacity, in bits, and what the administrator adds."""

    available_bits: int
    capacity_bits: int
    administrative_cost: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """A link that both ends tell: its cost, and the bits of key that both have left."""

    cost: int
    available_bits: int


@dataclass(frozen=True, slots=True, order=True)
class Path:
    """A way: the sum of what its links cost, how many they are, and its sites, from the source to the destination."""

    cost: int
    length: int
    sites: tuple[QksId, ...]

    @property
    def next_hop(self) -> QksId:
        """The second site; the source itself on a path of no links."""
        return self.sites[min(1, self.length)]


@dataclass(frozen=True, slots=True)
class Graph:
    """The links of a network, and its sites. `repeaters` are the sites through which paths may lead."""

    edges: Mapping[QksId, Mapping[QksId, Edge]] = field(default_factory=dict)
    """By both ends; alike in both directions."""
    repeaters: frozenset[QksId] = frozenset()
    externals: Mapping[QksId, Address] = field(default_factory=dict)
    """Where the External of each site that tells of links can be reached, as that site says."""

    def with_key(self, bits: int) -> Graph:
        """Return the links that have at least so many bits of key left."""
        kept = {
            one: {other: edge for other, edge in edges.items() if edge.available_bits >= bits}
            for one, edges in self.edges.items()
        }
        return replace(self, edges=kept)

    def without(self, sites: Iterable[QksId]) -> Graph:
        """Return the network without these sites."""
        gone = frozenset(sites)
        kept = {
            one: {other: edge for other, edge in edges.items() if other not in gone}
            for one, edges in self.edges.items()
            if one not in gone
        }
        return replace(self, edges=kept)

    def without_links(self, links: Iterable[tuple[QksId, QksId]]) -> Graph:
        """Return the network without these links, each named by its ends in either order."""
        gone = {frozenset(link) for link in links}
        kept = {
            one: {other: edge for other, edge in edges.items() if {one, other} not in gone}
            for one, edges in self.edges.items()
        }
        return Graph(kept, self.repeaters)


@dataclass(frozen=True, slots=True)
class SiteState:
    """What the key server says of its site: all of it, each time."""

    saes: Mapping[SaeId, bytes | None] = field(default_factory=dict)
    """SAEs at home here, each with the authority's statement of that, if there is one."""
    homes: Mapping[SaeId, QksId] = field(default_factory=dict)
    """Homes of SAEs elsewhere that are configured: they count, whatever is told of these SAEs."""
    links: Mapping[QksId, Load] = field(default_factory=dict)
    """Links that work, each with its load now."""


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table (the published system's Table 1)."""

    sae: SaeId
    next_hop: QksId | None
    """The neighbour on the way; equal to `dest` for a neighbouring site, and to this site for its own SAEs.

    None if there is no way; `cost` and `length` are 0 then, and say nothing.
    """
    dest: QksId
    """The SAE's home site."""
    cost: int
    """Of the way: the sum of what its links cost."""
    length: int
    """Links on the way; 0 for this site's own SAEs."""
