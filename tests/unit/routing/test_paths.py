"""Best, equal and disjoint paths, against a search of all there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.routing.disjoint import disjoint_paths
from qss.core.routing.paths import equal_paths, shortest_paths
from qss.model.identifiers import QksId
from qss.model.network import Edge, Graph, Path

SITES = tuple(QksId(name) for name in "ABCDEF")


def graph_of(*links: tuple[str, str, int], no_transit: str = "", bits: int = 1) -> Graph:
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for one, other, cost in links:
        edges.setdefault(QksId(one), {})[QksId(other)] = Edge(cost, bits)
        edges.setdefault(QksId(other), {})[QksId(one)] = Edge(cost, bits)
    return Graph(edges, frozenset(edges) - {QksId(site) for site in no_transit})


def every_path(graph: Graph, source: QksId, destination: QksId) -> Iterator[Path]:
    """Yield each way without a site twice."""
    waiting = [Path(0, 0, (source,))]
    while waiting:
        path = waiting.pop()
        site = path.sites[-1]
        if site == destination:
            yield path
            continue
        if site != source and site not in graph.repeaters:
            continue
        waiting += [
            Path(path.cost + edge.cost, path.length + 1, (*path.sites, neighbour))
            for neighbour, edge in graph.edges.get(site, {}).items()
            if neighbour not in path.sites
        ]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    pairs = list(itertools.combinations(SITES, 2))
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=len(pairs)))
    links = [(one, other, draw(st.integers(1, 4))) for one, other in chosen]
    graph = graph_of(*links)
    barred = draw(st.sets(st.sampled_from(SITES), max_size=2))
    return Graph(graph.edges, graph.repeaters - barred)


@given(graphs())
def test_the_best_path_to_each_site_is_the_first_of_all(graph):
    best = shortest_paths(graph, SITES[0])
    for site in SITES:
        ways = sorted(every_path(graph, SITES[0], site))
        assert best.get(site) == (ways[0] if ways else None)


@given(graphs())
def test_equal_paths_are_all_of_the_least_cost_and_length(graph):
    ways = sorted(every_path(graph, SITES[0], SITES[1]))
    equal = [way for way in ways if (way.cost, way.length) == (ways[0].cost, ways[0].length)]
    assert equal_paths(graph, SITES[0], SITES[1]) == equal[:16]


def are_apart(paths: tuple[Path, ...]) -> bool:
    between = [site for path in paths for site in path.sites[1:-1]]
    return len(set(between)) == len(between) and len({path.sites for path in paths}) == len(paths)


@given(graphs(), st.integers(1, 3))
def test_disjoint_paths_are_as_many_as_can_be_and_cost_the_least(graph, number):
    ways = list(every_path(graph, SITES[0], SITES[1]))
    found = disjoint_paths(graph, SITES[0], SITES[1], number)
    assert are_apart(tuple(found))
    assert all(path in ways for path in found)
    most = max((n for n in range(1, number + 1) if any(map(are_apart, itertools.combinations(ways, n)))), default=0)
    assert len(found) == most
    if most:
        cheapest = min(
            sum(path.cost for path in some) for some in itertools.combinations(ways, most) if are_apart(some)
        )
        assert sum(path.cost for path in found) == cheapest


def test_the_trap_in_which_the_shortest_path_must_be_given_up():
    """The best path goes through C and D; two disjoint ones need each of them for itself."""
    graph = graph_of(("A", "C", 1), ("C", "D", 1), ("D", "B", 1), ("A", "D", 3), ("C", "B", 3))
    assert disjoint_paths(graph, QksId("A"), QksId("B"), 2) == [
        Path(4, 2, (QksId("A"), QksId("C"), QksId("B"))),
        Path(4, 2, (QksId("A"), QksId("D"), QksId("B"))),
    ]


def test_ties_go_to_fewer_links_and_then_to_the_lower_site():
    graph = graph_of(("A", "C", 1), ("C", "B", 1), ("A", "D", 1), ("D", "B", 1), ("A", "B", 2))
    assert shortest_paths(graph, QksId("A"))[QksId("B")].sites == ("A", "B")
    assert equal_paths(graph_of(("A", "D", 1), ("D", "B", 1), ("A", "C", 1), ("C", "B", 1)), QksId("A"), QksId("B"))[
        0
    ].sites == ("A", "C", "B")


def test_no_path_leads_through_a_site_without_transit():
    graph = graph_of(("A", "C", 1), ("C", "B", 1), ("A", "D", 5), ("D", "B", 5), no_transit="C")
    assert shortest_paths(graph, QksId("A"))[QksId("B")].sites == ("A", "D", "B")
    assert shortest_paths(graph, QksId("A"))[QksId("C")].sites == ("A", "C")
    assert shortest_paths(graph, QksId("C"))[QksId("B")].sites == ("C", "B")


def test_links_without_enough_key_can_be_left_out():
    graph = graph_of(("A", "B", 1), bits=256)
    assert QksId("B") in shortest_paths(graph.with_key(256), QksId("A"))
    assert QksId("B") not in shortest_paths(graph.with_key(257), QksId("A"))


def test_sites_can_be_avoided():
    graph = graph_of(("A", "C", 1), ("C", "B", 1), ("A", "D", 5), ("D", "B", 5))
    assert shortest_paths(graph.without([QksId("C")]), QksId("A"))[QksId("B")].sites == ("A", "D", "B")


@pytest.mark.parametrize(("path", "hop"), [(Path(0, 0, (SITES[0],)), "A"), (Path(3, 2, SITES[:3]), "B")])
def test_the_next_hop(path, hop):
    assert path.next_hop == hop
