"""What key servers answer: the standard's data models to the letter, and what a client refuses to take."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import KeyId, QksId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyLimits, PairStatus
from qss.wire.etsi014 import answers
from qss.wire.etsi014.answers import (
    parse_error,
    parse_keys,
    parse_status,
    render_error,
    render_keys,
    render_status,
)

ID = "1ab7c2d4-05b6-8abc-9def-0123456789ab"
SECRET = bytes(range(0xF0, 0x100)) + b"\xfb\xff\xbf"
STATUS = PairStatus(
    QksId("A"), QksId("B"), SaeId("sae:alice"), SaeId("sae:bob"), 25000, 100000, KeyLimits(352, 64, 1024, 128, 0)
)


def test_a_status_has_the_members_of_the_standard() -> None:
    assert json.loads(render_status(STATUS)) == {
        "source_KME_ID": "A",
        "target_KME_ID": "B",
        "master_SAE_ID": "sae:alice",
        "slave_SAE_ID": "sae:bob",
        "key_size": 352,
        "stored_key_count": 25000,
        "max_key_count": 100000,
        "max_key_per_request": 128,
        "max_key_size": 1024,
        "min_key_size": 64,
        "max_SAE_ID_count": 0,
    }
    assert parse_status(render_status(STATUS)) == STATUS


def test_a_status_of_another_vendor_is_read() -> None:
    model = json.loads(render_status(STATUS)) | {"source_KME_ID": "KME / \u00fc", "status_extension": {"x": [1]}}
    assert parse_status(json.dumps(model).encode()).source_kme == "KME / \u00fc"


@pytest.mark.parametrize("member", json.loads(render_status(STATUS)))
def test_every_member_of_a_status_is_needed_and_typed(member) -> None:
    model = json.loads(render_status(STATUS))
    with pytest.raises(RemoteProtocolError):
        parse_status(json.dumps(model | {member: [1]}).encode())
    del model[member]
    with pytest.raises(RemoteProtocolError):
        parse_status(json.dumps(model).encode())


def test_keys_are_in_standard_base64_with_padding() -> None:
    rendered = json.loads(render_keys([Key(KeyId.parse(ID.upper()), KeyMaterial(SECRET))]))
    assert rendered == {"keys": [{"key_ID": ID, "key": base64.b64encode(SECRET).decode()}]}
    assert set("+/=") <= set(rendered["keys"][0]["key"])


@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(max_size=40)), max_size=5))
def test_keys_come_back(pairs) -> None:
    keys = tuple(Key(KeyId(key_id), KeyMaterial(secret)) for key_id, secret in pairs)
    assert parse_keys(render_keys(keys)) == keys


def test_extensions_in_a_key_container_are_ignored() -> None:
    body = {
        "keys": [{"key_ID": ID, "key_ID_extension": {}, "key": "AAAA", "key_extension": 1}],
        "key_container_extension": {},
    }
    assert parse_keys(json.dumps(body).encode()) == (Key(KeyId.parse(ID), KeyMaterial(bytes(3))),)


@pytest.mark.parametrize(
    "entry",
    [{"key_ID": "x", "key": "c2VjcmV0"}, {"key_ID": ID, "key": "c2Vjc-_0"}, {"key_ID": ID, "key": "c2VjcmV"},
     {"key_ID": ID, "key": "c2Vj cmV0"}, {"key_ID": ID}, {"key": "c2VjcmV0"}, {"key_ID": ID, "key": 5}, "c2VjcmV0",
     {"key_ID": "c2VjcmV0", "key": "c2VjcmV0"}, {"key_ID": ID, "key": "c2VjcmV0\u00fc"}],
)  # fmt: skip
def test_a_bad_key_is_refused_and_not_shown(entry) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_keys(json.dumps({"keys": [entry]}).encode())
    assert "c2V" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_key_objects_do_not_show_their_key() -> None:
    shown = repr(answers._KeyContainer([answers._KeyObject(ID, "c2VjcmV0")]))
    assert ID in shown
    assert "c2VjcmV0" not in shown


def test_errors() -> None:
    assert json.loads(render_error("no")) == {"message": "no"}
    details = [{"extension_mandatory_unsupported": "abc_route_type is not supported"}]
    assert json.loads(render_error("no", details)) == {"message": "no", "details": details}
    assert parse_error(render_error("no", details)) == ("no", tuple(details))
    assert parse_error(render_error("no")) == ("no", ())


@pytest.mark.parametrize("details", ['["a"]', '"a"', "1", "null", "[" * 3000 + "]" * 3000])
def test_details_of_another_form_do_not_cost_the_message(details) -> None:
    assert parse_error(f'{{"message": "no", "details": {details}}}'.encode()) == ("no", ())


@given(st.binary() | st.sampled_from([b"", b"{}", b"[]", b"<html>", b'{"message": 1}', b'{"keys": 1}', b"[" * 5000]))
def test_other_bodies_are_refused_as_the_servers_fault(body) -> None:
    for parse in (parse_status, parse_keys, parse_error):
        with pytest.raises(RemoteProtocolError):
            parse(body)
