"""All three methods of ETSI GS QKD 014 with curl, GET and POST."""

from __future__ import annotations

import json
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from qss.cli.demo.network import CAPACITY_BITS, STRANGER
from support.network import ALICE, BELLA, BOB, CAROL, CHRIS, SLASHED, A, B, RunningNetwork, repeated_bytes, traces_in

NOT_FOUND = "one or more keys specified are not found on KME"
ENC = f"/api/v1/keys/{BOB}/enc_keys"
DEC = f"/api/v1/keys/{ALICE}/dec_keys"


def test_status_says_what_a_key_request_may_ask(network: RunningNetwork) -> None:
    answer = network.curl(ALICE, f"/api/v1/keys/{BOB}/status").json
    assert 0 < answer.pop("stored_key_count") <= answer["max_key_count"]
    assert answer == {
        "source_KME_ID": "A",
        "target_KME_ID": "B",
        "master_SAE_ID": ALICE,
        "slave_SAE_ID": BOB,
        "key_size": 256,
        "max_key_count": CAPACITY_BITS // 256,
        "max_key_per_request": 128,
        "max_key_size": 8192,
        "min_key_size": 64,
        "max_SAE_ID_count": 8,
    }


@pytest.mark.parametrize(
    "ask", [(ENC,), (ENC, "--json", "{}"), (ENC, "--request", "POST")], ids=["get", "{}", "no body"]
)
def test_defaults_are_one_key_of_the_default_size(network: RunningNetwork, ask: tuple[str, ...]) -> None:
    keys = network.curl(ALICE, *ask).keys
    assert [len(key) for key in keys.values()] == [32]
    assert [str(UUID(key_id)) for key_id in keys] == list(keys)


@pytest.mark.parametrize("ask", [(f"{ENC}?number=3&size=128",), (ENC, "--json", '{"number": 3, "size": 128}')])
def test_keys_are_the_same_at_the_slave_and_can_be_had_once(network: RunningNetwork, ask: tuple[str, ...]) -> None:
    got = network.curl(ALICE, *ask).keys
    assert [len(key) for key in got.values()] == [16, 16, 16]
    first, *others = got
    assert network.curl(BOB, f"{DEC}?key_ID={first}").keys == {first: got[first]}
    backwards = others[::-1]
    taken = network.take(BOB, ALICE, backwards)
    assert list(taken.keys) == backwards
    assert taken.keys == {key_id: got[key_id] for key_id in others}
    for answer in (network.curl(BOB, f"{DEC}?key_ID={first}"), network.take(BOB, ALICE, others)):
        assert (answer.status, answer.message) == (400, NOT_FOUND)


def test_the_other_direction_and_the_other_link(network: RunningNetwork) -> None:
    for master, slave in ((BOB, ALICE), (BOB, CAROL), (CAROL, BELLA)):
        got = network.get(master, slave, 5, 1024)
        assert network.take(slave, master, got).keys == got


def test_a_hundred_keys_share_no_bytes(network: RunningNetwork) -> None:
    got = network.get(ALICE, BOB, 100, 1024)
    assert len(got) == 100
    assert not repeated_bytes(got)
    assert network.take(BOB, ALICE, got).keys == got


def test_one_unknown_key_id_keeps_all_the_others(network: RunningNetwork) -> None:
    got = network.get(ALICE, BOB, 2)
    answer = network.take(BOB, ALICE, [*got, str(uuid4())])
    assert (answer.status, answer.message) == (400, NOT_FOUND)
    assert network.take(BOB, ALICE, got).keys == got


def test_additional_slaves_get_the_same_keys_once_each(network: RunningNetwork) -> None:
    body = json.dumps({"number": 2, "additional_slave_SAE_IDs": [CHRIS]})
    got = network.curl(BOB, f"/api/v1/keys/{CAROL}/enc_keys", "--json", body).keys
    for slave in (CHRIS, CAROL):
        assert network.take(slave, BOB, got).keys == got
        assert network.take(slave, BOB, got).status == 400


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        ([{"abc_route_type": "direct"}], "not all extension_mandatory parameters are supported"),
        ([{"qss_direct_only": True}, {"abc_max_age": 30000}], "not all extension_mandatory parameters are supported"),
        ([{"qss_hop": "scenic"}], "not all extension_mandatory request options could be met"),
        (
            [{"qss_direct_only": True}, {"qss_hybrid": "ml-kem-768"}],
            "not all extension_mandatory request options could be met",
        ),
    ],
)
def test_a_mandatory_extension_that_is_not_met(network: RunningNetwork, extensions: object, message: str) -> None:
    answer = network.curl(ALICE, ENC, "--json", json.dumps({"extension_mandatory": extensions}))
    assert (answer.status, answer.message) == (400, message)
    assert all(isinstance(detail, dict) for detail in answer.json["details"])


def test_extensions_that_are_met_or_optional_and_unknown_members(network: RunningNetwork) -> None:
    body = {
        "extension_mandatory": [{"qss_direct_only": True, "qss_avoid": ["C"]}],
        "extension_optional": [
            {"abc_route_type": "direct"},
            {"qss_hop": "scenic"},
            {"qss_hybrid": "ml-kem-768"},
            {"abc_max_age": [{"deep": None}]},
        ],
        "abc_unheard_of": {"of": "this"},
    }
    got = network.curl(ALICE, ENC, "--json", json.dumps(body)).keys
    asked = {"key_IDs": [{"key_ID": key_id, "key_ID_extension": {}, "key": "AAAA"} for key_id in got], "abc": 1}
    assert network.curl(BOB, DEC, "--json", json.dumps(asked)).keys == got
    got = network.curl(ALICE, f"{ENC}?abc_unheard_of=1").keys
    assert network.take(BOB, ALICE, got).keys == got


def test_sae_ids_are_percent_encoded_path_segments(network: RunningNetwork) -> None:
    got = network.curl(ALICE, "/api/v1/keys/sae%3a%62ob/enc_keys").keys
    assert network.curl(BOB, f"/api/v1/keys/sae%3Aalice/dec_keys?key_ID={next(iter(got))}").keys == got
    got = network.curl(ALICE, f"/api/v1/keys/{quote(SLASHED, safe='')}/enc_keys").keys
    assert network.curl(SLASHED, f"{DEC}?key_ID={next(iter(got))}", site=B).keys == got
    assert network.curl(ALICE, f"/api/v1/keys/{SLASHED}/enc_keys").status == 400


def test_a_stranger_gets_401_without_body_from_every_method(network: RunningNetwork) -> None:
    for path in (f"/api/v1/keys/{BOB}/status", ENC, f"{DEC}?key_ID={uuid4()}"):
        assert network.curl(STRANGER, path, site=A).status == 401


def test_the_search_finds_what_it_looks_for() -> None:
    key = bytes(range(200, 232))
    for spelled in (key.hex(), key.hex().upper(), repr(key), json.dumps({"event": repr(key)})):
        assert traces_in(f"xx{spelled}".encode(), [key])
    assert traces_in(b'{"key": "yMnKy8zNzs/Q0dLT1NXW19jZ2tvc3d7f4OHi4+Tl5uc="}', [key])
    assert traces_in(b"yMnKy8zNzs_Q0dLT1NXW19jZ2tvc3d7f4OHi4-Tl5uc", [key])
    assert traces_in(b'Traceback (most recent call last):\n  File "a.py", line 1', [])
    assert repeated_bytes({"1": key, "2": b"x" + key[9:]}) != []
    assert not traces_in(b'{"event": "serving"}', [key])
