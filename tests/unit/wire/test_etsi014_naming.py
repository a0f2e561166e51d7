"""Idempotency names: where they stand, what they may look like, and that two must agree."""

from __future__ import annotations

import json

import pytest

from qss.model.errors import BadRequest
from qss.model.identifiers import SaeId
from qss.wire.etsi014.naming import agreed, parse_extension, parse_header
from qss.wire.etsi014.questions import parse_key_ids, parse_key_request

ALICE, BOB = SaeId("sae:alice"), SaeId("sae:bob")
ID = "bc490419-7d60-487f-adc1-4ddcc177c139"


@pytest.mark.parametrize(
    ("text", "name"),
    [("n", "n"), ('"n"', "n"), (" n\t", "n"), ("x" * 255, "x" * 255), ("8e03978e-40d5", "8e03978e-40d5")],
)
def test_a_header_holds_a_name_with_or_without_quotes(text, name) -> None:
    assert parse_header({"idempotency-key": text}) == name
    assert parse_header({}) is None


@pytest.mark.parametrize("text", ["", '""', '"', "a b", "a\tb", "x" * 256, "\u00e9", 'a"b', "a\\b", "\x7f", "a\n"])
def test_what_is_no_name_is_refused(text) -> None:
    for parse in (lambda: parse_header({"idempotency-key": text}), lambda: parse_extension(text)):
        with pytest.raises(BadRequest, match="1 to 255 printable ASCII characters"):
            parse()


@pytest.mark.parametrize("value", [None, 1, True, ["n"], {"n": 1}])
def test_a_name_in_the_body_is_a_string(value) -> None:
    with pytest.raises(BadRequest, match="shall be a string"):
        parse_extension(value)


def test_get_key_has_it_as_an_optional_extension() -> None:
    body = {"extension_optional": [{"abc": 1}, {"qss_idempotency_key": "n"}]}
    request = parse_key_request(json.dumps(body).encode(), ALICE, BOB)
    assert (request.name, request.extension_optional) == ("n", (("abc", 1),))


def test_get_key_with_key_ids_has_it_in_the_extension_of_its_own() -> None:
    body = {"key_IDs": [{"key_ID": ID}], "key_IDs_extension": {"qss_idempotency_key": "n", "abc": 1}}
    assert parse_key_ids(json.dumps(body).encode()).name == "n"
    with pytest.raises(BadRequest, match="shape"):
        parse_key_ids(json.dumps({**body, "key_IDs_extension": ["n"]}).encode())


def test_two_names_must_be_one() -> None:
    twice = {"extension_optional": [{"qss_idempotency_key": "n"}, {"qss_idempotency_key": "m"}]}
    with pytest.raises(BadRequest, match="given twice"):
        parse_key_request(json.dumps(twice).encode(), ALICE, BOB)
    assert [agreed(*names) for names in (("n", "n"), ("n", None), (None, "n"), (None, None))] == ["n", "n", "n", None]
    with pytest.raises(BadRequest, match="differ"):
        agreed("n", "m")
