"""The table of one site, kept up with its database change by change (Routing 9).

What is held here is what earlier changes have left: the links that both ends tell, and the table of last time. A change
of one link then costs what hangs on that link, and not the whole network anew. The table is the one that all of the
database would give (a property of the tests). When it is calculated is decided here, too: changes that go on are
gathered, so that nobody keeps all sites busy by changing something all the time. Refused: whatever is not in the
database; so a change that nobody has noted does not exist. Not here: homes (`homes`), and paths (`paths`).
"""

from __future__ import annotations

from collections.abc import Mapping

from qss.core.routing.database import Database
from qss.core.routing.hold import Hold
from qss.core.routing.homes import Homes
from qss.core.routing.paths import repaired_paths, shortest_paths
from qss.core.routing.table import Table
from qss.model.addresses import Address
from qss.model.identifiers import QksId
from qss.model.network import Edge, Graph, Path
from qss.wire.routing import Body, Key, LinkState, LsaType, Preamble

AT_ONCE = 4
"""Changes after a quiet time that make a table at once: what happens to a link is told by both of its ends."""

MOST_REPAIRED = 16
"""Links that change at once, above which all paths are sought anew."""


class RouteCalculation:
    """The table of `here`."""

    def __init__(self, here: QksId, homes: Homes) -> None:
        """Begin with nothing. What becomes of `homes` is told when it is looked."""
        self.table = Table(here, paths={here: Path(0, 0, (here,))})
        """What was calculated last."""
        self._homes = homes
        self._homes_version = homes.version
        self._links = Links()
        self._noted: set[Key] = set()
        self._announced = False
        self._hold = Hold(AT_ONCE)

    def note(self, key: Key) -> None:
        """An LSA of links says something else than before, or has passed its lifetime."""
        if _of_links(key):
            self._noted.add(key)

    @property
    def is_current(self) -> bool:
        """Whether nothing has changed since the last time."""
        return not self._noted and self.has_all_homes

    @property
    def has_all_homes(self) -> bool:
        """Whether no home has changed since the last time."""
        return self._homes.version == self._homes_version

    def take_news(self, now: float) -> bool:
        """Whether it is time to calculate the table anew; said once, until it is calculated (Routing 9.6)."""
        if self.is_current or self._announced or not self._hold.may_act(now):
            return False
        self._hold.acted(now)
        self._announced = True
        return True

    def calculate(self, database: Database) -> Table:
        """Bring the table up to date. Costs nothing where nothing has changed since the last time."""
        self._announced = False
        if not self.is_current:
            graph, paths = self._ways(database, self.table)
            self._noted.clear()
            self._homes_version = self._homes.version
            self.table = Table(self.table.here, graph, paths, self._homes.homes())
        return self.table

    def _ways(self, database: Database, before: Table) -> tuple[Graph, Mapping[QksId, Path]]:
        """Routing 9.1 to 9.3."""
        instances = {QksId(key.origin): database.get(key) for key in self._noted}
        bodies = {origin: None if each is None else each.body for origin, each in instances.items()}
        changed = self._links.tell(bodies)
        graph = self._links.graph()
        if not changed and graph.repeaters == before.graph.repeaters:
            return graph, before.paths
        if len(changed) > MOST_REPAIRED or _turned(before.graph, graph):
            return graph, shortest_paths(graph, before.here)
        dearer = [(one, other) for one, other in changed if _cost(before.graph, one, other) != _cost(graph, one, other)]
        return graph, repaired_paths(graph, before.here, before.paths, dearer)


class Links:
    """The links that both ends tell, at the higher cost and the lower key left (Routing 9.1), kept up LSA by LSA."""

    def __init__(self) -> None:
        self.repeaters: frozenset[QksId] = frozenset()
        self._externals: dict[QksId, Address] = {}
        self._told: dict[QksId, Mapping[str, LinkState]] = {}
        self._edges: dict[QksId, dict[QksId, Edge]] = {}

    def graph(self) -> Graph:
        """Return them as they are now; what is told later does not change it."""
        edges = {site: edges for site, edges in self._edges.items() if edges}
        return Graph(edges, self.repeaters, dict(self._externals))

    def tell(self, bodies: Mapping[QksId, Preamble | None]) -> set[tuple[QksId, QksId]]:
        """Take in what origins say of their links, None for nothing; return the links that are others now."""
        touched: set[tuple[QksId, QksId]] = set()
        for origin, body in bodies.items():
            links = {link.peer: link for link in body.links} if isinstance(body, Body) else {}
            before = self._told.pop(origin, {})
            self._externals.pop(origin, None)
            if links and body is not None:
                self._told[origin] = links
                if (external := Address.found(body.source.host, body.source.port)) is not None:
                    self._externals[origin] = external
            for peer in before.keys() | links.keys():
                if before.get(peer) != links.get(peer):
                    touched.add((origin, QksId(peer)) if origin < peer else (QksId(peer), origin))
        repeaters = {
            origin for origin, body in bodies.items() if isinstance(body, Body) and body.links and body.transit
        }
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
    return key.type == LsaType.LINKS and key.part == 0


def _cost(graph: Graph, one: QksId, other: QksId) -> int | None:
    edge = graph.edges.get(one, {}).get(other)
    return None if edge is None else edge.cost


def _turned(before: Graph, after: Graph) -> bool:
    """Whether a site that had links and has links has become a repeater, or is none any more."""
    return any(site in before.edges and site in after.edges for site in before.repeaters ^ after.repeaters)
