"""What a site knows of the network: the data models of Admin's `/routing` and `/routing/lsas`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from qss.model.addresses import Address
from qss.model.identifiers import QksId
from qss.model.network import Edge, Graph
from qss.wire.answers import parse_answer


class LinkView(msgspec.Struct, frozen=True, kw_only=True):
    """A link that both ends tell: the higher of both costs, the lower of both bits of key left.

    These are as they were told last, in steps (Routing 8.3): there may be less now, or more.
    """

    ends: tuple[str, str]
    cost: int
    available_bits: int


class RouteView(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the published system's Table 1. `next_hop` null: there is no way."""

    SAE_ID: str
    next_hop: str | None
    dest: str
    cost: int
    length: int


class TagsView(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with tags from link key with one neighbour (Routing 12)."""

    setting: str
    """`offered` or `required`, by this site's configuration."""
    state: str
    """`tagged`; `short`, there is no key to tag with; `none`, nothing is agreed on."""
    key_bits: int
    """Of the link's key, what was drawn for tags, by either end, since the process began."""
    untagged: int
    """Updates that came or left without tag, since the process began."""


class RoutingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One site's view."""

    site: str
    version: int
    """Another one with each change of `links`, `repeaters` or `routes`; none that an earlier process had."""
    changed: float
    """When they changed last, in seconds since 1970; 0: never."""
    neighbours: Mapping[str, str]
    """How far the adjacency to each neighbour has come (Routing 4)."""
    lsas: int
    settled: bool
    """Whether it has heard what its neighbours had to tell at its start, as far as they could be reached."""
    dropped: Mapping[str, int]
    """LSAs that were not taken, by neighbour and reason."""
    links: tuple[LinkView, ...]
    repeaters: tuple[str, ...]
    """Sites through which ways may lead."""
    routes: tuple[RouteView, ...]
    silent_s: float = 0.0
    """For how many seconds a routing module in a process of its own could not be asked by the node that says this."""
    contested: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """SAEs with two homes or more that count, which are served at none, and these homes."""
    externals: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Where the External of each site that tells of links can be reached."""
    tags: Mapping[str, TagsView] = msgspec.field(default_factory=dict)
    """Of the neighbours for whom `link_tags` is not `off`."""


def graph_of(status: RoutingStatus) -> Graph:
    """Return the network that a site sees."""
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for link in status.links:
        one, other = map(QksId, link.ends)
        edge = Edge(link.cost, link.available_bits)
        edges.setdefault(one, {})[other] = edge
        edges.setdefault(other, {})[one] = edge
    externals = {QksId(site): Address.parse(address) for site, address in status.externals.items()}
    return Graph(edges, frozenset(map(QksId, status.repeaters)), externals)


class LsaView(msgspec.Struct, frozen=True, kw_only=True):
    """A link state advertisement that is known (Routing 3.1). Ages and lifetimes in seconds, `timestamp` since 1970."""

    origin: str
    type: str
    part: int
    generation: int
    sequence: int
    age_s: float
    lifetime_s: int
    withdrawn: bool
    transit: bool
    timestamp: int
    algorithm: str
    """What its signature was made by."""
    bytes: int
    external: str
    routing: str
    links: Mapping[str, tuple[int, int]]
    """By the neighbour: cost, and bits of key left."""
    saes: Mapping[str, bool]
    """By the SAE: whether the authority's statement of its home comes along."""


def render_lsas(lsas: Sequence[LsaView]) -> bytes:
    """Return a link state database as JSON."""
    return msgspec.json.encode(lsas)


def parse_lsas(body: bytes) -> tuple[LsaView, ...]:
    """Return the link state database. Raises `RemoteProtocolError`."""
    return parse_answer(body, tuple[LsaView, ...])


def render_routing(status: RoutingStatus) -> bytes:
    """Return the view as JSON."""
    return msgspec.json.encode(status)


def parse_routing(body: bytes) -> RoutingStatus:
    """Return the view. Raises `RemoteProtocolError`."""
    return parse_answer(body, RoutingStatus)
