"""The configured routing table: ways to this site and its neighbours, and homes further away without one."""

from __future__ import annotations

from qss.adapters.tables.static import StaticTable
from qss.model.identifiers import QksId, SaeId
from qss.ports.routing_table import Route, RoutingTable

A, B, C = map(QksId, "ABC")
OWN, NEXT, FAR, UNKNOWN = (SaeId(f"sae:{name}") for name in ("own", "next", "far", "unknown"))


def test_there_are_ways_to_this_site_and_its_neighbours_and_every_home_is_known() -> None:
    table: RoutingTable = StaticTable(A, frozenset({B}), {OWN: A, NEXT: B, FAR: C})
    assert table.route(OWN) == Route(OWN, next_hop=A, dest=A, cost=0, length=0)
    assert table.route(NEXT) == Route(NEXT, next_hop=B, dest=B, cost=1, length=1)
    assert table.route(FAR) == Route(FAR, next_hop=None, dest=C, cost=0, length=0)
    assert table.route(UNKNOWN) is None
