"""Asks under a name, and recalled keys, at real nodes: with curl, and with the command."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from support.network import ALICE, BOB, A, Answer, B, RunningNetwork, qss

ENC, DEC = f"/api/v1/keys/{BOB}/enc_keys", f"/api/v1/keys/{ALICE}/dec_keys"


def named(network: RunningNetwork, path: str, name: str, body: object, caller: str = ALICE) -> Answer:
    header = ("-H", f"Idempotency-Key: {name}")
    return network.curl(caller, path, *header, "--json", json.dumps(body))


@pytest.fixture
def name() -> str:
    return str(uuid.uuid4())


def test_a_repeat_under_a_header_gets_the_same_container(network: RunningNetwork, name: str) -> None:
    first = named(network, ENC, name, {"number": 3, "size": 128})
    again = named(network, ENC, f'"{name}"', {"size": 128, "number": 3})
    assert first.json == again.json
    body = {"key_IDs": [{"key_ID": key_id} for key_id in first.keys]}
    taken = named(network, DEC, name, body, BOB)
    assert taken.json == first.json
    assert named(network, DEC, name, body, BOB).json == first.json
    refused = network.curl(BOB, DEC, "--json", json.dumps(body))
    assert (refused.status, refused.message) == (400, "one or more keys specified are not found on KME")


def test_a_repeat_under_an_extension_gets_the_same_container(network: RunningNetwork, name: str) -> None:
    extension = {"qss_idempotency_key": name}
    ask = json.dumps({"extension_optional": [extension]})
    first = network.curl(ALICE, ENC, "--json", ask)
    assert network.curl(ALICE, ENC, "--json", ask).json == first.json
    assert named(network, ENC, name, {}).json == first.json  # the place of the name is no part of the request
    body = json.dumps({"key_IDs": [{"key_ID": next(iter(first.keys))}], "key_IDs_extension": extension})
    assert network.curl(BOB, DEC, "--json", body).json == network.curl(BOB, DEC, "--json", body).json


def test_a_repeat_with_get_is_the_same_as_with_post(network: RunningNetwork, name: str) -> None:
    first = named(network, ENC, name, {"size": 128})
    assert network.curl(ALICE, f"{ENC}?size=128", "-H", f"Idempotency-Key: {name}").json == first.json


def test_another_request_under_a_name_is_refused(network: RunningNetwork, name: str) -> None:
    named(network, ENC, name, {"size": 128})
    refused = named(network, ENC, name, {"size": 256})
    assert refused.status == 400
    assert "another request" in refused.message
    for header in ("", "a b", "x" * 256):
        assert named(network, ENC, header or '""', {}).status == 400
    differing = {"extension_optional": [{"qss_idempotency_key": "other"}]}
    assert named(network, ENC, name, differing).status == 400


def as_bob(network: RunningNetwork) -> tuple[str | Path, ...]:
    bob = network.network.pki.sae(BOB)
    return ("--cert", bob.certificate, "--key", bob.key, "--ca", network.network.pki.authority.certificate)


def test_the_command_repeats_under_a_name_and_recalls(network: RunningNetwork, name: str) -> None:
    pki, nodes = network.network.pki, network.network
    alice, site = pki.sae(ALICE), pki.site(A)
    asking = ("--cert", alice.certificate, "--key", alice.key, "--ca", pki.authority.certificate)
    first = qss("key", "get", BOB, "--name", name, "--url", nodes.url(A), *asking)
    assert first.returncode == 0, first.stderr
    assert qss("key", "get", BOB, "--name", name, "--url", nodes.url(A), *asking).stdout == first.stdout
    key_id = first.stdout.split()[0]

    as_site = ("--cert", site.certificate, "--key", site.key, "--ca", pki.authority.certificate)
    admin = f"https://localhost:{nodes.ports[A].admin}"
    assert qss("key", "void", "--id", key_id, "--url", admin, *asking).returncode == 1
    voided = qss("key", "void", "--id", key_id, "--url", admin, *as_site)
    assert voided.returncode == 0, voided.stderr
    assert f"link to {B}: no key was waiting here, and none was burned; what waits at {B} is" in voided.stdout
    refused = network.curl(BOB, f"{DEC}?key_ID={key_id}")
    assert (refused.status, refused.message) == (400, "one or more keys specified are not found on KME")
    taken = qss("key", "get", ALICE, "--url", nodes.url(B), *as_bob(network)).stdout.split()[0]
    voided = qss("key", "void", "--id", taken, "--url", admin, *as_site)
    assert f"link to {B}: 256 bits burned here; what waits at {B} is burned by {B}" in voided.stdout
    told = [event for event in network.events(A) if event["event"] == "keys recalled"]
    assert [event["key_ids"] for event in told[-2:]] == [[key_id], [taken]]
    assert told[-1]["by"] == f"site {A}"
    assert any(event["event"].startswith("the neighbour recalled") for event in network.events(B))
    assert qss("key", "void", "--url", admin, *as_site).returncode == 2
