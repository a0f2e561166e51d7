"""Routing among real nodes: who is where, and by which way, as each site sees it."""

from __future__ import annotations

import json
from pathlib import Path

from support.network import SITES, A, B, C, RunningNetwork, qss, running_network


def seen(network: RunningNetwork, site: str) -> dict[str, tuple[str | None, str, int]]:
    status, body = network.admin(site, "/routing", network.network.pki.site(site))
    assert status == 200
    return {
        route["SAE_ID"]: (route["next_hop"], route["dest"], route["length"]) for route in json.loads(body)["routes"]
    }


FROM_A = {
    "sae:alice": ("A", "A", 0), "sae:bob": ("B", "B", 1), "sae:bella": ("B", "B", 1), "sae:carol": ("B", "C", 2),
    "sae:chris": ("B", "C", 2),
}  # fmt: skip


def test_every_site_sees_the_whole_network_as_it_is(tmp_path: Path) -> None:
    with running_network(tmp_path, SITES) as network:
        network.until(lambda: seen(network, A) == FROM_A, "all ways at A")
        network.until(lambda: seen(network, C)["sae:alice"] == ("B", "A", 2), "all ways at C")

        own = network.network.pki.site(A)
        asking = ("--url", f"https://localhost:{network.network.ports[A].admin}", "--cert", own.certificate,
                  "--key", own.key, "--ca", network.network.pki.authority.certificate)  # fmt: skip
        shown = qss("route", "show", *asking)
        assert shown.returncode == 0, shown.stderr
        lines = [line.split() for line in shown.stdout.splitlines() if line]
        assert ["SAE_ID", "next_hop", "dest", "cost", "length"] in lines
        (carol,) = (line for line in lines if line[0] == "sae:carol")
        assert carol[1:3] == ["B", "C"]
        assert {line[0] for line in lines} >= {"A-B", "B-C"}
        as_json = json.loads(qss("route", "show", "--json", *asking).stdout)
        assert as_json["neighbours"] == {"B": "full"}

        network.kill(C)
        network.until(lambda: seen(network, A)["sae:carol"] == (None, "C", 0), "no way to C")
        assert seen(network, A)["sae:bob"] == ("B", "B", 1)
        network.start(C)
        network.until(lambda: seen(network, A) == FROM_A, "the way to C again")
        assert network.stop(C) == 0
        network.until(lambda: "sae:carol" not in seen(network, A), "what C has withdrawn")
        metrics = network.admin(B, "/metrics", network.network.pki.site(B))[1].decode()
        assert 'qss_routing_adjacency{peer="A"} 1' in metrics
        assert 'qss_routing_adjacency{peer="C"} 0' in metrics
        network.start(C)
        network.until_ready(C)
