"""The table that is kept up change by change is the one that all of the database would give."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.routing.database import Database, Instance
from qss.core.routing.paths import repaired_paths, shortest_paths
from qss.core.routing.table import homes_of
from qss.core.routing.upkeep import Upkeep
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Graph
from qss.simulation.topologies import scattered, tangle
from qss.wire import routing as wire

SITES = tuple(QksId(name) for name in "ABCDEFG")
HERE = SITES[0]
SAES = tuple(SaeId(f"sae:{name}") for name in "abc")
UNSIGNED = wire.Authentication("none", (), b"")
NO_HOME_AT = SITES[1]


def counts(_: SaeId, site: QksId, __: bytes | None) -> bool:
    return site != NO_HOME_AT


def graph_of(instances: Iterable[Instance]) -> Graph:
    """What Routing 9.1 says, word by word."""
    bodies = {each.header.key.origin: each.body for each in instances if each.header.key.type is wire.LsaType.LINKS}
    told = {(origin, link.peer): link for origin, body in bodies.items() for link in body.links}
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for (one, other), link in told.items():
        if back := told.get((other, one)):
            edge = Edge(max(link.cost, back.cost), min(link.available_bits, back.available_bits))
            edges.setdefault(QksId(one), {})[QksId(other)] = edge
    return Graph(edges, frozenset(QksId(origin) for origin, body in bodies.items() if body.links and body.transit))


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
        saes = [wire.SaeState(sae, None) for sae in sorted(draw(st.sets(st.sampled_from(SAES))))]
    transit = draw(st.sampled_from([True, True, True, False]))
    lifetime = draw(st.sampled_from([3, 1000]))
    source, routing = wire.Source(site, "host", 1), wire.Endpoint("host", 2)
    return wire.Body(1, kind, source, routing, 0, 0, 1, lifetime, False, transit, tuple(links), tuple(saes), 0)


@given(st.lists(st.tuples(bodies(), st.booleans()), min_size=8, max_size=40))
def test_whatever_comes_and_goes(said):
    database, upkeep = Database(), Upkeep(HERE, counts)
    for number, (body, looked_at) in enumerate(said, 1):
        for key in database.age(float(number)):
            upkeep.note(key)
        header = wire.Header(body.key, number, 1, bytes(8))
        database.install(Instance(header, b"", body, UNSIGNED, float(number), float(number)))
        upkeep.note(body.key)
        if looked_at:
            table = upkeep.table(database)
            graph = graph_of(database)
            assert table.graph == graph
            assert table.paths == shortest_paths(graph, HERE)
            assert table.homes == homes_of(database, counts)


def test_a_table_that_was_given_away_stays_as_it_was():
    database, upkeep = Database(), Upkeep(HERE, counts)

    def say(number: int, site: QksId, peer: QksId, cost: int) -> None:
        body = wire.Body(
            *(1, wire.LsaType.LINKS, wire.Source(site, "host", 1), wire.Endpoint("host", 2), 0, 0, number, 90),
            *(False, True, (wire.LinkState(peer, cost, 1),), (), 0),
        )
        database.install(Instance(wire.Header(body.key, number, 1, bytes(8)), b"", body, UNSIGNED, 0.0, 0.0))
        upkeep.note(body.key)

    say(1, SITES[0], SITES[1], 5)
    say(2, SITES[1], SITES[0], 5)
    first = upkeep.table(database)
    assert upkeep.table(database) is first
    say(3, SITES[1], SITES[0], 9)
    assert upkeep.table(database).paths[SITES[1]].cost == 9
    assert first.paths[SITES[1]].cost == first.graph.edges[SITES[0]][SITES[1]].cost == 5


def test_links_of_another_part_count_for_nothing():
    database, upkeep = Database(), Upkeep(HERE, counts)
    for site, peer, part in ((SITES[0], SITES[1], 0), (SITES[1], SITES[0], 1)):
        body = wire.Body(
            *(1, wire.LsaType.LINKS, wire.Source(site, "host", 1), wire.Endpoint("host", 2), part, 0, 1, 90),
            *(False, True, (wire.LinkState(peer, 5, 1),), (), 0),
        )
        database.install(Instance(wire.Header(body.key, 0, 1, bytes(8)), b"", body, UNSIGNED, 0.0, 0.0))
        upkeep.note(body.key)
    assert upkeep.table(database).graph == Graph({}, frozenset({SITES[0]}))


def test_homes_that_are_judged_anew():
    allowed = set(SITES)
    database, upkeep = Database(), Upkeep(HERE, lambda _, site, __: site in allowed)
    body = wire.Body(
        *(1, wire.LsaType.SAES, wire.Source(SITES[2], "host", 1), wire.Endpoint("host", 2), 0, 0, 1, 90),
        *(False, True, (), (wire.SaeState(SAES[0], None),), 0),
    )
    database.install(Instance(wire.Header(body.key, 0, 1, bytes(8)), b"", body, UNSIGNED, 0.0, 0.0))
    upkeep.note(body.key)
    assert upkeep.table(database).homes == {SAES[0]: SITES[2]}
    allowed.clear()
    assert upkeep.table(database).homes == {SAES[0]: SITES[2]}, "nobody has said that it is to be judged anew"
    upkeep.judge_anew()
    assert upkeep.table(database).homes == {}


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
