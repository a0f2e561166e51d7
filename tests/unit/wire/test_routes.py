"""What a site knows of the network, as JSON and as metrics."""

from __future__ import annotations

import json

import pytest

from qss.model.errors import RemoteProtocolError
from qss.wire.routes import LinkView, RouteView, RoutingStatus, TagsView, parse_routing, render_routing

STATUS = RoutingStatus(
    version=3,
    changed=1.5,
    repeaters=("B",),
    site="A",
    neighbours={"B": "full"},
    lsas=4,
    settled=True,
    dropped={"B signature": 1},
    tags={"B": TagsView(setting="required", state="tagged", key_bits=32_768, untagged=0)},
    links=(LinkView(ends=("A", "B"), cost=256, available_bits=1024),),
    routes=(
        RouteView(SAE_ID="sae:bob", next_hop="B", dest="B", cost=256, length=1),
        RouteView(SAE_ID="sae:carol", next_hop=None, dest="C", cost=0, length=0),
    ),
)


def test_the_entries_are_those_of_table_1() -> None:
    shown = json.loads(render_routing(STATUS))
    assert list(shown["routes"][0]) == ["SAE_ID", "next_hop", "dest", "cost", "length"]
    assert shown["routes"][1]["next_hop"] is None
    assert parse_routing(render_routing(STATUS)) == STATUS


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", render_routing(STATUS)[:-1]])
def test_what_is_no_view_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_routing(body)
