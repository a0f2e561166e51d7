"""A simulated device at a real node: shown and set with the command, and with curl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from support.network import ALICE, BOB, A, B, RunningNetwork, qss


def until(condition: Callable[[], bool], meanwhile: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        meanwhile()
        time.sleep(0.1)


def test_the_command_shows_and_sets_a_device_and_status_and_log_tell_it(network: RunningNetwork) -> None:
    nodes, pki = network.network, network.network.pki

    def device_at(site: str, *arguments: str, identity=None):
        pair = identity or pki.site(site)
        url = f"https://localhost:{nodes.ports[site].admin}"
        asking = ("--url", url, "--cert", pair.certificate, "--key", pair.key, "--ca", pki.authority.certificate)
        return qss("device", *arguments, *asking)

    def link(site: str, peer: str) -> dict:
        return next(link for link in network.status(site)["links"] if link["peer"] == peer)

    def ask() -> None:
        """Make room: a device tells its other end of a change with the next block, and nobody reads one into a full
        stream."""
        network.curl(ALICE, f"/api/v1/keys/{BOB}/enc_keys?number=5")

    pair = link(A, B)["uuid"]
    shown = device_at(A, pair, "--json")
    assert shown.returncode == 0, shown.stderr
    before = json.loads(shown.stdout)
    assert before["rate_bps"] == link(A, B)["pairs"][0]["module"]["device"]["rate_bps"]

    assert device_at(A, pair, "--off", identity=pki.sae(ALICE)).returncode == 1
    assert "no device pair" in device_at(A, "00000000-0000-4000-8000-000000000000").stderr
    assert "lower ID" in device_at(B, pair, "--off").stderr
    assert device_at(A, pair, "--jitter", "7").returncode == 1

    off = device_at(A, pair, "--off", "--qber", "0.07")
    assert off.returncode == 0, off.stderr
    assert "it yields nothing: an outage was set by hand" in off.stdout
    until(lambda: link(B, A)["pairs"][0]["module"]["device"]["note"] == "an outage was set by hand", ask)
    assert link(B, A)["pairs"][0]["module"]["device"]["qber"] == 0.07
    on = device_at(A, pair, "--on", "--qber", str(before["qber"]), "--json")
    assert json.loads(on.stdout) == before
    until(lambda: link(B, A)["pairs"][0]["module"]["device"]["note"] == "", ask)
    told = [event for event in network.events(A) if event["event"] == "a simulated device was set"]
    assert [event["by"] for event in told] == [f"site {A}"] * 2
