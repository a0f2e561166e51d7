"""Couriered key between real nodes: applications get it, kill -9 does not get any of it used again, and it ends."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.network import ALICE, BOB, A, B, RunningNetwork, running_network

BITS = 8 << 20
BLOCK_BYTES = 1024


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def network(tmp_path: Path):
    key = os.urandom(BITS // 8)
    for site in (A, B):
        path = tmp_path / f"{site}.key"
        path.touch(mode=0o600)
        path.write_bytes(key)

    def edit(site: str, toml: str) -> str:
        device = (
            f'{{ type = "file", path = "{tmp_path / site}.key", rate_bps = 200_000, block_bytes = {BLOCK_BYTES}, '
            f"warn_bits = {BITS} }}"
        )
        return re.sub(r"(?m)^device = .*$", f"device = {device}", toml, count=1) if site in (A, B) else toml

    with running_network(tmp_path / "network", (A, B), edit) as running:
        yield running


def module(network: RunningNetwork, site: str) -> dict:
    return network.status(site)["links"][0]["module"]


def used(tmp_path: Path, site: str) -> int:
    return int((tmp_path / f"{site}.key.state" / "position").read_text().split()[0])


def test_couriered_key_serves_applications_and_is_used_once_over_kill_9(
    network: RunningNetwork, tmp_path: Path
) -> None:
    network.until_keys((ALICE, BOB), count=20)
    keys = network.get(ALICE, BOB, 10)
    assert network.take(BOB, ALICE, keys).keys == keys
    device = module(network, A)["device"]
    assert (device["kind"], device["simulated"]) == ("file", False)
    assert 0 < device["left_bits"] < BITS
    assert "bring more" in device["note"]
    before = used(tmp_path, A), used(tmp_path, B)
    assert min(before) > 0

    network.kill(B)
    until(lambda: not module(network, A)["up"])
    network.start(B)
    network.until_ready(B)
    until(lambda: module(network, A)["up"] and module(network, B)["up"])
    more = network.get(ALICE, BOB, 10)
    assert network.take(BOB, ALICE, more).keys == more
    until(lambda: min(used(tmp_path, A), used(tmp_path, B)) > max(before))

    for site in (A, B):
        content = (tmp_path / f"{site}.key").read_bytes()
        erased = used(tmp_path, site) - 2 * BLOCK_BYTES  # of the last block it may be under way
        assert not any(content[:erased])
        assert any(content[-BLOCK_BYTES:])
    for site in (A, B):
        counted = module(network, site)
        assert counted["bits"]["unequal"] == 0
        assert not any(counted["health_failures"].values())
    assert any(event["event"].startswith("couriered key runs low") for event in network.events(A))
