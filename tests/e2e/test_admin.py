"""Admin of a real node: probes for anyone, status and metrics for the site's own certificate."""

from __future__ import annotations

import json
import re

import pytest

from support.network import ALICE, SITES, A, B, RunningNetwork


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_need_no_certificate_and_carry_no_data(network: RunningNetwork, path: str) -> None:
    assert network.admin(A, path) == (200, b"ok\n")


@pytest.mark.parametrize("path", ["/status", "/metrics", "/routing"])
def test_data_is_for_the_site_itself(network: RunningNetwork, path: str) -> None:
    pki = network.network.pki
    refusals = {None: 401, pki.sae(ALICE): 403, pki.site(B): 403}
    for pair, expected in refusals.items():
        status, body = network.admin(A, path, pair)
        assert status == expected
        assert list(json.loads(body)) == ["message"]
    assert network.admin(A, path, pki.site(A))[0] == 200


def test_metrics_balance_and_say_what_the_status_says(network: RunningNetwork) -> None:
    network.settled()
    for site in SITES:
        text = network.admin(site, "/metrics", network.network.pki.site(site))[1].decode()
        states: dict[tuple[str, str], dict[str, int]] = {}
        for peer, stream, state, value in re.findall(
            r'^qss_stream_bits\{peer="(.)",stream="([^"]+)",policy="[^}]*",state="(\w+)"\} (\d+)$', text, re.MULTILINE
        ):
            states.setdefault((peer, stream), {})[state] = int(value)
        assert states
        for bits in states.values():
            ingested = bits.pop("ingested")
            assert sum(bits.values()) == ingested
        told = {
            (link["peer"], stream["stream"]): stream["delivered"]
            for link in network.status(site)["links"]
            for stream in link["streams"]
        }
        assert {key: bits["delivered"] for key, bits in states.items()} == told


def test_links_say_how_they_are_protected(network: RunningNetwork) -> None:
    for link in network.status(B)["links"]:
        assert link["up"]
        assert link["security"].startswith("TLSv1.3")
