"""The table of one site, kept up with its database change by change (Routing 9).

What is held here is what earlier changes have left: the links that both ends tell, and the table of last time. A change
of one link then costs what hangs on that link, and not the whole network anew; SAEs are gone through only if any came
or went. The table is the one that all of the database would give (a property of the tests). Refused: whatever is not in
the database; so a change that nobody has noted does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping

from qss.core.routing.database import Database
from qss.core.routing.paths import repaired_paths, shortest_paths
from qss.core.routing.table import HomeJudge, Table, homes_of
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Graph, Path
from qss.wire.routing import Body, Key, LinkState, LsaType

MOST_REPAIRED = 16
"""Links that change at once, above which all paths are sought anew."""


class Upkeep:
    """The table of `here`."""

    def __init__(self, here: QksId, counts: HomeJudge) -> None:
        """Begin with nothing. `counts` judges homes."""
        self._here = here
        self._counts = counts
        self._links = Links()
        self._noted: set[Key] = set()
        self._judged = False
        self._news = False
        self._table: Table | None = None

    def note(self, key: Key) -> None:
        """An LSA says something else than before, or has passed its lifetime."""
        self._noted.add(key)
        self._news = True

    def judge_anew(self) -> None:
        """Which homes count may have changed."""
        self._judged = False
        self._news = True

    def has_news(self) -> bool:
        """Whether the table may be another one than when this was asked last."""
        news, self._news = self._news, False
        return news

    def table(self, database: Database) -> Table:
        """Return the table. Costs nothing where nothing has been noted since the last one."""
        before = self._table
        if before is None:
            self._noted.update(instance.header.key for instance in database)
        elif self._judged and not self._noted:
            return before
        graph, paths = self._ways(database, before)
        homes = self._homes(database, before)
        self._noted.clear()
        self._table = Table(self._here, graph, paths, homes)
        return self._table

    def _homes(self, database: Database, before: Table | None) -> Mapping[SaeId, QksId]:
        if before is not None and self._judged and all(key.type is LsaType.LINKS for key in self._noted):
            return before.homes
        self._judged = True
        return homes_of(database, self._counts)

    def _ways(self, database: Database, before: Table | None) -> tuple[Graph, Mapping[QksId, Path]]:
        instances = {QksId(key.origin): database.get(key) for key in self._noted if _of_links(key)}
        bodies = {origin: None if each is None else each.body for origin, each in instances.items()}
        changed = self._links.tell(bodies)
        if before is not None and not changed and self._links.repeaters == before.graph.repeaters:
            return before.graph, before.paths
        graph = self._links.graph()
        if before is None or len(changed) > MOST_REPAIRED or _turned(before.graph, graph):
            return graph, shortest_paths(graph, self._here)
        dearer = [(one, other) for one, other in changed if _cost(before.graph, one, other) != _cost(graph, one, other)]
        return graph, repaired_paths(graph, self._here, before.paths, dearer)


class Links:
    """The links that both ends tell, at the higher cost and the lower key left (Routing 9.1), kept up LSA by LSA."""

    def __init__(self) -> None:
        self.repeaters: frozenset[QksId] = frozenset()
        self._told: dict[QksId, Mapping[str, LinkState]] = {}
        self._edges: dict[QksId, dict[QksId, Edge]] = {}

    def graph(self) -> Graph:
        """Return them as they are now; what is told later does not change it."""
        return Graph({site: edges for site, edges in self._edges.items() if edges}, self.repeaters)

    def tell(self, bodies: Mapping[QksId, Body | None]) -> set[tuple[QksId, QksId]]:
        """Take in what origins say of their links, None for nothing; return the links that are others now."""
        touched: set[tuple[QksId, QksId]] = set()
        for origin, body in bodies.items():
            links = {link.peer: link for link in body.links} if body is not None else {}
            before = self._told.pop(origin, {})
            if links:
                self._told[origin] = links
            for peer in before.keys() | links.keys():
                if before.get(peer) != links.get(peer):
                    touched.add((origin, QksId(peer)) if origin < peer else (QksId(peer), origin))
        repeaters = {origin for origin, body in bodies.items() if body is not None and body.links and body.transit}
        self.repeaters = self.repeaters - bodies.keys() | repeaters
        edges = {link: self._edge(*link) for link in touched}
        changed = {(one, other) for (one, other), edge in edges.items() if edge != self._edges.get(one, {}).get(other)}
        for site in {site for link in changed for site in link}:  # graphs that were given away keep the old mappings
            self._edges[site] = dict(self._edges.get(site, {}))
        for one, other in changed:
            self._set(one, other, edges[one, other])
            self._set(other, one, edges[one, other])
        return changed

    def _edge(self, one: QksId, other: QksId) -> Edge | None:
        there, back = self._told.get(one, {}).get(other), self._told.get(other, {}).get(one)
        if there is None or back is None:
            return None
        return Edge(max(there.cost, back.cost), min(there.available_bits, back.available_bits))

    def _set(self, one: QksId, other: QksId, edge: Edge | None) -> None:
        edges = self._edges[one]
        if edge is not None:
            edges[other] = edge
        else:
            del edges[other]


def _of_links(key: Key) -> bool:
    """Whether links are told in this LSA: they are never parted."""
    return key.type is LsaType.LINKS and key.part == 0


def _cost(graph: Graph, one: QksId, other: QksId) -> int | None:
    edge = graph.edges.get(one, {}).get(other)
    return None if edge is None else edge.cost


def _turned(before: Graph, after: Graph) -> bool:
    """Whether a site that had links and has links has become a repeater, or is none any more."""
    return any(site in before.edges and site in after.edges for site in before.repeaters ^ after.repeaters)
