"""What a link state database says of ways and homes, of which the published Table 1 is made (Routing 9). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from qss.core.routing.database import Instance
from qss.core.routing.paths import shortest_paths
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Graph, Path

HomeJudge = Callable[[SaeId, QksId, bytes | None], bool]
"""Whether an SAE's home counts as told: by the authority's statement (Routing 3.4)."""


@dataclass(frozen=True, slots=True)
class Table:
    """Where every SAE is at home, and the best way there, as one site sees it."""

    here: QksId
    graph: Graph = field(default_factory=Graph)
    paths: Mapping[QksId, Path] = field(default_factory=dict)
    homes: Mapping[SaeId, QksId] = field(default_factory=dict)


def graph_of(instances: Iterable[Instance]) -> Graph:
    """Return the links that both ends tell, at the higher cost and the lower key left (Routing 9.1)."""
    told: dict[QksId, dict[QksId, Edge]] = {}
    repeaters: set[QksId] = set()
    for instance in instances:
        body = instance.body
        origin = QksId(body.source.qks)
        if body.links:
            told[origin] = {QksId(link.peer): Edge(link.cost, link.available_bits) for link in body.links}
            if body.transit:
                repeaters.add(origin)
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for site, links in told.items():
        for peer, edge in links.items():
            back = told.get(peer, {}).get(site)
            if back is not None:
                both = Edge(max(edge.cost, back.cost), min(edge.available_bits, back.available_bits))
                edges.setdefault(site, {})[peer] = both
    return Graph(edges, frozenset(repeaters))


def homes_of(instances: Iterable[Instance], counts: HomeJudge) -> dict[SaeId, QksId]:
    """Return the home of each SAE that has one and only one that counts (Routing 3.4)."""
    homes: dict[SaeId, QksId] = {}
    several: set[SaeId] = set()
    for instance in instances:
        origin = QksId(instance.body.source.qks)
        for state in instance.body.saes:
            sae = SaeId(state.sae)
            if counts(sae, origin, state.statement) and homes.setdefault(sae, origin) != origin:
                several.add(sae)
    for sae in several:
        del homes[sae]
    return homes


def table_of(here: QksId, instances: Iterable[Instance], counts: HomeJudge) -> Table:
    """Return the routing table of `here`."""
    known = list(instances)
    graph = graph_of(known)
    return Table(here, graph, shortest_paths(graph, here), homes_of(known, counts))
