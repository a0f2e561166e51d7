"""SAEs that come and go at running sites: known everywhere by the authority's statement alone, burned when they leave.

One network for all tests; each test has an SAE of its own, at home at C, which shares keys with Bob at B.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qss.cli.demo.network import Network
from qss.model.identifiers import QksId, SaeId
from qss.wire.home_statement import statement_text
from support.homes import by_site
from support.network import BOB, CHRIS, A, Answer, B, C, RunningNetwork, qss, running_network

NOT_FOUND = "one or more keys specified are not found on KME"
NAMES = ("cleo", "clara", "claudine", "conny", "cyril", "celia", "cora")
KNOWN, REFUSED, UNTOLD, LEAVING, SURVIVOR, KILLED, MOVED = (SaeId(f"sae:{name}") for name in NAMES)
COMERS = (KNOWN, REFUSED, UNTOLD, LEAVING, SURVIVOR, KILLED, MOVED)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    def edit(_: QksId, toml: str) -> str:
        ours = "".join(f'\n[[pairs]]\nmaster = "{sae}"\nslaves = ["{BOB}"]\n' for sae in COMERS)
        return f'{toml}{ours}\n[[pairs]]\nmaster = "{BOB}"\nslaves = ["*"]\n'

    def prepare(network: Network) -> None:
        for sae in COMERS:
            network.pki.issue_sae(sae, 1)

    with running_network(tmp_path_factory.mktemp("saes"), edit=edit, prepare=prepare) as running:
        running.until_keys((BOB, CHRIS))
        yield running


# --- as an operator -------------------------------------------------------------------------------------------------


def sae(network: RunningNetwork, site: QksId, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return qss("sae", *words, *asking(network, site))


def asking(network: RunningNetwork, site: QksId) -> tuple[str | Path, ...]:
    own = network.network.pki.site(site)
    return (
        *("--url", f"https://localhost:{network.network.ports[site].admin}", "--cert", own.certificate),
        *("--key", own.key, "--ca", network.network.pki.authority.certificate),
    )


def state(network: RunningNetwork, who: SaeId, site: QksId) -> Path:
    ran = qss("pki", "home", who, site, "--pki", network.network.pki.root)
    assert (ran.returncode, ran.stderr) == (0, "")
    return Path(ran.stdout.removeprefix("wrote ").rstrip("\n"))


def add(network: RunningNetwork, who: SaeId) -> None:
    """Register with a statement, and wait until the network knows."""
    added = sae(network, C, "add", who, "--statement", state(network, who, C))
    assert (added.returncode, added.stdout) == (0, f"{who} is at home at this site\n"), added.stderr
    network.until(lambda: homes(network, A).get(who) == C, f"{who} at A")
    network.until(lambda: homes(network, B).get(who) == C, f"{who} at B")


def listed(network: RunningNetwork) -> dict[str, str]:
    """What C says of each SAE at home there."""
    lines = sae(network, C, "list").stdout.splitlines()
    return {line.partition("  ")[0]: line.partition("  ")[2] for line in lines}


def homes(network: RunningNetwork, site: QksId) -> dict[str, str]:
    """The home of each SAE, as a site knows the network."""
    body = network.admin(site, "/routing", network.network.pki.site(site))[1]
    return {route["SAE_ID"]: route["dest"] for route in json.loads(body)["routes"]}


def voided(network: RunningNetwork, site: QksId, peer: QksId) -> int:
    """Bits that were recalled at one end of a link."""
    metrics = network.admin(site, "/metrics", network.network.pki.site(site))[1].decode()
    (bits,) = re.findall(rf'^qss_burned_bits_total\{{peer="{peer}",reason="voided"\}} (\d+)$', metrics, re.MULTILINE)
    return int(bits)


# --- as applications ------------------------------------------------------------------------------------------------


def get(network: RunningNetwork, master: SaeId, slave: SaeId, site: QksId, number: int = 1) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}

    def got() -> bool:
        answer = network.curl(master, f"/api/v1/keys/{slave}/enc_keys?number={number}", site=site)
        if answer.status == 200:
            keys.update(answer.keys)
        return answer.status == 200

    network.until(got, f"keys for {master} with {slave}")
    return keys


def take(network: RunningNetwork, slave: SaeId, master: SaeId, keys: dict[str, bytes], site: QksId) -> Answer:
    body = json.dumps({"key_IDs": [{"key_ID": key_id} for key_id in keys]})
    return network.curl(slave, f"/api/v1/keys/{master}/dec_keys", "--json", body, site=site)


def reserve(network: RunningNetwork, who: SaeId) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Have a key reserved each way: one waits for Bob at B, the other at C."""
    return get(network, who, BOB, C), get(network, BOB, who, B)


