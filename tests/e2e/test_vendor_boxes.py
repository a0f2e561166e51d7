"""A link whose device is a vendor's network with 014: real nodes, of which two are the boxes of the third link's ends.

Key of the link between A and B is taken from their Northbound by B and C, for the link between B and C.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from qss.cli.demo.network import Network
from qss.model.identifiers import QksId
from support.network import ALICE, BELLA, BOB, CAROL, A, B, C, RunningNetwork, running_network

DEVICE = (
    'type = "etsi014", address = "localhost:{port}", side = "{side}", own_sae = "{own}", other_sae = "{other}", '
    'certificate = "pki/saes/{stem}.pem", key = "pki/saes/{stem}.key", authority = "pki/ca.pem", rate_bps = 100_000'
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    ports: dict[QksId, int] = {}

    def prepare(network: Network) -> None:
        ports.update({site: network.ports[site].northbound for site in (A, B)})

    def edit(site: QksId, toml: str) -> str:
        if site == A:
            return toml
        peer, box, side, own, other = (C, A, "master", ALICE, BOB) if site == B else (B, B, "slave", BOB, ALICE)
        device = DEVICE.format(port=ports[box], side=side, own=own, other=other, stem=own.replace(":", "_"))
        changed, count = re.subn(
            rf'(peer = "{peer}"\n.*?device = ){{.*?}}\n', rf"\1{{ {device} }}\n", toml, flags=re.DOTALL
        )
        assert count == 1
        return changed

    with running_network(tmp_path_factory.mktemp("boxes"), edit=edit, prepare=prepare) as running:
        yield running


def link(network: RunningNetwork, site: QksId, peer: QksId) -> dict[str, Any]:
    (found,) = (link for link in network.status(site)["links"] if link["peer"] == peer)
    assert isinstance(found, dict)
    return found


def exchange(network: RunningNetwork) -> None:
    """Have Bella at B and Carol at C share keys."""
    keys = network.curl(BELLA, f"/api/v1/keys/{CAROL}/enc_keys", "--json", '{"number": 4}').keys
    asked = json.dumps({"key_IDs": [{"key_ID": key_id} for key_id in keys]})
    assert network.curl(CAROL, f"/api/v1/keys/{BELLA}/dec_keys", "--json", asked).keys == keys


def test_applications_share_keys_that_come_from_the_boxes(network: RunningNetwork) -> None:
    network.until_keys((BELLA, CAROL), count=200)
    exchange(network)
    for site, peer in ((B, C), (C, B)):
        told = link(network, site, peer)["module"]["device"]
        assert (told["kind"], told["running"], told["simulated"], told["qber"]) == ("etsi014", True, False, None)
        assert told["rate_bps"] > 0


def test_a_box_that_is_killed_and_comes_back_is_taken_from_again(network: RunningNetwork) -> None:
    network.until_keys((BELLA, CAROL), count=200)
    network.kill(A)
    exchange(network)  # from what is in store
    network.start(A)
    network.until_ready(A)
    before = ingested(network)
    network._until(lambda: ingested(network) > before, "key after the box was back")
    exchange(network)


def ingested(network: RunningNetwork) -> int:
    """Bits of the link from B to C, in all."""
    return sum(stream["ingested"] for stream in link(network, B, C)["streams"])
