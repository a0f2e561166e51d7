"""What is told of relaying, as metrics."""

from __future__ import annotations

from qss.wire.metrics import render_metrics
from qss.wire.relay_status import (
    ELSEWHERE,
    FailedAt,
    FarRelay,
    FarStreamStatus,
    NeighbourRelay,
    RelayStatus,
    WarmStream,
    relay_samples,
)


def stream(waiting: int) -> FarStreamStatus:
    return FarStreamStatus(pair="p", policy="{}", source=True, waiting=waiting, trouble="")


def test_metrics() -> None:
    status = RelayStatus(
        neighbours=(
            NeighbourRelay(peer="B", up=True, security="TLSv1.3", passed_on=4, dropped={"unknown": 2, "limit": 0}),
            NeighbourRelay(peer="D", up=False, security=None, passed_on=0, dropped={"unknown": 0}),
        ),
        far=(
            FarRelay(
                peer="C",
                transfers={"arrived": 9, "shortage": 1},
                requests={"ready": 5, "in-vain": 3},
                streams=(stream(2), stream(3)),
                avoided_sites=("B",),
                avoided_links=(("A", "B"), ("A", "D")),
            ),
        ),
        warm=(WarmStream(peer="C", policy='{"max_hops":2}', bits=100, short_bits=40),),
        failures=(FailedAt(site=ELSEWHERE, reason="late", transfers=7),),
        failed_here={"shortage": 6},
    )
    text = render_metrics(relay_samples(status)).decode()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        'qss_relay_up{peer="B"} 1',
        'qss_relay_up{peer="D"} 0',
        'qss_relay_passed_on_total{peer="B"} 4',
        'qss_relay_passed_on_total{peer="D"} 0',
        'qss_relay_dropped_total{peer="B",reason="unknown"} 2',
        'qss_relay_dropped_total{peer="B",reason="limit"} 0',
        'qss_relay_dropped_total{peer="D",reason="unknown"} 0',
        'qss_relay_failed_here_total{reason="shortage"} 6',
        'qss_relay_transfers_total{peer="C",outcome="arrived"} 9',
        'qss_relay_transfers_total{peer="C",outcome="shortage"} 1',
        'qss_relay_requests_total{peer="C",outcome="ready"} 5',
        'qss_relay_requests_total{peer="C",outcome="in-vain"} 3',
        'qss_relay_waiting_requests{peer="C"} 5',
        'qss_relay_passed_by{peer="C",what="sites"} 1',
        'qss_relay_passed_by{peer="C",what="links"} 2',
        'qss_relay_failures_total{site="*",reason="late"} 7',
        'qss_relay_warm_bits{peer="C",policy="{\\"max_hops\\":2}"} 100',
        'qss_relay_warm_short_bits{peer="C",policy="{\\"max_hops\\":2}"} 40',
    ]
