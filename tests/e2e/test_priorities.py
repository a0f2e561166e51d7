"""Whose requests get the last of a link's key: rules, extensions and what a link leaves, with real nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from qss.model.identifiers import QksId, SaeId
from support.network import ALICE, BOB, A, Answer, B, RunningNetwork, running_network

ANN = SaeId("sae:ann")
CAPACITY_BITS, HIGH_BITS = 4_000_000, 3_900_000
"""A stored block, by which a link may hold more than its capacity, has some 520,000."""

MORE_THAN_IS_LEFT = 100
"""Keys of 8,192 bits: more than requests below high priority may have, less than there are."""

RULE = f"""
[[pairs]]
master = "{ANN}"
slaves = ["{BOB}"]
priority = "high"
"""


def short(_: QksId, toml: str) -> str:
    """Have the link hold little, most of it for what is urgent; and Ann's requests be that."""
    limits = f"capacity_bits = {CAPACITY_BITS}\nhigh_priority_bits = {HIGH_BITS}"
    shorter, changed = re.subn(r"capacity_bits = [\d_]+", limits, toml)
    assert changed
    return shorter + RULE


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    homes = {ALICE: A, ANN: A, BOB: B}
    with running_network(tmp_path_factory.mktemp("short"), (A, B), short, homes=homes) as running:
        running.until(lambda: count(running, ANN) >= CAPACITY_BITS // 256, "a full link")
        yield running


def count(network: RunningNetwork, master: SaeId) -> int:
    answer = network.curl(master, f"/api/v1/keys/{BOB}/status")
    return int(answer.json["stored_key_count"]) if answer.status == 200 else 0


def ask(network: RunningNetwork, master: SaeId, number: int, priority: str | None = None) -> Answer:
    body: dict[str, object] = {"number": number, "size": 8192}
    if priority is not None:
        body["extension_mandatory"] = [{"qss_priority": priority}]
    return network.curl(master, f"/api/v1/keys/{BOB}/enc_keys", "--json", json.dumps(body))


def test_get_status_counts_what_the_pair_can_have(two: RunningNetwork) -> None:
    most = CAPACITY_BITS // 256
    assert count(two, ANN) > most - 2000
    assert 0 < count(two, ALICE) < (CAPACITY_BITS - HIGH_BITS + 600_000) // 256


def test_who_has_no_high_priority_gets_nothing_of_what_is_left_for_it(two: RunningNetwork) -> None:
    before = count(two, ANN)
    answer = ask(two, ALICE, MORE_THAN_IS_LEFT)
    assert answer.status == 503
    assert "not enough key" in answer.message
    assert count(two, ANN) >= before
    assert ask(two, ALICE, 1).status == 200


def test_who_has_high_priority_gets_it_and_can_do_without(two: RunningNetwork) -> None:
    refused = ask(two, ANN, MORE_THAN_IS_LEFT, "normal")
    assert refused.status == 503
    answer = ask(two, ANN, MORE_THAN_IS_LEFT)
    assert answer.status == 200
    assert two.take(BOB, ANN, answer.keys).keys == answer.keys


def test_nobody_has_a_higher_priority_than_the_rules_give(two: RunningNetwork) -> None:
    answer = ask(two, ALICE, 1, "high")
    assert (answer.status, answer.message) == (400, "not all extension_mandatory request options could be met")
    assert b"the rules give requests of this pair normal at most" in answer.body
