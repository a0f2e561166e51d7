"""What the client sends, and which answers it takes."""

from __future__ import annotations

import json

import pytest

from qss.client import KeyServerRefused
from qss.client.exchange import ask_keys, ask_keys_with_ids, ask_status
from qss.model.errors import BadRequest, RemoteProtocolError
from qss.model.identifiers import KeyId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyIdsRequest, KeyRequest
from qss.wire.etsi014.answers import render_keys

BOB = SaeId("sae:bob")
IDS = tuple(KeyId(bytes([n]) * 16) for n in range(4))


def container(*positions: int, size: int = 32) -> bytes:
    return render_keys([Key(IDS[position], KeyMaterial(bytes([position]) * size)) for position in positions])


def test_requests_are_what_the_standard_says() -> None:
    status, keys, fetch = (
        ask_status(BOB),
        ask_keys(BOB, KeyRequest(2, 512)),
        ask_keys_with_ids(BOB, KeyIdsRequest(IDS[:1])),
    )
    assert (status.method, status.path, status.body) == ("GET", "/api/v1/keys/sae:bob/status", b"")
    assert (keys.method, keys.path) == ("POST", "/api/v1/keys/sae:bob/enc_keys")
    assert json.loads(keys.body) == {"number": 2, "size": 512}
    assert (fetch.method, fetch.path) == ("POST", "/api/v1/keys/sae:bob/dec_keys")
    assert json.loads(fetch.body) == {"key_IDs": [{"key_ID": str(IDS[0])}]}


def test_a_name_travels_in_the_body() -> None:
    keys, fetch = ask_keys(BOB, KeyRequest(name="n1")), ask_keys_with_ids(BOB, KeyIdsRequest(IDS[:1], "n2"))
    assert json.loads(keys.body)["extension_optional"] == [{"qss_idempotency_key": "n1"}]
    assert json.loads(fetch.body)["key_IDs_extension"] == {"qss_idempotency_key": "n2"}


def test_fetched_keys_come_in_the_order_that_was_asked() -> None:
    keys = ask_keys_with_ids(BOB, KeyIdsRequest(IDS[:3])).result(200, container(2, 0, 1))
    assert [key.key_id for key in keys] == list(IDS[:3])


@pytest.mark.parametrize("positions", [(), (0,), (0, 0), (0, 1, 2), (0, 2), (0, 1, 1)])
def test_other_keys_than_were_asked_for_are_refused(positions) -> None:
    with pytest.raises(RemoteProtocolError):
        ask_keys_with_ids(BOB, KeyIdsRequest(IDS[:2])).result(200, container(*positions))


@pytest.mark.parametrize("positions", [(), (0,), (0, 0), (0, 1, 2)])
def test_fewer_or_more_keys_than_were_asked_for_are_refused(positions) -> None:
    with pytest.raises(RemoteProtocolError):
        ask_keys(BOB, KeyRequest(2)).result(200, container(*positions))


def test_keys_of_another_size_are_refused_if_one_was_asked_for() -> None:
    assert len(ask_keys(BOB, KeyRequest(1)).result(200, container(0, size=44))) == 1
    assert len(ask_keys(BOB, KeyRequest(1, 256)).result(200, container(0))) == 1
    with pytest.raises(RemoteProtocolError):
        ask_keys(BOB, KeyRequest(1, 256)).result(200, container(0, size=31))


def test_no_key_id_or_the_same_twice_is_no_question() -> None:
    for key_ids in ((), (IDS[0], IDS[0])):
        with pytest.raises(BadRequest):
            ask_keys_with_ids(BOB, KeyIdsRequest(key_ids))


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"message": "size shall be a multiple of 8"}', "size shall be a multiple of 8"),
        (503, b'{"message": "sealed", "details": ["odd"]}', "sealed"),
        (401, b"", "certificate"),
        (401, b"<html>", "certificate"),
        (500, b"<html>Internal Server Error</html>", "no reason"),
        (302, b"", "no reason"),
        (204, b"", "no reason"),
    ],
)
def test_refusals(status, body, message) -> None:
    with pytest.raises(KeyServerRefused, match=message) as caught:
        ask_keys(BOB, KeyRequest()).result(status, body)
    assert caught.value.status == status
    assert caught.value.details == ()


def test_details_of_a_refusal() -> None:
    details = [{"extension_mandatory_unsupported": "abc is not supported"}]
    with pytest.raises(KeyServerRefused) as caught:
        ask_status(BOB).result(400, json.dumps({"message": "no", "details": details}).encode())
    assert caught.value.details == tuple(details)


def test_an_exchange_does_not_show_its_body() -> None:
    assert str(IDS[0]) not in repr(ask_keys_with_ids(BOB, KeyIdsRequest(IDS[:1])))
