"""Keys between sites that share no link: a ring of four real nodes, A, B, C and D, and applications at A, B and C."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from qss.model.identifiers import QksId, SaeId
from support.network import Answer, RunningNetwork, qss, repeated_bytes, running_network

A, B, C, D = map(QksId, "ABCD")
ALICE, BOB, CAROL = map(SaeId, ("sae:alice", "sae:bob", "sae:carol"))
RING = ((A, B), (B, C), (C, D), (A, D))
UNMET = "not all extension_mandatory request options could be met"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    homes = {ALICE: A, BOB: B, CAROL: C}
    with running_network(tmp_path_factory.mktemp("ring"), links=RING, homes=homes) as running:
        running.until_keys((ALICE, BOB), (BOB, CAROL))
        running.until(lambda: len(neighbours_with_key(running)) == len(RING), "key on all links")
        yield running


def neighbours_with_key(network: RunningNetwork) -> set[tuple[str, str]]:
    """The links that A's routing knows with key on them."""
    status, body = network.admin(A, "/routing", network.network.pki.site(A))
    assert status == 200
    return {tuple(link["ends"]) for link in json.loads(body)["links"] if link["available_bits"] > 100_000}


def ask(network: RunningNetwork, master: SaeId, slave: SaeId, **extensions: object) -> Answer:
    """Ask for a key that must be as the extensions say."""
    body: dict[str, Any] = {"number": 1}
    if extensions:
        body["extension_mandatory"] = [{f"qss_{name}": value} for name, value in extensions.items()]
    return network.curl(master, f"/api/v1/keys/{slave}/enc_keys", "--json", json.dumps(body))


def relayed_bits(network: RunningNetwork, site: QksId, peer: QksId) -> int:
    return sum(stream["relayed"] for stream in network.streams(site, peer))


@pytest.mark.parametrize(("master", "slave"), [(ALICE, CAROL), (CAROL, ALICE)], ids=["owner", "not owner"])
def test_both_ends_get_the_same_keys(ring: RunningNetwork, master: SaeId, slave: SaeId) -> None:
    for number in (1, 20):
        got = ring.get(master, slave, number)
        assert len(got) == number
        taken = ring.take(slave, master, got)
        assert taken.keys == got
        again = ring.take(slave, master, got)
        assert (again.status, again.message) == (400, "one or more keys specified are not found on KME")
    assert repeated_bytes(ring.keys) == []


def test_the_status_tells_what_is_there_now(ring: RunningNetwork) -> None:
    ring.get(ALICE, CAROL)
    ring.until(lambda: ring._key_count(ALICE, CAROL) > 10, "keys held ready at the owner")
    ring.until(lambda: ring._key_count(CAROL, ALICE) > 10, "keys held ready at the other end")
    status = ring.curl(ALICE, f"/api/v1/keys/{CAROL}/status").json
    assert (status["source_KME_ID"], status["target_KME_ID"]) == (A, C)


def test_every_relayed_bit_is_accounted_for_at_every_site(ring: RunningNetwork) -> None:
    ring.get(ALICE, CAROL, 50)
    ring.settled()
    assert relayed_bits(ring, A, B) + relayed_bits(ring, A, D) > 50 * 256
    for one, other in RING:
        here, there = relayed_bits(ring, one, other), relayed_bits(ring, other, one)
        assert here == there
    assert sum(stream["delivered"] for stream in ring.streams(A, C)) >= 50 * 256


def test_an_operator_sees_what_became_of_transfers_at_each_site_of_their_way(ring: RunningNetwork) -> None:
    ring.get(ALICE, CAROL)
    ring.settled()
    relays = {site: ring.status(site)["relay"] for site in (A, B, C, D)}
    (far,) = (far for far in relays[A]["far"] if far["peer"] == C)
    passed_on = {
        (site, each["peer"]): each["passed_on"] for site in relays for each in relays[site]["neighbours"] if each["up"]
    }
    assert set(passed_on) == {*RING, *((other, one) for one, other in RING)}
    assert far["transfers"]["arrived"] > 0
    assert passed_on[B, C] + passed_on[D, C] >= far["transfers"]["arrived"]
    assert far["requests"]["ready"] + far["requests"]["waited"] > 0
    text = ring.admin(A, "/metrics", ring.network.pki.site(A))[1].decode()
    assert f'qss_relay_transfers_total{{peer="C",outcome="arrived"}} {far["transfers"]["arrived"]}\n' in text
    assert 'qss_relay_up{peer="B"} 1\n' in text
    own = re.findall(r'^qss_stream_bits\{peer="(.)",stream="[^"]+",policy="",state="available"\}', text, re.MULTILINE)
    assert set(own) == {B, D}


