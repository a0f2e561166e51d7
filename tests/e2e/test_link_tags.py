"""Routing under tags from link key, among real nodes in a row: A, B and C."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from qss.model.identifiers import QksId
from support.network import ALICE, CAROL, SITES, A, B, C, RunningNetwork, qss, repeated_bytes, running_network

RANGE_BITS = 16_384
NEIGHBOURS = {A: (B,), B: (A, C), C: (B,)}


def requiring(_: QksId, toml: str) -> str:
    return f'{toml}\n[routing]\nlink_tags = "required"\n'


def seen(network: RunningNetwork, site: QksId) -> Any:
    status, body = network.admin(site, "/routing", network.network.pki.site(site))
    assert status == 200
    return json.loads(body)


def ways(network: RunningNetwork, site: QksId) -> dict[str, str | None]:
    return {route["SAE_ID"]: route["next_hop"] for route in seen(network, site)["routes"]}


def relayed(network: RunningNetwork, site: QksId, peer: QksId) -> int:
    return sum(stream["relayed"] for stream in network.streams(site, peer))


def metrics(network: RunningNetwork, site: QksId, name: str) -> dict[str, int]:
    text = network.admin(site, "/metrics", network.network.pki.site(site))[1].decode()
    return {labels: int(value) for labels, value in re.findall(rf"^{name}{{(.*)}} (\d+)$", text, re.MULTILINE)}


def is_whole(network: RunningNetwork) -> bool:
    return ways(network, A).get("sae:carol") == B and ways(network, C).get("sae:alice") == B


def test_what_routing_tells_is_tagged_and_what_that_costs_is_told_apart(tmp_path: Path) -> None:
    with running_network(tmp_path, SITES, requiring) as network:
        network.until(lambda: is_whole(network), "all ways")
        for site, peers in NEIGHBOURS.items():
            tags = seen(network, site)["tags"]
            assert sorted(tags) == list(peers)
            for peer in peers:
                assert tags[peer] == {
                    "setting": "required",
                    "state": "tagged",
                    "key_bits": 2 * RANGE_BITS,
                    "untagged": 0,
                }
                assert relayed(network, site, peer) == 2 * RANGE_BITS, "nothing else was relayed yet"
            assert metrics(network, site, "qss_routing_tag_bits_total") == {
                f'peer="{peer}"': 2 * RANGE_BITS for peer in peers
            }
            updates = metrics(network, site, "qss_routing_updates_total")
            assert updates
            assert all('tagged="yes"' in labels for labels in updates)

        own = network.network.pki.site(B)
        asking = ("--url", f"https://localhost:{network.network.ports[B].admin}", "--cert", own.certificate,
                  "--key", own.key, "--ca", network.network.pki.authority.certificate)  # fmt: skip
        shown = qss("route", "show", *asking)
        assert shown.returncode == 0, shown.stderr
        for peer in (A, C):
            assert (
                f"routing with {peer} is tagged with key of the link (link_tags required): "
                f"{2 * RANGE_BITS} bits were drawn for tags, 0 updates had none"
            ) in shown.stdout.splitlines()

        got = network.get(ALICE, CAROL, 20)
        assert network.take(CAROL, ALICE, got).keys == got
        assert relayed(network, A, B) > 2 * RANGE_BITS

        network.kill(B)
        network.until(lambda: ways(network, A).get("sae:carol") is None, "no way while B is away")
        network.start(B)
        network.until_ready(B)
        network.until(lambda: is_whole(network), "all ways again")
        assert seen(network, B)["tags"][A]["key_bits"] == 2 * RANGE_BITS
        assert seen(network, A)["tags"][B]["key_bits"] == 4 * RANGE_BITS
        more = network.get(ALICE, CAROL, 20)
        assert network.take(CAROL, ALICE, more).keys == more
        assert repeated_bytes(network.keys) == []
        for site, peer in ((A, B), (B, C)):
            network.until(lambda s=site, p=peer: relayed(network, s, p) == relayed(network, p, s), "the ends agree")


def test_a_neighbour_that_does_not_tag_is_not_spoken_with_and_is_named(tmp_path: Path) -> None:
    def edit(site: QksId, toml: str) -> str:
        return toml if site == C else requiring(site, toml)

    with running_network(tmp_path, SITES, edit) as network:
        network.until(lambda: ways(network, A).get("sae:bob") == B, "the way from A to B")
        network.until(lambda: metrics(network, B, "qss_routing_dropped_lsas_total"), "what B has dropped")
        assert set(metrics(network, B, "qss_routing_dropped_lsas_total")) == {'peer="C",reason="tag"'}
        assert seen(network, B)["tags"][C]["state"] == "none"
        assert ways(network, B).get("sae:carol") is None
        assert set(ways(network, C)) == {"sae:carol", "sae:chris"}
        assert relayed(network, B, C) == 0
        told = [event for event in network.events(B) if event["event"] == "routing disconnecting"]
        assert {event["peer"] for event in told} == {C}
        assert "set link_tags to offered or required at both ends" in told[0]["reason"]
