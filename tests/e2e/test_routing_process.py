"""A site whose routing module is a process of its own, among sites whose nodes have theirs inside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qss.cli.demo.network import Network, _free_ports
from qss.model.identifiers import QksId
from support.network import ALICE, BOB, LINKS, SITES, A, B, C, RunningNetwork, qss, running_network

ROUTING, ADMIN = range(2)


def seen(network: RunningNetwork, site: QksId) -> dict[str, tuple[str | None, str, int]]:
    _, body = network.admin(site, "/routing", network.network.pki.site(site))
    return {
        route["SAE_ID"]: (route["next_hop"], route["dest"], route["length"]) for route in json.loads(body)["routes"]
    }


def configured(network: Network, ports: list[int]) -> Path:
    site = network.ports[B]
    links = "".join(
        f'\n[[links]]\npeer = "{peer}"\naddress = "127.0.0.1:{network.ports[peer].external}"\n' for peer in (A, C)
    )
    path = network.folder / "B.routing.toml"
    path.write_text(
        f'[site]\nid = "B"\nexternal = "127.0.0.1:{site.external}"\n'
        '[tls]\nauthority = "pki/ca.pem"\ncertificate = "pki/sites/B.pem"\nkey = "pki/sites/B.key"\n'
        f'[neighbours]\nlisten = "127.0.0.1:{ports[ROUTING]}"\n[admin]\nlisten = "127.0.0.1:{ports[ADMIN]}"\n{links}',
        "utf-8",
    )
    return path


@contextmanager
def module(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with path.with_suffix(".log").open("ab") as log:
        command = [sys.executable, "-m", "qss.cli.main", "routing", "--config", path, "--log-format", "json"]
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def ports() -> list[int]:
    return _free_ports(2)


def test_the_network_is_the_same_to_all_and_outlives_the_module(tmp_path: Path, ports: list[int]) -> None:
    def edit(site: QksId, toml: str) -> str:
        if site == B:
            return f'{toml}\n[routing]\nprocess = "localhost:{ports[ADMIN]}"\nroute_invalidation_s = 3\n'
        return toml.replace('peer = "B"\n', f'peer = "B"\nrouting = "127.0.0.1:{ports[ROUTING]}"\n')

    with running_network(tmp_path, SITES, edit) as network:
        path = configured(network.network, ports)
        checked = qss("routing", "--config", path, "--check")
        assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, f"{path} can be used"), checked.stderr
        assert set(seen(network, A)) == {"sae:alice"}
        with module(path) as process:
            from_a = {"sae:alice": ("A", "A", 0), "sae:carol": ("B", "C", 2), "sae:bob": ("B", "B", 1)}
            network.until(lambda: from_a.items() <= seen(network, A).items(), "all ways at A")
            network.until(lambda: seen(network, B)["sae:carol"] == ("C", "C", 1), "the way to C at B")
            network.until_keys((ALICE, BOB), count=1)
            assert network.curl(ALICE, f"/api/v1/keys/{BOB}/enc_keys").status == 200
            pair = network.network.pki.site(B)
            asking = ("--url", f"https://localhost:{ports[ADMIN]}", "--cert", pair.certificate, "--key", pair.key,
                      "--ca", network.network.pki.authority.certificate)  # fmt: skip
            origins = {line.split()[0] for line in qss("route", "lsdb", *asking).stdout.splitlines()[1:]}
            assert origins == {"A", "B", "C"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            network.until(lambda: "sae:bob" not in seen(network, A), "what B has withdrawn")
            assert seen(network, A)["sae:carol"] == (None, "C", 0)
        network.until(lambda: not seen(network, B), "nothing known at B without its module")
        with module(path):
            network.until(lambda: from_a.items() <= seen(network, A).items(), "all ways again")
            network.kill(B)
            network.until(lambda: seen(network, A)["sae:carol"] == (None, "C", 0), "no way through a dead key server")
            network.start(B)
            network.until(lambda: from_a.items() <= seen(network, A).items(), "all ways once more")


def test_a_module_that_no_key_server_has_told_anything_says_nothing(tmp_path: Path, ports: list[int]) -> None:
    """As when its node was not told of it, and has another one inside."""

    def outdone(network: RunningNetwork) -> set[str]:
        metrics = network.admin(B, "/metrics", network.network.pki.site(B))[1].decode()
        return {line for line in metrics.splitlines() if 'event="outdone"' in line}

    with running_network(tmp_path, SITES) as network:
        network.until(lambda: seen(network, A).get("sae:carol") == ("B", "C", 2), "the way to C at A")
        before = outdone(network)
        pair = network.network.pki.site(B)
        asking = ("--url", f"https://localhost:{ports[ADMIN]}", "--cert", pair.certificate, "--key", pair.key,
                  "--ca", network.network.pki.authority.certificate)  # fmt: skip
        with module(configured(network.network, ports)):
            network.until(lambda: qss("route", "show", *asking).returncode == 0, "the module's Admin")
            time.sleep(2)
            assert seen(network, A)["sae:carol"] == ("B", "C", 2)
            assert "the routing module of C is not heard (down)" in qss("route", "show", *asking).stdout
        assert outdone(network) == before


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda text: text.replace('id = "B"', 'id = "-"'), "site.id: found '-'"),
        (lambda text: text.replace('peer = "C"', 'peer = "A"'), "links[1].peer: found 'A'"),
        (lambda text: text.replace('peer = "C"', 'peer = "B"'), "links[1].peer: found 'B'"),
        (lambda text: text.replace('"127.0.0.1:3"', '"127.0.0.1:2"'), "admin.listen"),
        (lambda text: f"{text}\n[routing]\ncost_base = 1\n", "routing.cost_base"),
        (lambda text: f'{text}\n[routing]\nprocess = "localhost:1"\n', "routing.process"),
        (lambda text: text.replace("[admin]", '[admin]\nadministrators = ["a b"]'), "admin.administrators[0]"),
        (lambda text: text.replace("sites/B.pem", "sites/A.pem"), "B"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told(tmp_path: Path, edit, told: str) -> None:
    import asyncio

    network = Network(tmp_path, links=LINKS)
    asyncio.run(network.build(lambda _: None))
    path = configured(network, [21, 22])
    path.write_text(edit(path.read_text("utf-8").replace(":21", ":2").replace(":22", ":3")), "utf-8")
    ran = qss("routing", "--config", path, "--check")
    assert ran.returncode == 1
    assert told in ran.stderr
