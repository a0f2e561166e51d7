"""Paths for relayed key, against a look at all there are: best, short enough, apart, clear of what is avoided."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver import relay_paths
from qss.core.keyserver.relay_paths import choose_paths
from qss.core.routing import shortest_paths
from qss.model.identifiers import QksId
from qss.model.network import Edge, Graph, Path
from qss.model.relay_policy import RelayPolicy

SITES = tuple(QksId(name) for name in "ABCDEFG")
A, B = SITES[:2]
LINKS = list(itertools.combinations(SITES, 2))


def graph_of(*links: tuple[str, str, int], bits: int = 1) -> Graph:
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for one, other, cost in links:
        edges.setdefault(QksId(one), {})[QksId(other)] = Edge(cost, bits)
        edges.setdefault(QksId(other), {})[QksId(one)] = Edge(cost, bits)
    return Graph(edges, frozenset(edges))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for one, other in draw(st.lists(st.sampled_from(LINKS), unique=True, max_size=len(LINKS))):
        edge = Edge(draw(st.integers(1, 4)), draw(st.integers(0, 2)))
        edges.setdefault(one, {})[other] = edge
        edges.setdefault(other, {})[one] = edge
    return Graph(edges, frozenset(edges) - draw(st.sets(st.sampled_from(SITES), max_size=2)))


AVOIDED = st.frozensets(st.sampled_from(SITES), max_size=2)
POLICIES = st.builds(
    RelayPolicy, avoid=AVOIDED, disjoint_paths=st.integers(1, 3), max_hops=st.integers(1, 4) | st.just(16)
)


def every_path(graph: Graph, avoided: frozenset[QksId], bits: int, links: set[frozenset[QksId]]) -> Iterator[Path]:
    """Yield each way from A to B that a rule by itself lets be."""
    between = [site for site in SITES[2:] if site in graph.repeaters and site not in avoided]
    for length in range(len(between) + 1):
        for middle in itertools.permutations(between, length):
            sites = (A, *middle, B)
            hops = list(itertools.pairwise(sites))
            edges = [graph.edges.get(one, {}).get(other) for one, other in hops]
            if all(edge is not None and edge.available_bits >= bits for edge in edges) and not (
                links & set(map(frozenset, hops))
            ):
                yield Path(sum(edge.cost for edge in edges if edge is not None), len(hops), sites)


def are_apart(paths: tuple[Path, ...]) -> bool:
    between = [site for path in paths for site in path.sites[1:-1]]
    return len(set(between)) == len(between) and len({path.sites for path in paths}) == len(paths)


@given(graphs(), POLICIES, st.integers(0, 2), AVOIDED, st.lists(st.sampled_from(LINKS), max_size=2))
def test_paths_are_found_where_there_are_any_and_fit(graph, policy, bits, sites, links):
    found = choose_paths(graph, A, B, policy, bits, sites, [link[::-1] for link in links])
    every = list(every_path(graph, policy.avoid | sites, bits, set(map(frozenset, links))))
    fitting = [path for path in every if path.length <= policy.max_hops]
    sets = list(filter(are_apart, itertools.combinations(sorted(fitting), policy.disjoint_paths)))
    if not sets:
        assert found == ()
        return
    assert found in sets
    if policy.disjoint_paths == 1:
        assert found == (min(fitting),)
    elif policy.max_hops == 16:
        assert sum(path.cost for path in found) == min(sum(path.cost for path in each) for each in sets)


@given(graphs(), st.randoms(use_true_random=False))
def test_the_best_path_is_the_one_of_the_routing_table(graph, chance: random.Random):
    best = shortest_paths(graph, A).get(B)
    assert choose_paths(graph, A, B, RelayPolicy()) == (() if best is None else (best,))
    for policy in (RelayPolicy(), RelayPolicy(max_hops=2), RelayPolicy(disjoint_paths=2, max_hops=3)):
        assert choose_paths(shuffled(graph, chance), A, B, policy) == choose_paths(graph, A, B, policy)


def shuffled(graph: Graph, chance: random.Random) -> Graph:
    """The same network, learnt in another order."""

    def mixed[K, V](items: dict[K, V]) -> dict[K, V]:
        return dict(chance.sample(list(items.items()), len(items)))

    return Graph(mixed({site: mixed(dict(edges)) for site, edges in graph.edges.items()}), graph.repeaters)


def test_a_shorter_path_may_cost_more():
    graph = graph_of(("A", "C", 1), ("C", "D", 1), ("D", "B", 1), ("A", "D", 5), ("A", "B", 9))
    for most, sites in ((3, "ACDB"), (2, "ADB"), (1, "AB")):
        assert [path.sites for path in choose_paths(graph, A, B, RelayPolicy(max_hops=most))] == [tuple(sites)]


def test_the_direct_link_is_a_path_and_one_of_several():
    graph = graph_of(("A", "B", 5), ("A", "C", 1), ("C", "B", 1))
    assert [path.sites for path in choose_paths(graph, A, B, RelayPolicy(disjoint_paths=2))] == [
        ("A", "C", "B"),
        (A, B),
    ]
    assert choose_paths(graph, A, B, RelayPolicy(disjoint_paths=3)) == ()
    assert choose_paths(graph, A, A, RelayPolicy()) == ()


def test_a_set_is_found_that_neither_costs_least_nor_has_the_fewest_links():
    """A, C, I, B and the five links that this leaves for a second path are what both would take."""
    links = ["AC", "AD", "BE", "BI", "CF", "CI", "DG", "EF", "EH", "FG", "FH", "GI", "HI"]
    graph = graph_of(*((one, other, 1) for one, other in links))
    assert [path.length for path in choose_paths(graph, A, B, RelayPolicy(disjoint_paths=2))] == [3, 5]
    assert [path.sites for path in choose_paths(graph, A, B, RelayPolicy(disjoint_paths=2, max_hops=4))] == [
        tuple("ACFEB"),
        tuple("ADGIB"),
    ]
    assert choose_paths(graph, A, B, RelayPolicy(disjoint_paths=2, max_hops=3)) == ()


def test_a_search_that_would_take_for_ever_ends():
    """Four columns of eight sites, each linked with all of the next."""
    columns = [[f"{column}{number}" for number in range(8)] for column in "cdef"]
    links = [(one, other, 1) for near, far in itertools.pairwise(columns) for one in near for other in far]
    links += [("A", site, 1) for site in columns[0]] + [(site, "B", 1) for site in columns[-1]]
    graph = graph_of(*links)
    search = relay_paths._Search(graph, A, B, 16)
    assert search.first(9) == ()
    assert search._steps == 0
    assert len(choose_paths(graph, A, B, RelayPolicy(disjoint_paths=8, max_hops=5))) == 8
