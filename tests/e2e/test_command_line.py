"""`qss key` and `qss pki` as processes, and certificates that come from elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from qss.app.homes import state_home
from qss.cli.demo.network import HOMES, STRANGER, Network
from qss.model.identifiers import QksId, SaeId
from qss.pki.folder import Pair
from support.gaps import gap
from support.network import ALICE, BOB, A, B, RunningNetwork, as_pair, curl, qss, running_network

EXTENSIONS = "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"


def as_sae(network: RunningNetwork, sae: SaeId, at: QksId | None = None) -> list[str | Path]:
    pair, pki = network.network.pki.sae(sae), network.network.pki
    url = network.network.url(at or HOMES[sae])
    return ["--url", url, "--cert", pair.certificate, "--key", pair.key, "--ca", pki.authority.certificate]


def test_key_get_and_take(network: RunningNetwork) -> None:
    got = qss("key", "get", BOB, "--number", "2", "--size", "128", *as_sae(network, ALICE))
    assert (got.returncode, got.stderr) == (0, "")
    keys = dict(line.split() for line in got.stdout.splitlines())
    network.note({key_id: b64decode(key) for key_id, key in keys.items()})
    assert [len(b64decode(key)) for key in keys.values()] == [16, 16]

    first, second = keys
    taken = qss("key", "take", ALICE, second, first, *as_sae(network, BOB), "--json")
    assert taken.returncode == 0, taken.stderr
    assert json.loads(taken.stdout) == {"keys": [{"key_ID": one, "key": keys[one]} for one in (second, first)]}

    again = qss("key", "take", ALICE, first, *as_sae(network, BOB))
    assert (again.returncode, again.stdout) == (1, "")
    expected = "qss: the key server refused with status 400: one or more keys specified are not found on KME\n"
    assert again.stderr == expected


def test_key_status(network: RunningNetwork) -> None:
    told = qss("key", "status", BOB, *as_sae(network, ALICE))
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("sae:alice at A, with sae:bob at B\n")
    assert json.loads(qss("key", "status", BOB, *as_sae(network, ALICE), "--json").stdout)["slave_SAE_ID"] == BOB


@pytest.mark.parametrize("case", ["stranger", "no uuid", "no server"])
def test_key_says_in_one_line_why_there_is_none(network: RunningNetwork, case: str) -> None:
    ran, words = {
        "stranger": lambda: (qss("key", "get", BOB, *as_sae(network, STRANGER, A)), "status 401"),
        "no uuid": lambda: (qss("key", "take", ALICE, "abc", *as_sae(network, BOB)), "no UUID"),
        "no server": lambda: (
            qss("key", "get", BOB, *as_sae(network, ALICE), "--url", "https://localhost:1"),
            "cannot connect",
        ),
    }[case]()
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("qss: ")
    assert words in ran.stderr


@pytest.mark.parametrize(
    "command", [["init", "A.data", "--site", "A"], ["zeroize", "A.data"]], ids=lambda words: words[0]
)
def test_ctrl_c_at_a_prompt_is_told_as_shells_do(tmp_path: Path, command: list[str]) -> None:
    if command[0] == "zeroize":
        made = qss("init", tmp_path / "A.data", "--site", "A", "--key-file", tmp_path / "master", "--make-key")
        assert made.returncode == 0, made.stderr
    before = sorted(tmp_path.rglob("*"))
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "qss.cli.main", *command],
        **dict.fromkeys(("stdin", "stdout", "stderr"), end),
        cwd=tmp_path,
        start_new_session=True,  # so that its own terminal, and not that of the tests, is asked
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell has background jobs ignore it
    )
    os.close(end)
    try:
        said = b""
        while b": " not in said:
            said += os.read(terminal, 1024)
        assert interrupted(process) == 130
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert sorted(tmp_path.rglob("*")) == before


def interrupted(process: subprocess.Popen[bytes]) -> int:
    """Press Ctrl-C until the process ends: one that comes just before it listens for a line can get lost."""
    for _ in range(20):
        os.kill(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(3)
    raise AssertionError("it does not end")


def test_pki_signs_a_request_made_elsewhere(network: RunningNetwork, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    pki.mkdir()
    authority = network.network.pki.authority
    shutil.copy(authority.certificate, pki / "ca.pem")
    shutil.copy(authority.key, pki / "ca.key")
    key, request = tmp_path / "own.key", tmp_path / "own.csr"
    openssl("req", "-new", *fresh_key(key), "-subj", "/CN=somebody else", "-out", request)
    arguments = ("pki", "sign", request, "--pki", pki, "--sae", ALICE, "--days", "5")
    assert qss(*arguments).returncode == 0
    pair = Pair(pki / "saes" / "sae_alice.pem", key)
    assert network.curl(pair, f"/api/v1/keys/{BOB}/status", site=A).json["master_SAE_ID"] == ALICE

    before = pair.certificate.read_bytes()
    again = qss(*arguments)
    assert again.returncode == 1
    assert "sae_alice.pem" in again.stderr
    assert pair.certificate.read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600


def test_certificates_of_an_outside_authority(tmp_path: Path) -> None:
    """An RSA authority that openssl made; sites named by URI, one application by URI, one by common name alone."""
    with running_network(tmp_path, (A, B), prepare=certify_with_openssl) as network:
        network.until_keys((ALICE, BOB), (BOB, ALICE), count=2)
        got = network.get(ALICE, BOB, 2)
        assert network.take(BOB, ALICE, got).keys == got
        ours = tmp_path / "ours" / "saes" / "sae_alice"
        own = Pair(ours.with_suffix(".pem"), ours.with_suffix(".key"))
        url, authority = network.network.url(A), network.network.pki.authority.certificate
        answer = curl(f"{url}/api/v1/keys/{BOB}/status", "--cacert", authority, *as_pair(own))
        assert answer.status == 0


def certify_with_openssl(network: Network) -> None:
    """Put certificates of another authority in the place of all that the demo made."""
    pki = network.pki
    shutil.copytree(pki.root, network.folder / "ours")
    authority = pki.authority
    usage = "keyUsage=critical,keyCertSign,cRLSign"
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "5", "-subj", "/O=Elsewhere/CN=Outside authority"),
        *("-addext", usage, "-keyout", authority.key, "-out", authority.certificate),
    )
    for site in (A, B):
        issue(authority, pki.site(site), f"/CN=qks-{site}", f"subjectAltName=URI:qks:{site},DNS:localhost,IP:127.0.0.1")
    issue(authority, pki.sae(ALICE), "/CN=an application", f"subjectAltName=URI:{ALICE}")
    issue(authority, pki.sae(BOB), f"/CN={BOB}", "")
    for sae, home in HOMES.items():
        pki.home(sae).unlink()
        state_home(pki, sae, home, 1)


def issue(authority: Pair, pair: Pair, subject: str, names: str) -> None:
    request, extensions = pair.key.with_suffix(".csr"), pair.key.with_suffix(".ext")
    extensions.write_text(EXTENSIONS + names + "\n", encoding="utf-8")
    pair.key.unlink()
    openssl("req", "-new", *fresh_key(pair.key), "-subj", subject, "-out", request)
    openssl(
        *("x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial"),
        *("-days", "5", "-extfile", extensions, "-out", pair.certificate),
    )


def fresh_key(path: Path) -> list[str | Path]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", path]


def openssl(*arguments: str | Path) -> None:
    try:
        ran = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        gap("there is no openssl command", "install OpenSSL 3")
    assert ran.returncode == 0, ran.stderr
