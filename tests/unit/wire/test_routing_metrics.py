"""What a routing module counts, as metrics."""

from __future__ import annotations

from qss.wire.metrics import render_metrics
from qss.wire.routing_metrics import RoutingCounts, routing_samples


def test_metrics() -> None:
    counts = RoutingCounts(
        full={"B": True, "C": False},
        happened={("B", "resync"): 0, ("B", "outdone"): 3},
        dropped={("B", "signature"): 1},
        lsas={"S": 4, "K": 5},
        originated={"K": 7},
        costs={"B": 256},
        changed=12.5,
        saes={"reachable": 3, "unreachable": 1, "contested": 2},
        untold=6,
        updates={("B", "sent", True): 9, ("B", "received", False): 2},
        tag_bits={"B": 32_768},
    )
    text = render_metrics(routing_samples(counts)).decode()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        'qss_routing_adjacency{peer="B"} 1',
        'qss_routing_adjacency{peer="C"} 0',
        'qss_routing_events_total{peer="B",event="outdone"} 3',
        'qss_routing_events_total{peer="B",event="resync"} 0',
        'qss_routing_dropped_lsas_total{peer="B",reason="signature"} 1',
        'qss_routing_lsas{type="K"} 5',
        'qss_routing_lsas{type="S"} 4',
        'qss_routing_originated_lsas_total{type="K"} 7',
        'qss_routing_link_cost{peer="B"} 256',
        "qss_routing_table_changed_timestamp_seconds 12.5",
        'qss_routing_saes{state="reachable"} 3',
        'qss_routing_saes{state="unreachable"} 1',
        'qss_routing_saes{state="contested"} 2',
        "qss_routing_untold_saes 6",
        'qss_routing_updates_total{peer="B",direction="received",tagged="no"} 2',
        'qss_routing_updates_total{peer="B",direction="sent",tagged="yes"} 9',
        'qss_routing_tag_bits_total{peer="B"} 32768',
    ]
