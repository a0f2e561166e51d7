"""A link of three device pairs between real nodes: two whose modules are in the nodes, one whose module never comes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from qss.model.identifiers import QksId
from support.network import ALICE, BOB, PATIENCE_S, A, B, RunningNetwork, running_network

FAST = "3f0d9a51-6f0e-4b7c-8a53-0f4f1f3c5d03"
SLOW = "9c1be8f4-24d7-4f0a-b1c9-5d2f7a6e8b04"
ABSENT = "d2a4b6c8-1357-4e9f-8b2d-6c5a4f3e2d05"
RATES_BPS = {FAST: 400_000, SLOW: 100_000}


def with_pairs(site: QksId, toml: str) -> str:
    """Put the pairs in the place of the first link's device, at each end in another order."""
    if site not in (A, B):
        return toml
    tables = [
        f'[[links.modules]]\nuuid = "{uuid}"\ndevice = {{ type = "simulator", rate_bps = {rate} }}\n'
        for uuid, rate in RATES_BPS.items()
    ]
    tables.insert(1, f'[[links.modules]]\nuuid = "{ABSENT}"\nmodule = "{site}/1"\n')
    modules = "".join(tables if site == A else tables[::-1])
    changed, count = re.subn(r"(capacity_bits = .*\n)\s*device = .*\n", rf"\1{modules}", toml, count=1)
    assert count == 1
    return changed


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    with running_network(tmp_path_factory.mktemp("pairs"), (A, B), edit=with_pairs) as running:
        running.until_keys((ALICE, BOB))
        yield running


def pairs(two: RunningNetwork, site: QksId) -> dict[str, dict[str, Any]]:
    """What a site's status says of the pairs of the link between A and B."""
    (link,) = (link for link in two.status(site)["links"] if link["peer"] in {A, B} - {site})
    return {pair["uuid"]: pair for pair in link["pairs"]}


def test_each_pair_with_modules_has_a_stream_the_same_at_both_ends(two: RunningNetwork) -> None:
    end = time.monotonic() + PATIENCE_S
    while not all(pairs(two, site)[uuid]["stream"] for site in (A, B) for uuid in RATES_BPS):
        assert time.monotonic() < end
        time.sleep(0.1)
    at_a, at_b = pairs(two, A), pairs(two, B)
    assert {*at_a} == {*at_b} == {FAST, SLOW, ABSENT}
    assert at_a[FAST]["stream"] == at_b[FAST]["stream"] != at_a[SLOW]["stream"] == at_b[SLOW]["stream"]
    for uuid, rate in RATES_BPS.items():
        assert at_a[uuid]["up"]
        assert at_a[uuid]["module"]["device"]["rate_bps"] == at_b[uuid]["module"]["device"]["rate_bps"] == rate


def test_a_pair_whose_module_has_not_registered_is_not_attached(two: RunningNetwork) -> None:
    for site in (A, B):
        absent = pairs(two, site)[ABSENT]
        assert (absent["name"], absent["attached"], absent["up"]) == (f"{site}/1", False, False)
        assert (absent["stream"], absent["module"]) == (None, None)
    text = two.admin(A, "/metrics", two.network.pki.site(A))[1].decode()
    assert f'qss_module_attached{{peer="B",pair="{ABSENT}"}} 0\n' in text
    assert f'qss_module_attached{{peer="B",pair="{FAST}"}} 1\n' in text


def test_keys_come_of_both_pairs(two: RunningNetwork) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        keys = two.get(ALICE, BOB, number=100)  # or it takes long until the fast pair has no more left than the other
        assert two.take(BOB, ALICE, keys).keys == keys
        streams = {pairs(two, A)[uuid]["stream"] for uuid in RATES_BPS}
        used = {stream["stream"] for stream in two.streams(A, B) if stream["delivered"]}
        if streams <= used:
            return
        assert time.monotonic() < end, "one pair is never drawn on"
