"""The client of a vendor's box: what it tolerates, what it does not, what it remembers."""

from __future__ import annotations

import json

import pytest

from qss.client.errors import KeyServerRefused
from qss.client.exchange import ask_offer, ask_some_keys, get_key_with_id, get_some_keys
from qss.model.errors import RemoteProtocolError, Shortage
from qss.model.identifiers import KeyId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyRequest
from qss.servers.messages import JSON, Response
from qss.wire.etsi014.answers import render_keys
from qss.wire.etsi014.paths import Method
from support.northbound import FakeKeyService
from support.pki import Pki
from support.vendor_box import always, listening, on, only_get, only_get_by_404, pair_of_boxes

BOB = SaeId("sae:bob")
IDS = tuple(KeyId(bytes([n]) * 16) for n in range(4))


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("box") / "pki")


def container(*positions: int, size: int = 32) -> bytes:
    return render_keys([Key(IDS[position], KeyMaterial(bytes([position]) * size)) for position in positions])


# --- forms --------------------------------------------------------------------------------------------------------


def test_paths_begin_as_the_box_has_them() -> None:
    prefix = "/vendor/etsi014"
    assert ask_offer(BOB, prefix).path == "/vendor/etsi014/sae:bob/status"
    assert ask_some_keys(BOB, KeyRequest(2), prefix).path == "/vendor/etsi014/sae:bob/enc_keys"
    asked = get_some_keys(BOB, KeyRequest(2, 128), prefix)
    assert (asked.method, asked.path) == ("GET", "/vendor/etsi014/sae:bob/enc_keys?number=2&size=128")
    assert get_some_keys(BOB, KeyRequest(2), prefix).path.endswith("?number=2")
    assert get_key_with_id(BOB, IDS[1], prefix).path == f"/vendor/etsi014/sae:bob/dec_keys?key_ID={IDS[1]}"


@pytest.mark.parametrize("asked", [ask_some_keys, get_some_keys])
def test_fewer_keys_are_taken_and_more_are_not(asked) -> None:
    exchange = asked(BOB, KeyRequest(2, 256))
    assert [len(exchange.result(200, container(*range(count)))) for count in range(3)] == [0, 1, 2]
    for body in (container(0, 1, 2), container(0, 0), container(0, size=31)):
        with pytest.raises(RemoteProtocolError):
            exchange.result(200, body)


def test_another_key_than_asked_for_is_refused_by_get_too() -> None:
    assert len(get_key_with_id(BOB, IDS[0]).result(200, container(0))) == 1
    for positions in ((), (1,), (0, 1)):
        with pytest.raises(RemoteProtocolError):
            get_key_with_id(BOB, IDS[0]).result(200, container(*positions))


def test_of_what_a_status_leaves_out_the_least_is_taken() -> None:
    offer = ask_offer(BOB).result(200, b'{"key_size": 128, "master_SAE_ID": null}')
    limits = offer.limits
    assert (limits.key_size, limits.min_key_size, limits.max_key_size, limits.max_key_per_request) == (128, 128, 128, 1)
    assert offer.stored_key_count is None


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"key_size": 0},
        {"key_size": 12},
        {"key_size": -8},
        {"key_size": "256"},
        {"key_size": 256, "max_key_per_request": 0},
        {"key_size": 256, "min_key_size": 512, "max_key_size": 256},
        {"key_size": 256, "stored_key_count": "many"},
    ],
)
def test_a_status_that_offers_nothing_is_refused(status) -> None:
    with pytest.raises(RemoteProtocolError):
        ask_offer(BOB).result(200, json.dumps(status).encode())


# --- boxes --------------------------------------------------------------------------------------------------------


async def test_a_box_with_paths_of_its_own(pki) -> None:
    a, b = pair_of_boxes(pki, FakeKeyService(stock=40))
    a.base_path = b.base_path = "/kme/v2/keys"
    async with listening(a, b), a.client() as master, b.client() as slave:
        assert (await master.offer()).stored_key_count == 40
        keys = await master.fresh_keys(3, 128)
        assert await slave.keys_with_ids([key.key_id for key in keys]) == keys
    assert {method for method, _ in a.asked[1:] + b.asked} == {"POST"}


