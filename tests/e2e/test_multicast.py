"""Keys for slaves at several sites at once, at real nodes: neighbours and far sites in any mixture.

A ring of A, B, C and D. A has links with B and D; C is beyond them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from qss.model.identifiers import QksId, SaeId
from support.network import Answer, RunningNetwork, as_pair, qss, repeated_bytes, running_network

A, B, C, D = map(QksId, "ABCD")
ALICE, BOB, BELLA, CAROL, DAVE = (SaeId(f"sae:{name}") for name in ("alice", "bob", "bella", "carol", "dave"))
HOMES = {ALICE: A, BOB: B, BELLA: B, CAROL: C, DAVE: D}
RING = ((A, B), (B, C), (C, D), (A, D))
UNMET = "not all extension_mandatory request options could be met"
NOT_FOUND = "one or more keys specified are not found on KME"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    with running_network(tmp_path_factory.mktemp("ring"), links=RING, homes=HOMES) as running:
        running.until_keys((ALICE, BOB), (ALICE, DAVE), (BOB, CAROL), (CAROL, DAVE))
        running.until(lambda: ask(running, ALICE, (CAROL,)).status == 200, "a far site")
        yield running


def ask(network: RunningNetwork, master: SaeId, slaves: tuple[SaeId, ...], name: str = "", **body: object) -> Answer:
    """Ask for keys with all these slaves."""
    more = {"additional_slave_SAE_IDs": slaves[1:]} if slaves[1:] else {}
    header = ("-H", f"Idempotency-Key: {name}") if name else ()
    return network.curl(master, f"/api/v1/keys/{slaves[0]}/enc_keys", *header, "--json", json.dumps(more | body))


@pytest.mark.parametrize(
    ("master", "slaves"),
    [
        (ALICE, (BOB, DAVE)),  # neighbours; A owns both links
        (DAVE, (ALICE, CAROL)),  # neighbours; D owns none
        (BOB, (CAROL, ALICE)),
        (ALICE, (CAROL, BOB)),  # a far site first
        (ALICE, (BOB, CAROL)),
        (CAROL, (ALICE, DAVE, BOB, BELLA)),
        (ALICE, (DAVE, BELLA, CAROL, BOB)),
    ],
)
def test_slaves_at_all_sites_get_the_same_keys_once_each(
    ring: RunningNetwork, master: SaeId, slaves: tuple[SaeId, ...]
) -> None:
    for number in (1, 20):
        got = ask(ring, master, slaves, number=number).keys
        assert len(got) == number
        for slave in slaves:
            assert ring.take(slave, master, got).keys == got
            again = ring.take(slave, master, got)
            assert (again.status, again.message) == (400, NOT_FOUND)
    assert repeated_bytes(ring.keys) == []


def test_what_is_demanded_is_demanded_of_every_way(ring: RunningNetwork) -> None:
    ring.until_keys((ALICE, BOB), (ALICE, DAVE), (BOB, CAROL), (CAROL, DAVE))
    before = ring.settled()
    unmet = ask(ring, ALICE, (BOB, CAROL), extension_mandatory=[{"qss_direct_only": True}])
    assert (unmet.status, unmet.message) == (400, UNMET)
    assert ring.settled() == before
    for extension in ({"qss_direct_only": True}, {"qss_hybrid": "ml-kem-768"}):
        got = ask(ring, ALICE, (BOB, DAVE), extension_mandatory=[extension]).keys
        for slave in (BOB, DAVE):
            assert ring.take(slave, ALICE, got).keys == got


def test_a_repeat_under_a_name_gets_the_same_keys_also_after_a_crash(ring: RunningNetwork) -> None:
    name = str(uuid.uuid4())
    first = ask(ring, ALICE, (BOB, CAROL), name, number=3)
    assert ask(ring, ALICE, (BOB, CAROL), name, number=3).json == first.json
    ring.kill(A)
    ring.start(A)
    ring.until_ready(A)
    ring.until(lambda: ask(ring, ALICE, (BOB, CAROL), name, number=3).status == 200, "the same answer")
    assert ask(ring, ALICE, (BOB, CAROL), name, number=3).json == first.json
    for slave in (BOB, CAROL):
        assert taken_in_time(ring, slave, first.keys).keys == first.keys


def taken_in_time(network: RunningNetwork, slave: SaeId, keys: dict[str, bytes]) -> Answer:
    """What a slave gets of Alice's keys, once its site has heard from hers."""
    answers: list[Answer] = []

    def are_had() -> bool:
        answers.append(network.take(slave, ALICE, keys))
        return answers[-1].status == 200

    network.until(are_had, f"keys for {slave}")
    return answers[-1]


@pytest.mark.parametrize("restarted", [B, D])
def test_keys_that_wait_outlive_their_sites(ring: RunningNetwork, restarted: QksId) -> None:
    """What a further site has stored is no worse kept than what it shares."""
    got = ask(ring, ALICE, (BOB, DAVE)).keys
    ring.kill(restarted)
    ring.start(restarted)
    ring.until_ready(restarted)
    for slave in (BOB, DAVE):
        assert taken_in_time(ring, slave, got).keys == got
    ring.until(lambda: ask(ring, ALICE, (BOB, DAVE)).status == 200, "the masters' homes")


@pytest.mark.parametrize("recalls_at", [A, B, D])
def test_a_recall_burns_at_all_sites(ring: RunningNetwork, recalls_at: QksId) -> None:
    name = str(uuid.uuid4())
    got = ask(ring, ALICE, (BOB, DAVE), name, number=2).keys
    pki = ring.network.pki
    admin = f"https://localhost:{ring.network.ports[recalls_at].admin}"
    as_site = (*as_pair(pki.site(recalls_at)), "--ca", pki.authority.certificate)
    before = {site: voided_bits(ring, site) for site in (B, D)}
    first, second = got
    assert qss("key", "void", "--id", first, "--url", admin, *as_site).returncode == 0
    for slave in (BOB, DAVE):
        site = HOMES[slave]
        ring.until(lambda site=site: voided_bits(ring, site) == before[site] + 256, f"a recall at {site}")
        refused = ring.take(slave, ALICE, [first])
        assert (refused.status, refused.message) == (400, NOT_FOUND)
        assert ring.take(slave, ALICE, [second]).keys == {second: got[second]}
    assert set(ask(ring, ALICE, (BOB, DAVE), name, number=2).keys).isdisjoint(got)


def voided_bits(network: RunningNetwork, site: QksId) -> int:
    """What was recalled at a site of what its link with A held."""
    (link,) = (link for link in network.status(site)["links"] if link["peer"] == A)
    return int(link["burned"].get("voided", 0))


@pytest.mark.parametrize("lost", [B, C, D])
def test_without_one_site_nobody_gets_anything(ring: RunningNetwork, lost: QksId) -> None:
    slaves = (BOB, CAROL, DAVE)
    ring.kill(lost)
    try:
        for first in range(3):
            order = slaves[first:] + slaves[:first]
            assert ask(ring, ALICE, order).status == 503
    finally:
        ring.start(lost)
        ring.until_ready(lost)
    ring.until(lambda: ask(ring, ALICE, slaves).status == 200, "keys again")
    got = ask(ring, ALICE, slaves).keys
    for slave in slaves:
        assert ring.take(slave, ALICE, got).keys == got
