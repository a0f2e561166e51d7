"""A node that cannot start says why, in one line, and ends; whatever it was pointed at is left as it is."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qss.adapters.keyrings.key_file import make_key_file
from qss.cli.demo.network import Network
from support.network import ALICE, BOB, LINKS, A, RunningNetwork, qss, traces_in

PASSPHRASE, OTHER_PASSPHRASE = "a passphrase for tests", "another one of twelve"


@dataclass(frozen=True)
class Case:
    """A change to a configuration that works, and words of the complaint about it."""

    change: tuple[str, str]
    complaint: tuple[str, ...]


KEYRING = 'type = "key-file"\nfile = "A.master"'
CASES = {
    "unknown key": Case(
        ("[northbound]", "[northbound]\nmax_bdy_bytes = 5"),
        ("northbound.max_bdy_bytes", "an unknown key", "'max_body_bytes', perhaps"),
    ),
    "wrong type": Case(
        ("[northbound]", '[northbound]\nrequest_timeout_s = "5"'),
        ("northbound.request_timeout_s", "found '5'", "allowed: a number above 0 to 86400"),
    ),
    "no TOML": Case(("[northbound]", "[northbound"), ("syntax error", "line ")),
    "wrong key file": Case((KEYRING, 'type = "key-file"\nfile = "other.master"'), ("does not open this data key",)),
    "no key file": Case((KEYRING, 'type = "key-file"\nfile = "no.master"'), ("no.master cannot be read",)),
    "open key file": Case((KEYRING, 'type = "key-file"\nfile = "open.master"'), ("chmod 600",)),
    "wrong passphrase": Case(
        (
            f'data = "A.data"\n\n[keyring]\n{KEYRING}',
            'data = "P.data"\n\n[keyring]\ntype = "passphrase"\nfile = "wrong"',
        ),
        ("does not open this data key",),
    ),
    "wrong kind of key ring": Case(('data = "A.data"', 'data = "P.data"'), ("passphrase",)),
    "no data folder": Case(('data = "A.data"', 'data = "nowhere"'), ("nowhere", "qss init")),
    "another site's data folder": Case(('data = "A.data"', 'data = "B.data"'), ("belongs to site B",)),
    "damaged store": Case(
        ('data = "A.data"', 'data = "damaged"'), ("damaged", "from a back-up", "keys that were not fetched yet")
    ),
    "another's private key": Case(('key = "pki/sites/A.key"', 'key = "pki/sites/B.key"'), ("B.key",)),
    "no certificate": Case(('"pki/sites/A.pem"', '"pki/sites/Z.pem"'), ("Z.pem",)),
    "port in use": Case(
        ("NORTHBOUND", "TAKEN"),
        ("in use", "northbound.listen: cannot listen on 127.0.0.1 port", "configure another address"),
    ),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, str, str, str]]]:
    """Start a node for each case, all at the same time: exit status, stdout, stderr, the configuration's name."""
    folder = tmp_path_factory.mktemp("start")
    network = Network(folder, links=LINKS)
    asyncio.run(network.build(lambda _: None))
    make_key_file(folder / "other.master")
    shutil.copy(folder / "A.master", folder / "open.master")
    (folder / "open.master").chmod(0o644)
    for name, text in (("right", PASSPHRASE), ("wrong", OTHER_PASSPHRASE)):
        (folder / name).touch(0o600)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    made = qss("init", folder / "P.data", "--site", "A", "--passphrase-file", folder / "right")
    assert made.returncode == 0, made.stderr
    shutil.copytree(folder / "A.data", folder / "damaged")
    (folder / "damaged" / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        yield run_all(network, lambda text: text.replace("TAKEN", str(port)))


def run_all(network: Network, put_port: Callable[[str], str]) -> dict[str, tuple[int, str, str, str]]:
    text = network.configuration(A).read_text(encoding="utf-8")
    northbound = str(network.ports[A].northbound)
    running = {}
    for number, (name, case) in enumerate(CASES.items()):
        old, new = (northbound if part == "NORTHBOUND" else put_port(part) for part in case.change)
        assert old in text, name
        file = network.folder / f"case-{number}.toml"
        # Each case has an anchor of its own, as it would have on a machine of its own.
        file.write_text(text.replace(old, new).replace("[site]", f'[site]\nanchor = "{number}.anchor"'), "utf-8")
        command = [sys.executable, "-m", "qss.cli.main", "node", "--config", str(file), "--log-format", "json"]
        running[name] = (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True),
            file.name,
        )
    result = {}
    for name, (process, file_name) in running.items():
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
        result[name] = (process.returncode, out, err, file_name)
    return result


def complaint_in(err: str) -> str:
    """Return why the node ended. Every line is one of the log, and one of them says it."""
    (reason,) = [
        line["reason"] for line in map(json.loads, err.splitlines()) if line["event"] == "the node cannot go on"
    ]
    return str(reason)


@pytest.mark.parametrize("name", CASES)
def test_one_line_says_what_is_wrong(ended: dict[str, tuple[int, str, str, str]], name: str) -> None:
    status, out, err, file_name = ended[name]
    assert status == 1, err
    assert out == ""
    line = complaint_in(err)
    assert all(part in line for part in CASES[name].complaint), line
    if CASES[name].complaint[0].startswith("northbound."):
        assert file_name in line
    assert not traces_in(err.encode(), [PASSPHRASE.encode(), OTHER_PASSPHRASE.encode()])


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    complaint = f"{tmp_path / 'no.toml'}: found no such file; allowed: the path of a TOML file"
    for log_format, told in (("json", complaint_in), ("text", str)):
        ran = qss("node", "--config", tmp_path / "no.toml", "--log-format", log_format)
        assert ran.returncode == 1
        assert told(ran.stderr) == (complaint if log_format == "json" else f"qss: {complaint}\n")


def test_a_store_is_opened_once(network: RunningNetwork) -> None:
    ports = network.network.ports[A]
    text = network.network.configuration(A).read_text(encoding="utf-8")
    for port in (ports.northbound, ports.external, ports.admin):
        text = text.replace(f'listen = "127.0.0.1:{port}"', 'listen = "127.0.0.1:0"')
    second = network.network.folder / "second.toml"
    second.write_text(text, encoding="utf-8")
    ran = qss("node", "--config", second, "--log-format", "json")
    assert ran.returncode == 1
    line = complaint_in(ran.stderr)
    assert "another process has the data folder" in line
    assert "stop it first" in line

    assert json.loads(network.admin(A, "/status", network.network.pki.site(A))[1])["ready"]
    got = network.get(ALICE, BOB)
    assert network.take(BOB, ALICE, got).keys == got
