"""Ways: link or relay, as demanded and as the network is, and the refusal where there is none."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from qss.core.keyserver import ways as module
from qss.core.keyserver.demands import NOTHING, Demand
from qss.core.keyserver.ways import Way, Ways
from qss.model.errors import BadRequest, Unavailable
from qss.model.identifiers import QksId
from qss.model.network import Edge, Graph
from qss.model.relay_policy import Hop, Hybrid, RelayPolicy

A, B, C, D, E = map(QksId, "ABCDE")
DIRECT = Demand(direct_only=True)
CONTRADICTION = "qss_direct_only: a link is one path, and its key is not hybrid"
HYBRID = Demand(hybrid=Hybrid.ML_KEM_768)


def network(*links: str) -> Graph:
    sites = {QksId(site) for link in links for site in link}
    edges = {
        site: {QksId(other): Edge(1, 0) for link in links if site in link for other in link if other != site}
        for site in sites
    }
    return Graph(edges, frozenset(sites))


SQUARE = network("AB", "AC", "BD", "CD", "DE")
"""D is two links away on either side, and E is behind it."""


def ways_of(graph: Graph = SQUARE, *, known: bool = True) -> Ways:
    return Ways(A, frozenset({B, C}), lambda: graph, lambda: known)


def unmet(ways: Ways, peer: QksId, demand: Demand) -> list[str]:
    with pytest.raises(BadRequest) as caught:
        ways.choose(peer, demand)
    assert caught.value.message == "not all extension_mandatory request options could be met"
    return [detail["extension_mandatory_unmet"] for detail in caught.value.details]


@pytest.mark.parametrize(
    ("peer", "demand", "way"),
    [
        (B, NOTHING, Way(B)),
        (B, DIRECT, Way(B)),
        (B, Demand(avoid=frozenset({B, C, D}), hop=Hop.ONE_TIME_PAD, max_hops=1), Way(B)),
        (B, HYBRID, Way(B, RelayPolicy(hybrid=Hybrid.ML_KEM_768))),
        (B, Demand(disjoint_paths=2), Way(B, RelayPolicy(disjoint_paths=2))),
        (D, NOTHING, Way(D, RelayPolicy())),
        (D, Demand(disjoint_paths=2, max_hops=2), Way(D, RelayPolicy(disjoint_paths=2, max_hops=2))),
        (D, Demand(avoid=frozenset({A, B, D})), Way(D, RelayPolicy(frozenset({B})))),
        (E, Demand(hop=Hop.AES_256_GCM, max_hops=3), Way(E, RelayPolicy(hop=Hop.AES_256_GCM, max_hops=3))),
    ],
)
def test_a_link_where_that_is_enough_and_else_a_policy(peer, demand, way) -> None:
    assert ways_of().choose(peer, demand) == way


@pytest.mark.parametrize(
    ("peer", "demand", "details"),
    [
        (D, DIRECT, ["qss_direct_only: this site has no link to site D"]),
        (B, Demand(direct_only=True, disjoint_paths=2), [CONTRADICTION]),
        (D, Demand(direct_only=True, hybrid=Hybrid.ML_KEM_768), [CONTRADICTION]),
        (D, Demand(max_hops=1), ["qss_max_hops: no such way leads to site D now"]),
        (D, Demand(disjoint_paths=3), ["qss_disjoint_paths: no such way leads to site D now"]),
        (E, Demand(avoid=frozenset({D}), hybrid=Hybrid.ML_KEM_768), ["qss_avoid: no such way leads to site E now"]),
        (
            B,
            Demand(disjoint_paths=2, max_hops=2),
            ["qss_disjoint_paths: no such way leads to site B now", "qss_max_hops: no such way leads to site B now"],
        ),
        (
            D,
            Demand(avoid=frozenset(QksId(f"S{number}") for number in range(17))),
            ["qss_avoid: with those of this site's rules, too many sites are to be avoided"],
        ),
    ],
)  # fmt: skip
def test_a_demand_that_cannot_be_met_is_named(peer, demand, details) -> None:
    assert unmet(ways_of(), peer, demand) == details


@pytest.mark.parametrize("demand", [NOTHING, HYBRID, Demand(disjoint_paths=2), Demand(max_hops=1)])
def test_a_site_that_cannot_be_reached_may_be_later(demand) -> None:
    with pytest.raises(Unavailable, match="no way to site E is known now; nothing was consumed"):
        ways_of(network("AB", "AC")).choose(E, demand)
    with pytest.raises(Unavailable, match="no way to site E is known now; nothing was consumed"):
        ways_of(Graph()).choose(E, demand)


def test_a_neighbour_is_asked_over_its_link_whatever_routing_knows() -> None:
    assert ways_of(Graph()).choose(B, NOTHING) == Way(B)
    with pytest.raises(Unavailable):
        ways_of(Graph()).choose(B, HYBRID)


def test_while_neighbours_are_not_heard_there_may_be_a_way_soon() -> None:
    ways = ways_of(known=False)
    with pytest.raises(Unavailable, match="not all neighbours are heard"):
        ways.choose(D, Demand(disjoint_paths=3))
    assert unmet(ways, D, DIRECT)
    assert ways.choose(D, NOTHING) == Way(D, RelayPolicy())


def test_of_wishes_each_is_met_that_can_be_with_those_before() -> None:
    ways = ways_of()
    wishes = [Demand(disjoint_paths=2), Demand(disjoint_paths=3), Demand(avoid=frozenset({B})), HYBRID, DIRECT]
    assert ways.choose(D, NOTHING, wishes) == Way(D, RelayPolicy(disjoint_paths=2, hybrid=Hybrid.ML_KEM_768))
    wishes = [Demand(avoid=frozenset({B})), Demand(disjoint_paths=2), Demand(max_hops=2)]
    assert ways.choose(D, NOTHING, wishes) == Way(D, RelayPolicy(frozenset({B}), max_hops=2))
    assert ways.choose(B, NOTHING, [DIRECT, HYBRID]) == Way(B)
    assert ways.choose(B, NOTHING, [Demand(disjoint_paths=3), Demand(max_hops=1)]) == Way(B)


def test_no_wish_weakens_what_is_demanded() -> None:
    demand = Demand(disjoint_paths=2, hop=Hop.ONE_TIME_PAD, max_hops=2)
    wishes = [Demand(hop=Hop.AES_256_GCM), Demand(max_hops=16), NOTHING]
    assert ways_of().choose(D, demand, wishes) == Way(D, RelayPolicy(disjoint_paths=2, max_hops=2))


def test_a_network_is_looked_through_once_for_each_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def choose_paths(
        graph: Graph, here: QksId, peer: QksId, policy: RelayPolicy, *, avoid_links: Collection[tuple[QksId, QksId]]
    ) -> bool:
        assert avoid_links == []
        looked.append((peer, policy))
        return True

    monkeypatch.setattr(module, "choose_paths", choose_paths)
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    graph = SQUARE
    ways = Ways(A, frozenset({B, C}), lambda: graph, lambda: True)
    for _ in range(3):
        ways.choose(D, NOTHING)
        ways.choose(E, NOTHING)
    assert looked == [(D, RelayPolicy()), (E, RelayPolicy())]
    ways.choose(D, HYBRID)  # forgets the others
    ways.choose(D, NOTHING)
    assert len(looked) == 4
    graph = network("AD")
    ways.choose(D, NOTHING)
    assert len(looked) == 5


@pytest.mark.parametrize(
    ("peer", "demand", "policy"),
    [
        (B, NOTHING, RelayPolicy()),
        (B, Demand(max_hops=3), RelayPolicy(max_hops=3)),
        (B, Demand(max_hops=2), None),
        (B, Demand(avoid=frozenset({C})), None),
        (B, Demand(direct_only=True), None),
    ],
)
def test_a_way_round_a_link_is_one_without_it(peer: QksId, demand: Demand, policy: RelayPolicy | None) -> None:
    ways = Ways(A, frozenset({B, C}), lambda: SQUARE, lambda: True)
    assert ways.choose(peer, demand) == Way(peer)
    assert ways.detour(peer, demand) == policy


def test_there_is_none_if_the_link_is_all_there_is() -> None:
    assert Ways(A, frozenset({B}), lambda: network("AB"), lambda: True).detour(B, NOTHING) is None
