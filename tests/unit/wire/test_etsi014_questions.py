"""What callers ask, in every way in which it can be right or wrong."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qss.model.errors import BadRequest
from qss.model.identifiers import KeyId, SaeId
from qss.model.keys import KeyIdsRequest, KeyRequest
from qss.wire.etsi014 import questions
from qss.wire.etsi014.paths import Method, parse_path, parse_segment, render_path
from qss.wire.etsi014.questions import (
    MAX_ADDITIONAL_SLAVES,
    MAX_EXTENSIONS,
    MAX_INTEGER,
    NOT_MULTIPLE_OF_8,
    parse_key_ids,
    parse_key_ids_query,
    parse_key_request,
    parse_key_request_query,
    render_key_ids,
    render_key_request,
)

ALICE, BOB, CAROL, DAVE = (SaeId(f"sae:{name}") for name in ("alice", "bob", "carol", "dave"))
ID = "1ab7c2d4-05b6-8abc-9def-0123456789ab"
OTHER = "1ab7c2d4-05b6-8abc-9def-0123456789ac"

SAE_IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30).map(SaeId)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional", "key_IDs", "key_ID"]
)


def ask(body: bytes | object) -> KeyRequest:
    return parse_key_request(body if isinstance(body, bytes) else json.dumps(body).encode(), ALICE, BOB)


def ids(body: bytes | object) -> tuple[KeyId, ...]:
    return parse_key_ids(body if isinstance(body, bytes) else json.dumps(body).encode()).key_ids


# --- Key request --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{}", b" { } ", b'{"unknown": [1, {"number": 5}]}'])
def test_an_empty_key_request_asks_for_one_key_of_the_servers_size(body) -> None:
    assert ask(body) == KeyRequest(1, None)


def test_a_full_key_request() -> None:
    body = {
        "number": 20,
        "size": 512,
        "additional_slave_SAE_IDs": [CAROL, DAVE],
        "extension_mandatory": [{"abc_route_type": "direct"}, {"abc_transfer_method": "qkd"}],
        "extension_optional": [{"abc_max_age": 30000, "abc_more": None}],
    }
    assert ask(body) == KeyRequest(
        20,
        512,
        (CAROL, DAVE),
        (("abc_route_type", "direct"), ("abc_transfer_method", "qkd")),
        (("abc_max_age", 30000), ("abc_more", None)),
    )


@pytest.mark.parametrize("member", ["number", "size"])
@pytest.mark.parametrize(
    "value",
    ["0", "-8", "-0", "true", "false", "null", '"8"', '"abc01"', "8.0", "1e3", "8.5", "[]", "{}", "[8]", "9" * 19,
     str(2**63), str(2**64), "9" * 4000, "9" * 60_000, "-" + "9" * 60_000, "1e999"],
)  # fmt: skip
def test_what_is_no_positive_integer_is_refused_at_no_cost(member, value) -> None:
    began = time.perf_counter()
    with pytest.raises(BadRequest) as caught:
        ask(f'{{"{member}": {value}}}'.encode())
    assert time.perf_counter() - began < 1
    assert len(caught.value.message) < 300
    assert caught.value.details == ()


@pytest.mark.parametrize("size", [1, 7, 9, 255, 257, MAX_INTEGER])
def test_a_size_that_is_no_multiple_of_8_gets_the_literal_message(size) -> None:
    for parse in (lambda: ask({"size": size}), lambda: parse_key_request_query(f"size={size}")):
        with pytest.raises(BadRequest) as caught:
            parse()
        assert caught.value.message == NOT_MULTIPLE_OF_8 == "size shall be a multiple of 8"


def test_the_largest_integers_are_left_to_the_limits() -> None:
    assert ask({"number": MAX_INTEGER, "size": MAX_INTEGER - 7}) == KeyRequest(MAX_INTEGER, MAX_INTEGER - 7)


@pytest.mark.parametrize(
    "slaves",
    [[], [""], [" "], ["sae:x y"], ["sae:\u00fc"], ["x" * 256], [CAROL, CAROL], [ALICE], [BOB], [CAROL, BOB], [1],
     [None], [[CAROL]], CAROL, {"0": CAROL}, None],
)  # fmt: skip
def test_additional_slaves_that_are_refused(slaves) -> None:
    with pytest.raises(BadRequest, match="additional_slave_SAE_IDs") as caught:
        ask({"additional_slave_SAE_IDs": slaves})
    assert caught.value.details == ()


def test_lists_have_caps() -> None:
    slaves = [f"sae:{i}" for i in range(MAX_ADDITIONAL_SLAVES + 1)]
    assert len(ask({"additional_slave_SAE_IDs": slaves[1:]}).additional_slaves) == MAX_ADDITIONAL_SLAVES
    extensions = [{f"abc_{i}": i} for i in range(MAX_EXTENSIONS + 1)]
    assert len(ask({"extension_optional": extensions[1:]}).extension_optional) == MAX_EXTENSIONS
    for body in (
        {"additional_slave_SAE_IDs": slaves},
        {"extension_mandatory": extensions},
        {"extension_optional": [{f"abc_{i}": i for i in range(MAX_EXTENSIONS + 1)}]},
        {"extension_optional": [{}] * (MAX_EXTENSIONS + 1)},
    ):
        with pytest.raises(BadRequest, match="more than"):
            ask(body)


@pytest.mark.parametrize("member", ["extension_mandatory", "extension_optional"])
@pytest.mark.parametrize("value", [{}, {"abc_a": 1}, "abc_a", ["abc_a"], [1], [None], [["abc_a", 1]], None, 1])
def test_extensions_of_another_shape_are_refused(member, value) -> None:
    with pytest.raises(BadRequest, match=member):
        ask({member: value})


BROKEN = [
    b" ", b"{", b"}", b"[]", b"null", b"1", b'"x"', b"{}{}", b"{} x", b"{'number': 1}", b'{"number": 01}',
    b'{"number"}', b'{"number": 1,}', b'{"x": NaN}', b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'{"x": "\xff"}',
    b'{"x": "\xed\xa0\x80"}', b'{"x": "a\nb"}', b"number=1", b"\x1f\x8b\x08\x00", b'{"x": ' + b"[" * 60_000,
    b'{"x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b'{"extension_optional": ' + b'[{"a":' * 5000 + b"1" + b"}]" * 5000 + b"}", b"[" * 60_000,
]  # fmt: skip


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_json_object_is_refused(body) -> None:
    for parse in (ask, ids):
        with pytest.raises(BadRequest):
            parse(body)


def test_a_refusal_repeats_no_long_input() -> None:
    with pytest.raises(BadRequest) as caught:
        ask({"additional_slave_SAE_IDs": [" " + "x" * 50_000]})
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", KeyRequest()),
        ("number=3", KeyRequest(3)),
        ("size=1024", KeyRequest(1, 1024)),
        ("number=3&size=1024", KeyRequest(3, 1024)),
        ("size=%36%34", KeyRequest(1, 64)),
        ("unknown=1&number=2&&", KeyRequest(2)),
    ],
)
def test_a_query_of_get_key(query, expected) -> None:
    assert parse_key_request_query(query) == expected


@pytest.mark.parametrize("member", ["number", "size"])
@pytest.mark.parametrize(
    "value",
    ["", "0", "-8", "+8", "%2B8", " 8", "8%20", "8+", "abc01", "8.0", "1e3", "0x8", "08", "8_0", "\u0664", "%D9%A8",
     "true", "9" * 20, str(2**63 + 8), "9" * 8000],
)  # fmt: skip
def test_a_query_with_what_is_no_positive_integer_is_refused(member, value) -> None:
    with pytest.raises(BadRequest, match=member):
        parse_key_request_query(f"{member}={value}")


@pytest.mark.parametrize(
    "query",
    ["number=1&number=1", "size=8&number=1&size=16", "x=1&x=2", "number=%ff", "%ff=1", "&".join(["x=1"] * 33),
     "additional_slave_SAE_IDs=sae:carol", "extension_mandatory=x", "extension_optional="],
)  # fmt: skip
def test_a_query_that_cannot_be_answered_as_meant_is_refused(query) -> None:
    with pytest.raises(BadRequest):
        parse_key_request_query(query)


# --- Key IDs ------------------------------------------------------------------------------------------------------


def test_key_ids_come_in_their_order_and_unknown_members_are_ignored() -> None:
    body = {
        "key_IDs": [
            {"key_ID": OTHER.upper(), "key": "c2VjcmV0", "key_ID_extension": {"a": 1}},
            {"key_ID": ID, "key_ID_extension": None},
        ],
        "key_IDs_extension": {},
    }
    assert ids(body) == (KeyId.parse(OTHER), KeyId.parse(ID))


@pytest.mark.parametrize(
    "body",
    [b"", {}, {"key_IDs": []}, {"key_IDs": None}, {"key_IDs": ID}, {"key_IDs": [ID]}, {"key_IDs": {"key_ID": ID}},
     {"key_IDs": [{}]}, {"key_IDs": [{"key_id": ID}]}, {"key_IDs": [{"key_ID": 1}]}, {"key_IDs": [None]},
     {"key_ID": ID}],
)  # fmt: skip
def test_key_ids_of_another_shape_are_refused(body) -> None:
    with pytest.raises(BadRequest, match=r"key_ID|shape|JSON"):
        ids(body)


NO_UUIDS = ["", " ", "abc", ID[:-1], ID + "0", ID.replace("-", ""), "{" + ID + "}", "urn:uuid:" + ID, " " + ID,
            ID + "\n", ID.replace("a", "g"), ID.replace("1", "\u0661"), "x" * 50_000]  # fmt: skip


@pytest.mark.parametrize("text", NO_UUIDS, ids=range(len(NO_UUIDS)))
def test_a_key_id_that_is_no_uuid_is_refused(text) -> None:
    for parse in (
        lambda: ids({"key_IDs": [{"key_ID": ID}, {"key_ID": text}]}),
        lambda: parse_key_ids_query(f"key_ID={quote(text)}"),
    ):
        with pytest.raises(BadRequest, match="UUID") as caught:
            parse()
        assert len(caught.value.message) < 300


def test_a_key_that_is_asked_for_twice_is_not_found_twice() -> None:
    with pytest.raises(BadRequest) as caught:
        ids({"key_IDs": [{"key_ID": ID}, {"key_ID": OTHER}, {"key_ID": ID.upper()}]})
    assert caught.value.message == "one or more keys specified are not found on KME"


def test_key_ids_have_a_cap(monkeypatch) -> None:
    monkeypatch.setattr(questions, "MAX_KEY_IDS", 3)
    entries = [{"key_ID": f"{ID[:-1]}{i}"} for i in range(4)]
    assert len(ids({"key_IDs": entries[:3]})) == 3
    with pytest.raises(BadRequest, match="more than 3"):
        ids({"key_IDs": entries})


def test_a_query_of_get_key_with_key_ids() -> None:
    assert parse_key_ids_query(f"x=1&key_ID={ID}") == KeyIdsRequest((KeyId.parse(ID),))
    assert parse_key_ids_query(f"key_ID={ID.replace('-', '%2D')}") == KeyIdsRequest((KeyId.parse(ID),))
    for query in (
        "",
        "key_id=" + ID,
        f"key_ID={ID}&key_ID={OTHER}",
        f"key_ID={ID}&key_ID={ID}",
        f"key_ID={ID},{OTHER}",
    ):
        with pytest.raises(BadRequest, match=r"key_ID|once|UUID"):
            parse_key_ids_query(query)


# --- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "sae", "method"),
    [
        ("/api/v1/keys/sae:alice/status", "sae:alice", Method.STATUS),
        ("/api/v1/keys/sae%3Aalice/enc_keys", "sae:alice", Method.ENC_KEYS),
        ("/api/v1/keys/sae%3aalice/dec_keys", "sae:alice", Method.DEC_KEYS),
        ("/api/v1/keys/a%2Fb%25/status", "a/b%", Method.STATUS),
        ("/api/v1/keys/a+b/status", "a+b", Method.STATUS),
        ("/api/v1/keys/status/status", "status", Method.STATUS),
    ],
)
def test_a_path(path, sae, method) -> None:
    segment, found = parse_path(path)
    assert (parse_segment(segment), found) == (sae, method)


@pytest.mark.parametrize(
    "path",
    ["", "/", "*", "/api/v1/keys", "/api/v1/keys/", "/api/v1/keys/x", "/api/v1/keys/x/", "/api/v1/keys/x/keys",
     "/api/v1/keys/x/status/", "/api/v1/keys/x/y/status", "/api/v1/keys//x/status", "/api/v2/keys/x/status",
     "//api/v1/keys/x/status", "/api/v1/keys/x/STATUS", "/api/v1/keys/x/stat%75s", "x/api/v1/keys/x/status",
     "/kdapi/v2/status", "/api/v1/keys/x/status\n"],
)  # fmt: skip
def test_any_other_path_is_refused(path) -> None:
    with pytest.raises(BadRequest):
        parse_path(path)


@pytest.mark.parametrize("segment", ["", "%20", " ", "%00", "a%0Ab", "%ff", "%C3%BC", "\u00fc", "x" * 256, "a%20b"])
def test_a_segment_that_spells_no_sae_id_is_refused(segment) -> None:
    with pytest.raises(BadRequest):
        parse_segment(segment)


# --- properties ---------------------------------------------------------------------------------------------------


@given(SAE_IDS, st.sampled_from(Method))
def test_paths_come_back(sae, method) -> None:
    segment, found = parse_path(render_path(sae, method))
    assert (parse_segment(segment), found) == (sae, method)


NAMES = st.none() | st.from_regex(r"[!#-\[\]-~]{1,255}", fullmatch=True)
EXTENSIONS = st.lists(st.tuples(st.text(max_size=8), st.none() | st.text() | st.integers(0, 99)), max_size=4).map(tuple)


@given(
    st.integers(1, MAX_INTEGER),
    st.none() | st.integers(1, MAX_INTEGER // 8).map(lambda n: 8 * n),
    st.lists(SAE_IDS.filter(lambda sae: sae not in (ALICE, BOB)), unique=True, max_size=4).map(tuple),
    EXTENSIONS,
    EXTENSIONS,
    NAMES,
)
def test_key_requests_come_back(number, size, slaves, mandatory, optional, name) -> None:
    request = KeyRequest(number, size, slaves, mandatory, optional, name)
    assert parse_key_request(render_key_request(request), ALICE, BOB) == request


@given(st.lists(st.binary(min_size=16, max_size=16).map(KeyId), min_size=1, max_size=5, unique=True), NAMES)
def test_key_ids_come_back(key_ids, name) -> None:
    request = KeyIdsRequest(tuple(key_ids), name)
    assert parse_key_ids(render_key_ids(request)) == request


@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(MEMBERS, JSON).map(lambda value: json.dumps(value).encode())
    | st.lists(st.dictionaries(MEMBERS, JSON)).map(lambda entries: json.dumps({"key_IDs": entries}).encode())
)
@example(b'{"extension_optional": [{"\\ud800": 1}]}')
def test_bodies_are_read_or_refused_and_nothing_else(body) -> None:
    for parse in (ask, ids):
        try:
            parse(body)
        except BadRequest as error:
            error.message.encode("utf-8")


@given(st.text(st.characters(max_codepoint=0x2FF)) | st.text("number=size&key_ID%0123456789abcdef-+"))
def test_queries_and_paths_are_read_or_refused_and_nothing_else(text) -> None:
    for parse in (parse_key_request_query, parse_key_ids_query, parse_path, parse_segment):
        try:
            parse(text)
        except BadRequest as error:
            error.message.encode("utf-8")