def assert_burned(
    network: RunningNetwork, who: SaeId, waiting: tuple[dict[str, bytes], ...], before: list[int]
) -> None:
    """It is unknown and refused, and no key that waited can be had at either end."""
    network.until(lambda: all(who not in homes(network, site) for site in (A, B)), f"end of {who}")
    network.until(lambda: voided_at_both(network) == [bits + 256 for bits in before], "bits burned at both ends")
    refused = take(network, BOB, who, waiting[0], B)
    assert (refused.status, refused.message) == (400, NOT_FOUND)
    assert take(network, who, BOB, waiting[1], C).status == 401
    assert network.curl(who, f"/api/v1/keys/{BOB}/enc_keys", site=C).status == 401
    for site, peer in ((B, C), (C, B)):
        network.streams(site, peer)  # balanced


def voided_at_both(network: RunningNetwork) -> list[int]:
    return [voided(network, B, C), voided(network, C, B)]


# --- tests ----------------------------------------------------------------------------------------------------------


def test_an_sae_that_is_registered_with_a_statement_is_served_everywhere(three: RunningNetwork) -> None:
    unknown = three.curl(BOB, f"/api/v1/keys/{KNOWN}/enc_keys", site=B)
    assert unknown.status == 400
    assert "SAE sae:cleo is not known here: check its spelling, and ask the operator" in unknown.message
    assert three.curl(KNOWN, f"/api/v1/keys/{BOB}/status", site=C).status == 401

    add(three, KNOWN)
    for master, slave, at, other in ((KNOWN, BOB, C, B), (BOB, KNOWN, B, C)):
        keys = get(three, master, slave, at, 3)
        assert take(three, slave, master, keys, other).keys == keys

    told = listed(three)
    assert re.fullmatch(r"registered  its home is stated until 20\d\d-\d\d-\d\d \d\d:\d\d UTC", told[KNOWN])
    assert re.fullmatch(r"configured  its home is stated until .* UTC", told[CHRIS])
    (view,) = [each for each in json.loads(sae(three, C, "list", "--json").stdout) if each["id"] == KNOWN]
    assert (view["configured"], view["leaving"]) == (False, False)
    assert any(event["event"] == "an SAE was registered" and event["by"] == "site C" for event in three.events(C))

    pki = three.network.pki
    again = qss("pki", "home", KNOWN, B, "--pki", pki.root)
    assert again.returncode == 1
    assert "is there already and is not overwritten" in again.stderr
    assert sae(three, A, "add", CHRIS, "--statement", pki.home(KNOWN)).returncode == 1


def test_a_statement_that_others_would_not_take_is_refused(three: RunningNetwork, tmp_path: Path) -> None:
    (tmp_path / "forged").write_text(statement_text(by_site(three.network.pki.site(C), C)))
    (tmp_path / "none").write_text("")
    for file, says in (
        (state(three, REFUSED, B), "the statement is that sae:clara is at home at B, not sae:clara at C"),
        (three.network.pki.home(CHRIS), "the statement is that sae:chris is at home at C, not sae:clara at C"),
        (tmp_path / "forged", "the network's authority has not signed this"),
        (tmp_path / "none", f"{tmp_path / 'none'}: this is no statement of an SAE's home"),
    ):
        refused = sae(three, C, "add", REFUSED, "--statement", file)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert says in refused.stderr
        assert refused.stderr.startswith("qss: ")
        assert refused.stderr.count("\n") == 1
    assert REFUSED not in listed(three)
    assert three.curl(REFUSED, f"/api/v1/keys/{BOB}/status", site=C).status == 401


def test_without_a_statement_it_is_at_home_and_nobody_else_knows(three: RunningNetwork) -> None:
    assert sae(three, C, "add", UNTOLD).returncode == 0
    assert listed(three)[UNTOLD] == "registered  without a statement: known here alone"
    assert three.curl(UNTOLD, f"/api/v1/keys/{BOB}/status", site=C).status == 200

    def said() -> bool:
        lsas = json.loads(three.admin(A, "/routing/lsas", three.network.pki.site(A))[1])
        return any(lsa["saes"].get(UNTOLD) is False for lsa in lsas if lsa["origin"] == C)

    three.until(said, "what C says of it, at A")
    assert UNTOLD not in homes(three, A)
    assert UNTOLD not in homes(three, B)
    assert three.curl(BOB, f"/api/v1/keys/{UNTOLD}/enc_keys", site=B).status == 400