@pytest.mark.parametrize("oddity", [only_get, only_get_by_404])
async def test_a_box_that_knows_only_get_is_found_out_once(pki, oddity) -> None:
    a, b = pair_of_boxes(pki, FakeKeyService())
    a.oddity = b.oddity = oddity
    async with listening(a, b), a.client() as master, b.client() as slave:
        for _ in range(3):
            keys = await master.fresh_keys(2, 128)
            assert await slave.keys_with_ids([key.key_id for key in keys]) == keys
    assert [method for method, _ in a.asked] == ["POST", "GET", "GET", "GET"]
    assert [method for method, _ in b.asked] == ["POST"] + ["GET"] * 6


async def test_a_box_that_knows_only_get_and_is_short_is_found_out_as_well(pki) -> None:
    service = FakeKeyService(stock=0)
    a, _ = pair_of_boxes(pki, service)
    a.oddity = only_get_by_404
    async with listening(a), a.client() as master:
        with pytest.raises(Shortage, match="status 503"):
            await master.fresh_keys(1)
        service.stock = 1
        assert len(await master.fresh_keys(1)) == 1
    assert [method for method, _ in a.asked] == ["POST", "GET", "GET"]


async def test_a_box_that_understood_a_post_is_not_asked_by_get(pki) -> None:
    a, b = pair_of_boxes(pki, FakeKeyService())
    async with listening(a, b), a.client() as master, b.client() as slave:
        await slave.keys_with_ids([key.key_id for key in await master.fresh_keys(1)])
        with pytest.raises(KeyServerRefused, match="not found"):
            await slave.keys_with_ids(IDS[:2])
    assert {method for method, _ in b.asked} == {"POST"}


async def test_a_refusal_by_either_method_is_told_as_the_post_was_refused(pki) -> None:
    a, _ = pair_of_boxes(pki, FakeKeyService())
    a.oddity = on(Method.ENC_KEYS, always(400, b'{"message": "no such SAE"}'))
    async with listening(a), a.client() as master:
        for _ in range(2):
            with pytest.raises(KeyServerRefused, match="no such SAE"):
                await master.fresh_keys(1)
        a.oddity = None
        assert await master.fresh_keys(1)
    assert a.asked[-1] == ("POST", "enc_keys")


async def test_no_key_is_in_what_is_said_of_an_answer_that_cannot_be_used(pki) -> None:
    secret = "c2VjcmV0c2VjcmV0"
    odd = [secret + "!", secret + "==", secret[:-1] + "_", secret + "\n"]

    async def answer(_) -> Response:
        keys = [{"key_ID": str(IDS[0]), "key": odd.pop()}]
        return Response(200, JSON, json.dumps({"keys": keys}).encode())

    a, _ = pair_of_boxes(pki, FakeKeyService())
    a.oddity = on(Method.ENC_KEYS, answer)
    async with listening(a), a.client() as master:
        while odd:
            with pytest.raises(RemoteProtocolError, match="no base64") as caught:
                await master.fresh_keys(1)
            assert secret[:6] not in repr(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"keys": []}'),
        (503, b""),
        (400, b'{"message": "Insufficient keys in store"}'),
        (400, b'{"message": "not enough key material"}'),
        (404, b'{"message": "No keys available"}'),
    ],
)
async def test_a_shortage_is_one_however_it_is_said(pki, status, body) -> None:
    a, _ = pair_of_boxes(pki, FakeKeyService())
    a.oddity = on(Method.ENC_KEYS, always(status, body))
    async with listening(a), a.client() as master:
        with pytest.raises(Shortage):
            await master.fresh_keys(1)


@pytest.mark.parametrize(
    ("status", "body"), [(400, b'{"message": "unknown SAE"}'), (401, b""), (500, b'{"message": "insufficient disk"}')]
)
async def test_other_refusals_are_no_shortage(pki, status, body) -> None:
    a, _ = pair_of_boxes(pki, FakeKeyService())
    a.oddity = on(Method.ENC_KEYS, always(status, body))
    async with listening(a), a.client() as master:
        with pytest.raises(KeyServerRefused):
            await master.fresh_keys(1)
