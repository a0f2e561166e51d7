"""Statements of homes as bytes and as text: whole, cut, with more, with names that are none; and the page says so."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import BadRequest
from qss.model.identifiers import QksId, SaeId
from qss.wire.home_statement import (
    MAX_STATEMENT_BYTES,
    SIGNED_AS,
    HomeStatement,
    SignedStatement,
    decode_statement,
    encode_home,
    encode_statement,
    parse_statement_text,
    statement_text,
)

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "routing-protocol.md").read_text(encoding="utf-8")
NO_STATEMENT = "this is no statement of an SAE's home: give what `qss pki home` made"
LAST_SECOND = 253_402_300_799

HOME = [1, "sae:alice", "A", 1_800_000_000]
SIGNATURE = b"\x30" + bytes(70)
STATEMENT = encode_statement(
    SignedStatement(encode_home(SaeId("sae:alice"), QksId("A"), HOME[3]), "ed25519", SIGNATURE)
)
TEXT = statement_text(STATEMENT)


def wire(home: object = HOME, *more: object) -> bytes:
    return msgspec.msgpack.encode([msgspec.msgpack.encode(home), "ed25519", SIGNATURE, *more])


def assert_none(statement: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        decode_statement(statement)
    assert refused.value.message == NO_STATEMENT


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_the_bytes_are_those_of_the_specification() -> None:
    assert wire() == STATEMENT
    signed, home = decode_statement(STATEMENT)
    assert (signed.algorithm, signed.signature) == ("ed25519", SIGNATURE)
    assert signed.body == msgspec.msgpack.encode(HOME)
    assert home == HomeStatement(1, SaeId("sae:alice"), QksId("A"), 1_800_000_000)
    assert f"the bytes `{SIGNED_AS[:-1].decode()}`, a zero byte and the body" in " ".join(PAGE.split())
    assert f"at most {MAX_STATEMENT_BYTES:,} bytes" in " ".join(PAGE.split())


@pytest.mark.parametrize("cut", range(len(STATEMENT)))
def test_one_that_lacks_its_end_is_refused(cut: int) -> None:
    assert_none(STATEMENT[:cut])


@given(st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(trailing: bytes) -> None:
    assert_none(STATEMENT + trailing)


@pytest.mark.parametrize("cut", range(len(msgspec.msgpack.encode(HOME))))
def test_a_body_that_lacks_its_end_or_has_more_is_refused(cut: int) -> None:
    body = msgspec.msgpack.encode(HOME)
    for changed in (body[:cut], body + body[cut:]):
        assert_none(msgspec.msgpack.encode([changed, "ed25519", SIGNATURE]))


@pytest.mark.parametrize(
    "home",
    [
        [],
        HOME[:3],
        [*HOME, None],
        [0, *HOME[1:]],
        [2, *HOME[1:]],
        [True, *HOME[1:]],
        [1, "", "A", 5],
        [1, "sae alice", "A", 5],
        [1, "sae:é", "A", 5],
        [1, "x" * 256, "A", 5],
        [1, "sae:alice", "", 5],
        [1, "sae:alice", "A/1", 5],
        [1, "sae:alice", "A" * 64, 5],
        [1, b"sae:alice", "A", 5],
        [1, "sae:alice", "A", -1],
        [1, "sae:alice", "A", LAST_SECOND + 1],
        [1, "sae:alice", "A", 5.5],
        {"version": 1, "sae": "sae:alice", "site": "A", "expires": 5},
        "sae:alice",
    ],
)
def test_what_breaks_a_shape_a_name_or_a_limit_is_refused(home: object) -> None:
    assert_none(wire(home))


@pytest.mark.parametrize(
    "statement",
    [
        wire(HOME, None),
        msgspec.msgpack.encode([msgspec.msgpack.encode(HOME), "ed25519"]),
        msgspec.msgpack.encode([HOME, "ed25519", SIGNATURE]),
        msgspec.msgpack.encode([msgspec.msgpack.encode(HOME), 7, SIGNATURE]),
        msgspec.msgpack.encode([msgspec.msgpack.encode(HOME), "ed25519", "signature"]),
        msgspec.msgpack.encode({"body": msgspec.msgpack.encode(HOME), "algorithm": "x", "signature": b""}),
        b"\x91" * MAX_STATEMENT_BYTES,
    ],
)
def test_what_is_no_signed_statement_is_refused(statement: bytes) -> None:
    assert_none(statement)


def test_a_statement_has_one_form_so_that_nobody_makes_many_of_one() -> None:
    assert STATEMENT.startswith(b"\x93\xc4")
    for other in (b"\xdc\x00\x03" + STATEMENT[1:], b"\x93\xc5\x00" + STATEMENT[2:]):
        assert msgspec.msgpack.decode(other) == msgspec.msgpack.decode(STATEMENT)
        assert_none(other)


def test_the_largest_statement_is_taken_and_a_larger_one_is_not() -> None:
    body = encode_home(SaeId("s" * 255), QksId("A" * 63), LAST_SECOND)
    by_rsa_8192 = encode_statement(SignedStatement(body, "rsa-pss-sha256", bytes(1024)))
    assert decode_statement(by_rsa_8192)[1].expires == LAST_SECOND
    room = MAX_STATEMENT_BYTES - len(by_rsa_8192)
    decode_statement(encode_statement(SignedStatement(body, "rsa-pss-sha256", bytes(1024 + room))))
    assert_none(encode_statement(SignedStatement(body, "rsa-pss-sha256", bytes(1025 + room))))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statement_or_refused(statement: bytes) -> None:
    try:
        signed, _ = decode_statement(statement)
    except BadRequest:
        return
    assert encode_statement(signed) == statement


@given(st.data())
def test_one_with_a_changed_byte_is_one_or_refused(data: st.DataObject) -> None:
    changed = bytearray(STATEMENT)
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        signed, _ = decode_statement(bytes(changed))
    except BadRequest:
        return
    assert encode_statement(signed) == changed


# --- text -----------------------------------------------------------------------------------------------------------


def test_text_is_base64_between_two_lines_that_an_editor_may_have_touched() -> None:
    begin, *lines, end = TEXT.splitlines()
    assert (begin, end) == ("-----BEGIN QSS HOME STATEMENT-----", "-----END QSS HOME STATEMENT-----")
    assert max(map(len, lines)) == 64
    assert base64.b64decode("".join(lines)) == STATEMENT
    for text in (TEXT, TEXT.rstrip("\n"), f"\n \n{TEXT}\n\n", TEXT.replace("\n", "\r\n"), TEXT.replace("\n", "  \n ")):
        assert parse_statement_text(text) == STATEMENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "one line",
        "-----BEGIN QSS HOME STATEMENT-----",
        "-----BEGIN QSS HOME STATEMENT-----\n-----END QSS HOME STATEMENT-----\n",
        TEXT.replace("BEGIN", "BEG1N"),
        TEXT.replace("END", "AND"),
        TEXT.replace("HOME STATEMENT", "CERTIFICATE"),
        TEXT + TEXT,
        f"{TEXT}more\n",
        TEXT.replace("\nk", "\n?k"),
        TEXT.replace("\nk", "\né"),
        TEXT.replace("\n", "\n" + " " * 4 * MAX_STATEMENT_BYTES, 1),
        statement_text(STATEMENT + b"!"),
        statement_text(STATEMENT[:-1]),
        statement_text(b""),
    ],
)
def test_a_damaged_text_is_refused(text: str) -> None:
    assert text not in (TEXT, TEXT.rstrip())
    with pytest.raises(BadRequest) as refused:
        parse_statement_text(text)
    assert refused.value.message == NO_STATEMENT


@pytest.mark.parametrize("cut", range(len(TEXT) - 1))
def test_a_text_that_lacks_its_end_is_refused(cut: int) -> None:
    with pytest.raises(BadRequest, match="this is no statement"):
        parse_statement_text(TEXT[:cut])


@given(st.text())
def test_any_text_is_a_statement_or_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="this is no statement"):
        parse_statement_text(text)
