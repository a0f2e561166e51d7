"""A network whose modules are processes of their own: they register, are pulled from over 004, and come and go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qss.cli.demo.network import Network
from qss.model.identifiers import QkdmId, QksId
from support.network import ALICE, BOB, A, B, RunningNetwork, qss, running_network

A1, B1 = QkdmId("A/1"), QkdmId("B/1")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    """Sites A and B with a module each, which drain no capacity: there is always room for more key."""

    def roomy(_: object, toml: str) -> str:
        return toml.replace("capacity_bits = 500000", "capacity_bits = 1000000000")

    with running_network(tmp_path_factory.mktemp("split"), (A, B), roomy, split=(A, B)) as running:
        running.until_keys((ALICE, BOB), (BOB, ALICE))
        yield running


@pytest.mark.parametrize("apart", [A, B], ids=["the lower site's", "the higher site's"])
def test_a_module_in_its_node_meets_one_that_is_a_process(tmp_path: Path, apart: QksId) -> None:
    """Only one end of the link has a module that is a process of its own."""
    networks: list[Network] = []

    def edit(site: QksId, toml: str) -> str:
        if site not in (A, B) or site == apart:
            return toml
        (module,) = (one for one in networks[0].modules if one.name == f"{site}/1")
        device = 'device = { type = "simulator", rate_bps = 400000 }'
        sync = f'\npeer_module = "{module.peer_module}"'
        if site == A:
            sync += f'\nsync = "127.0.0.1:{module.sync}"'
        return toml.replace(f'module = "{module.name}"', device + sync, 1)

    def prepare(network: Network) -> None:
        networks.append(network)
        module = network.configuration(A1 if apart == A else B1)
        without = "\n".join(line for line in module.read_text("utf-8").splitlines() if "peer_module" not in line)
        module.write_text(without, encoding="utf-8")
        if apart == A:  # then B's module listens where B's node does
            path = network.configuration(A1)
            direct = f'[sync]\naddress = "127.0.0.1:{network.modules[0].sync}"'
            node = f'[sync]\naddress = "127.0.0.1:{network.ports[B].external}"'
            path.write_text(path.read_text("utf-8").replace(direct, node), encoding="utf-8")

    with running_network(tmp_path, (A, B), edit, prepare, split=(apart,)) as running:
        running.until_keys((ALICE, BOB), (BOB, ALICE))
        assert running.pair(A, B)["registered"] is (apart == A)
        assert running.pair(B, A)["registered"] is (apart == B)
        keys_are_exchanged(running)


def until_more_key(network: RunningNetwork) -> None:
    """Wait until both ends hold more than they do now."""
    before = [sum(stream["ingested"] for stream in network.streams(*ends)) for ends in ((A, B), (B, A))]

    def more() -> bool:
        now = [sum(stream["ingested"] for stream in network.streams(*ends)) for ends in ((A, B), (B, A))]
        return all(one > other for one, other in zip(now, before, strict=True))

    network.until(more, "more key at both ends")


def keys_are_exchanged(network: RunningNetwork) -> None:
    got = network.get(ALICE, BOB, 3)
    assert network.take(BOB, ALICE, got).keys == got


def test_keys_come_of_modules_that_are_pulled_from_over_004(split: RunningNetwork) -> None:
    until_more_key(split)
    keys_are_exchanged(split)
    pair = split.pair(A, B)
    assert (pair["name"], pair["registered"], pair["attached"], pair["up"]) == (A1, True, True, True)
    split.until(lambda: split.pair(A, B)["module"]["bits"]["delivered"] > 0, "what the module says of itself")


@pytest.mark.parametrize("victims", [(A1,), (B1,), (A1, B1)], ids=lambda names: "+".join(names))
def test_a_module_that_is_killed_is_detached_and_one_that_comes_back_is_used(
    split: RunningNetwork, victims: tuple[QkdmId, ...]
) -> None:
    split.kill(*victims)
    for victim in victims:
        site, peer = (A, B) if victim == A1 else (B, A)
        split.until(lambda s=site, p=peer: not split.pair(s, p)["registered"], f"site {site} without module")
        assert not split.pair(site, peer)["attached"]
    keys_are_exchanged(split)  # of what is at hand
    split.start(*victims)
    until_more_key(split)
    keys_are_exchanged(split)


@pytest.mark.parametrize("site", [A, B])
def test_modules_register_anew_at_a_node_that_was_killed(split: RunningNetwork, site: str) -> None:
    split.kill(site)
    split.start(site)
    split.until_ready(site)
    split.until_keys((ALICE, BOB), (BOB, ALICE), count=1)
    until_more_key(split)
    keys_are_exchanged(split)


def test_an_administrator_stops_and_starts_a_module(split: RunningNetwork) -> None:
    own = split.network.pki.site(A)
    url = f"https://localhost:{split.network.ports[A].admin}"
    asking = (
        "--url",
        url,
        "--cert",
        own.certificate,
        "--key",
        own.key,
        "--ca",
        split.network.pki.authority.certificate,
    )

    def shown() -> str:
        ran = qss("module", "list", *asking)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    split.until(lambda: split.pair(A, B)["up"], "a key stream")
    assert shown().split()[1:] == ["to", "B", "A/1", "running"]
    assert qss("module", "stop", "A/1", *asking).returncode == 0
    assert shown().endswith("stopped\n")
    split.until(lambda: not split.pair(A, B)["module"]["up"], "a module that has stopped")
    keys_are_exchanged(split)
    split.kill(A1)
    split.start(A1)
    split.until(lambda: split.pair(A, B)["registered"], "a module that registers")
    assert not split.pair(A, B)["attached"], "a stop outlives the module's process"
    uuid = split.pair(A, B)["uuid"]
    ran = qss("module", "start", uuid, "--json", *asking)
    assert json.loads(ran.stdout) == {"pair": uuid, "exchange": True}
    until_more_key(split)
    unknown = qss("module", "stop", "A/9", *asking)
    assert unknown.returncode == 1
    assert "see `qss module list`" in unknown.stderr


def test_a_module_s_certificate_opens_nothing_but_its_registration(split: RunningNetwork) -> None:
    pair = split.network.pki.module(A1)
    assert split.curl(pair, f"/api/v1/keys/{BOB}/enc_keys", site=A).status == 401
    assert split.admin(A, "/status", pair)[0] == 403


def test_another_module_of_the_site_takes_no_modules_place(split: RunningNetwork) -> None:
    """It is refused by the key server, and by the module at the other end, whose stream goes on."""
    network, impostor = split.network, QkdmId("A/9")
    network.pki.issue_module(impostor, ["localhost"], 1)
    (own,) = (module for module in network.modules if module.name == A1)
    toml = replace(own, name=impostor, southbound=0).toml(network.ports[A].external, 'type = "simulator"\nrate_bps = 1')
    network.configuration(impostor).write_text(toml, encoding="utf-8")
    until_more_key(split)
    ended = sum(event["event"] == "key stream ended" for event in split.events(B1))
    split.start(impostor)
    refusal = "module A/9 called, but the other end of this device pair is module A/1's"
    for name, words in ((B1, refusal), (impostor, f"not for {impostor}")):
        split.until(lambda n=name, w=words: any(w in str(event) for event in split.events(n)), f"a refusal at {name}")
    split.kill(impostor)
    until_more_key(split)
    assert sum(event["event"] == "key stream ended" for event in split.events(B1)) == ended


def test_a_module_that_stops_says_so_and_ends_with_0(split: RunningNetwork) -> None:
    assert split.stop(B1) == 0
    split.until(lambda: not split.pair(B, A)["registered"], "site B without module")
    split.start(B1)
    until_more_key(split)
