"""The table that is kept up change by change is the one that all of the database would give."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.routing.database import Database, Instance
from qss.core.routing.hold import BURST, FIRST_HOLD_S, LONGEST_HOLD_S
from qss.core.routing.homes import Homes
from qss.core.routing.paths import repaired_paths, shortest_paths
from qss.core.routing.route_calculation import AT_ONCE, RouteCalculation
from qss.model.addresses import Address
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Graph
from qss.simulation.routing import has_stated, state_home
from qss.simulation.topologies import scattered, tangle
from qss.wire import routing as wire

SITES = tuple(QksId(name) for name in "ABCDEFG")
HERE = SITES[0]
SAES = tuple(SaeId(f"sae:{name}") for name in "abc")
UNSIGNED = wire.Authentication("none", (), b"")


def statements_of(sae: SaeId, site: QksId) -> list[bytes | None]:
    """Return a true statement, and others."""
    true = state_home(sae, site)
    forged = state_home(sae, site, 2_000_000_000)[:-16] + bytes(16)
    return [true, true, true, None, b"noise", forged, state_home(sae, SITES[-1]), state_home(sae, site, 1)]


def graph_of(instances: Iterable[Instance]) -> Graph:
    """What Routing 9.1 says, word by word."""
    bodies = {each.header.key.origin: each.body for each in instances if each.header.key.type == wire.LsaType.LINKS}
    told = {(origin, link.peer): link for origin, body in bodies.items() for link in body.links}
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for (one, other), link in told.items():
        if back := told.get((other, one)):
            edge = Edge(max(link.cost, back.cost), min(link.available_bits, back.available_bits))
            edges.setdefault(QksId(one), {})[QksId(other)] = edge
    return Graph(
        edges,
        frozenset(QksId(origin) for origin, body in bodies.items() if body.links and body.transit),
        {QksId(origin): Address(body.source.host, body.source.port) for origin, body in bodies.items() if body.links},
    )


def homes_of(instances: Iterable[Instance]) -> dict[SaeId, QksId]:
    """What Routing 3.4 says, word by word."""
    claims: dict[SaeId, set[QksId]] = {}
    for each in instances:
        for state in each.body.saes:
            sae, origin = SaeId(state.sae), QksId(each.header.key.origin)
            if origin == HERE or state.statement == state_home(sae, origin):
                claims.setdefault(sae, set()).add(origin)
    alone = {sae: HERE if HERE in origins else min(origins) for sae, origins in claims.items()}
    return {sae: home for sae, home in alone.items() if home == HERE or len(claims[sae]) == 1}


@st.composite
def bodies(draw: st.DrawFn) -> wire.Body:
    """Yield what a site may say, but for its sequence."""
    site = draw(st.sampled_from(SITES))
    kind = draw(st.sampled_from([wire.LsaType.LINKS, wire.LsaType.LINKS, wire.LsaType.SAES]))
    links: list[wire.LinkState] = []
    saes: list[wire.SaeState] = []
    if kind is wire.LsaType.LINKS:
        peers = draw(st.sets(st.sampled_from([other for other in SITES if other != site])))
        links = [wire.LinkState(peer, draw(st.integers(1, 3)), draw(st.integers(0, 1))) for peer in sorted(peers)]
    else:
        told = sorted(draw(st.sets(st.sampled_from(SAES))))
        saes = [wire.SaeState(sae, draw(st.sampled_from(statements_of(sae, site)))) for sae in told]
    transit = draw(st.sampled_from([True, True, True, False]))
    lifetime = draw(st.sampled_from([3, 1000]))
    source, routing = wire.Source(site, "host", 1), wire.Endpoint("host", 2)
    return wire.Body(1, kind, source, routing, 0, 0, 1, lifetime, False, transit, tuple(links), tuple(saes), 0)


class Site:
    """A database, and the table that is made of it."""

    def __init__(self):
        self.database, self.homes = Database(), Homes(HERE, has_stated)
        self.calculation = RouteCalculation(HERE, self.homes)
        self.number = 0

    def say(self, body):
        self.number += 1
        now = float(self.number)
        for key in self.database.age(now):
            self.note(key)
        header = wire.Header(body.key, self.number, 1, bytes(8))
        self.database.install(Instance(header, b"", body, UNSIGNED, now, now))
        self.note(body.key)

    def note(self, key):
        self.calculation.note(key)
        if key.type == wire.LsaType.SAES:
            instance = self.database.get(key)
            self.homes.tell(key, () if instance is None else instance.body.saes, self.number, self.number)

    @property
    def table(self):
        self.homes.look_at_all(self.number, self.number)
        return self.calculation.calculate(self.database)


def links_of(site, *links, part=0):
    told = tuple(wire.LinkState(peer, cost, 1) for peer, cost in links)
    return wire.Body(
        *(1, wire.LsaType.LINKS, wire.Source(site, "host", 1), wire.Endpoint("host", 2), part, 0, 1, 90),
        *(False, True, told, (), 0),
    )


@given(st.lists(st.tuples(bodies(), st.booleans()), min_size=8, max_size=40))
def test_whatever_comes_and_goes(said):
    site = Site()
    for body, looked_at in said:
        site.say(body)
        if looked_at:
            table, graph = site.table, graph_of(site.database)
            assert table.graph == graph
            assert table.paths == shortest_paths(graph, HERE)
            assert table.homes == homes_of(site.database)


def test_a_table_that_was_given_away_stays_as_it_was():
    site = Site()
    site.say(links_of(SITES[0], (SITES[1], 5)))
    site.say(links_of(SITES[1], (SITES[0], 5)))
    first = site.table
    assert site.table is first
    site.say(links_of(SITES[1], (SITES[0], 9)))
    assert site.table.paths[SITES[1]].cost == 9
    assert first.paths[SITES[1]].cost == first.graph.edges[SITES[0]][SITES[1]].cost == 5


def test_links_of_another_part_count_for_nothing():
    site = Site()
    site.say(links_of(SITES[0], (SITES[1], 5)))
    site.say(links_of(SITES[1], (SITES[0], 5), part=1))
    graph = site.table.graph
    assert (graph.edges, graph.repeaters) == ({}, {SITES[0]})


# --- when -----------------------------------------------------------------------------------------------------------


def calculated_from(site, now, changes, every_s=0.01):
    """Have a link change again and again, and the table calculated when it is time; return when that was."""
    at = []
    for number in range(changes):
        site.say(links_of(SITES[1], (SITES[0], 1 + number % 2)))
        if site.calculation.take_news(now + number * every_s):
            assert not site.calculation.take_news(now + number * every_s), "it is said once"
            assert site.table is site.table
            at.append(now + number * every_s)
    return at


def test_the_first_changes_make_a_table_at_once_and_many_one_a_second():
    """Whoever changes something all the time does not keep the site busy with more than that."""
    site = Site()
    at = calculated_from(site, 10.0, 2000)
    assert at[:AT_ONCE] == pytest.approx([10.0, 10.01, 10.02, 10.03])
    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert pauses[AT_ONCE : BURST - 1] == pytest.approx([FIRST_HOLD_S] * (BURST - 1 - AT_ONCE), abs=0.011)
    assert len(at) <= BURST + 20 / LONGEST_HOLD_S + 1
    assert site.table.paths == shortest_paths(graph_of(site.database), HERE)


def test_what_changes_nothing_makes_no_table():
    site = Site()
    assert not site.calculation.take_news(1.0)
    site.say(links_of(SITES[1], (SITES[0], 1), part=1))
    assert not site.calculation.take_news(2.0)


@pytest.mark.parametrize("roads", [tangle(60, 3), scattered(60, 3)], ids=["tangle", "scattered"])
def test_paths_of_a_large_network_are_repaired_link_by_link(roads):
    dice = random.Random(3)
    edges: dict[QksId, dict[QksId, Edge]] = {}
    source = roads[0][0]
    for one, other in roads:
        edges.setdefault(one, {})[other] = edges.setdefault(other, {})[one] = Edge(dice.randint(1, 4), 1)
    graph = Graph(edges, frozenset(edges) - {roads[7][0]})
    paths = shortest_paths(graph, source)
    for _ in range(300):
        one, other = dice.choice(roads)
        for a, b in ((one, other), (other, one)):
            edges[a].pop(b, None)
        if dice.random() < 0.7:
            edges[one][other] = edges[other][one] = Edge(dice.randint(1, 4), 1)
        paths = repaired_paths(graph, source, paths, [(one, other)])
        assert paths == shortest_paths(graph, source)