def test_one_that_is_removed_is_refused_and_its_keys_are_burned_at_both_ends(three: RunningNetwork) -> None:
    add(three, LEAVING)
    waiting, before = reserve(three, LEAVING), voided_at_both(three)
    removed = sae(three, C, "remove", LEAVING)
    assert removed.returncode == 0, removed.stderr
    assert removed.stdout.splitlines() == [
        f"{LEAVING} is at home at this site no more",
        "link to B: 256 bits burned here; what waits at B is burned by B, as soon as it is connected",
    ]
    assert_burned(three, LEAVING, waiting, before)
    assert LEAVING not in listed(three)
    again = sae(three, C, "remove", LEAVING)
    assert again.returncode == 1
    assert "sae:conny is not registered here: see `qss sae list`" in again.stderr
    assert "is in the configuration of this site: take it out there" in sae(three, C, "remove", CHRIS).stderr
    add_again = sae(three, C, "add", LEAVING, "--statement", three.network.pki.home(LEAVING))
    assert add_again.returncode == 0
    assert take(three, LEAVING, BOB, waiting[1], C).message == NOT_FOUND  # it does not get them back


def test_a_registration_outlives_its_node(three: RunningNetwork) -> None:
    add(three, SURVIVOR)
    before = listed(three)
    keys = get(three, BOB, SURVIVOR, B)
    three.kill(C)
    three.start(C)
    three.until_ready(C)
    assert listed(three) == before
    three.until(lambda: homes(three, A).get(SURVIVOR) == C, "it at A again")
    three.until(lambda: take(three, SURVIVOR, BOB, keys, C).status == 200, "its key")


def test_a_removal_whose_node_is_killed_at_once_is_finished_by_the_next_start(three: RunningNetwork) -> None:
    add(three, KILLED)
    waiting, before = reserve(three, KILLED), voided_at_both(three)
    file = three.network.folder / "C.data" / "saes.json"
    command = [sys.executable, "-m", "qss.cli.main", "sae", "remove", KILLED, *asking(three, C)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as removing:
        registered = b'"%s":' % KILLED.encode()
        while registered in file.read_bytes():
            assert removing.poll() is None, "it ended, and nothing was noted"
        three.kill(C)
    three.start(C)
    three.until_ready(C)
    assert_burned(three, KILLED, waiting, before)
    three.until(lambda: KILLED not in listed(three), "end of the removal")
    assert json.loads(file.read_bytes())["leaving"] == []


def test_one_that_is_taken_out_of_the_configuration_is_burned_too(three: RunningNetwork) -> None:
    path = three.network.configuration(C)
    text = path.read_text("utf-8")
    table = re.search(rf'\[\[saes\]\]\nid = "{CHRIS}"\n(?:[^\n\[]+\n)*', text)
    assert table is not None
    waiting, before = reserve(three, CHRIS), voided_at_both(three)
    try:
        path.write_text(text.replace(table[0], ""), "utf-8")
        os.kill(three.nodes.pid(C), signal.SIGHUP)
        assert_burned(three, CHRIS, waiting, before)
    finally:
        path.write_text(text, "utf-8")
        os.kill(three.nodes.pid(C), signal.SIGHUP)
    three.until(lambda: homes(three, A).get(CHRIS) == C, "it at A again")
    keys = get(three, BOB, CHRIS, B)
    assert take(three, CHRIS, BOB, keys, C).keys == keys


def test_one_with_two_homes_is_served_by_neither_until_it_has_one(three: RunningNetwork, tmp_path: Path) -> None:
    add(three, MOVED)
    old = three.network.pki.home(MOVED)
    old.rename(tmp_path / "old.home")
    moved = state(three, MOVED, A)
    assert sae(three, A, "add", MOVED, "--statement", moved).returncode == 0
    three.until(lambda: MOVED not in homes(three, B), "doubt at B")
    assert three.curl(BOB, f"/api/v1/keys/{MOVED}/enc_keys", site=B).status == 400
    assert sae(three, C, "remove", MOVED).returncode == 0
    three.until(lambda: homes(three, B).get(MOVED) == A, "its new home at B")
    keys = get(three, BOB, MOVED, B)
    assert take(three, MOVED, BOB, keys, A).keys == keys