def recorded(network: RunningNetwork, site: QksId, event: str, what: str) -> list[dict[str, Any]]:
    """Wait until a site's audit log has such an event that says `what`, and return the fields of all that do."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        folder = network.network.folder / f"{site}.data"
        ran = qss("audit", "show", folder, "--json", "--event", event)
        found[:] = [record["fields"] for record in map(json.loads, ran.stdout.splitlines()) if what in str(record)]
        return bool(found)

    network.until(is_there, f"{event}: {what} in the audit log of {site}")
    return found


def test_the_audit_logs_tell_over_which_sites_a_key_came_and_who_got_it(ring: RunningNetwork) -> None:
    got = ring.get(ALICE, CAROL, 2)
    first, last = got
    ring.take(CAROL, ALICE, [last])
    (given,) = recorded(ring, A, "keys were given to their master", first)
    expected = {"peer": C, "sae": ALICE, "slaves": [CAROL], "keys": [f"{first}..{last}"], "bits": 512, "policy": "{}"}
    assert given == expected
    (taken,) = recorded(ring, C, "keys were given to a slave", last)
    assert taken == {"peer": A, "sae": CAROL, "master": ALICE, "keys": [last], "bits": 256, "policy": "{}"}
    sent = recorded(ring, A, "key was relayed from here", "'policy': '{}'")[-1]
    _, repeater, _ = sent["path"].split()
    assert (sent["path"], sent["hop"], sent["share"]) == (f"A {repeater} C", "one-time-pad", "1 of 1")
    assert recorded(ring, QksId(repeater), "key was relayed on", sent["transfer"]) == [sent]
    assert recorded(ring, C, "relayed key has arrived", sent["transfer"]) == [sent]


@pytest.mark.parametrize(
    ("extensions", "status"),
    [
        ({"max_hops": 2}, 200),
        ({"avoid": [B]}, 200),
        ({"disjoint_paths": 2}, 200),
        ({"hop": "aes-256-gcm"}, 200),
        ({"hybrid": "ml-kem-768"}, 200),
        ({"hybrid": "ml-kem-768", "disjoint_paths": 2}, 200),
        ({"direct_only": True}, 400),
        ({"avoid": [B, D]}, 400),
        ({"disjoint_paths": 3}, 400),
        ({"max_hops": 1}, 400),
    ],
)
def test_what_a_request_demands_is_met_or_refused(
    ring: RunningNetwork, extensions: dict[str, object], status: int
) -> None:
    answer = ask(ring, ALICE, CAROL, **extensions)
    assert answer.status == status, answer.body if status == 200 else ""
    if status == 200:
        assert ring.take(CAROL, ALICE, answer.keys).keys == answer.keys
    else:
        assert answer.message == UNMET


def test_what_avoids_a_site_costs_its_links_nothing(ring: RunningNetwork) -> None:
    answer = ask(ring, CAROL, ALICE, avoid=[D])
    ring.take(ALICE, CAROL, answer.keys)
    ring.settled()
    before = relayed_bits(ring, D, C)
    for _ in range(3):
        answer = ask(ring, CAROL, ALICE, avoid=[D])
        assert ring.take(ALICE, CAROL, answer.keys).keys == answer.keys
    ring.settled()
    after = relayed_bits(ring, D, C)
    assert after == before


def test_a_neighbour_can_be_reached_over_disjoint_paths_too(ring: RunningNetwork) -> None:
    """One of them is the link itself."""
    answer = ask(ring, ALICE, BOB, disjoint_paths=2)
    assert ring.take(BOB, ALICE, answer.keys).keys == answer.keys
    assert ask(ring, ALICE, BOB).status == 200


@pytest.mark.parametrize("restarted", [A, C])
def test_keys_that_wait_outlive_their_sites(ring: RunningNetwork, restarted: QksId) -> None:
    got = ring.get(ALICE, CAROL, 3)
    ring.kill(restarted)
    ring.start(restarted)
    ring.until_ready(restarted)
    ring.until(lambda: ring.curl(CAROL, f"/api/v1/keys/{ALICE}/status").status == 200, "the way back")
    ring.until(lambda: ring.take(CAROL, ALICE, got).status == 200, "keys from before")
    more = ring.get(ALICE, CAROL)
    assert ring.take(CAROL, ALICE, more).keys == more


@pytest.mark.parametrize("lost", [B, D])
def test_another_way_is_taken_when_a_repeater_is_gone(ring: RunningNetwork, lost: QksId) -> None:
    ring.get(ALICE, CAROL)
    ring.kill(lost)
    try:
        for _ in range(5):
            got = ring.get(ALICE, CAROL, 100)
            assert ring.take(CAROL, ALICE, got).keys == got
    finally:
        ring.start(lost)
        ring.until_ready(lost)
    ring.until(lambda: len(neighbours_with_key(ring)) == len(RING), "key on all links again")
