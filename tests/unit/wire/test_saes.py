"""Admin's registering of SAEs as JSON."""

from __future__ import annotations

import base64
import json

import pytest
from fuzz.__main__ import TARGETS, run

from qss.model.errors import BadRequest, RemoteProtocolError
from qss.model.identifiers import QksId, SaeId
from qss.wire.home_statement import SignedStatement, encode_home, encode_statement
from qss.wire.saes import (
    SaeView,
    parse_addition,
    parse_removal,
    parse_removed,
    parse_saes,
    render_addition,
    render_removal,
    render_removed,
    render_saes,
)

CAROL = SaeId("sae:carol")
STATEMENT = encode_statement(SignedStatement(encode_home(CAROL, QksId("C"), 5), "ed25519", bytes(64)))
VIEWS = (
    SaeView(id=CAROL, configured=True, stated_until=None),
    SaeView(id="sae:chris", configured=False, stated_until=1_800_000_000),
    SaeView(id="sae:clara", configured=False, stated_until=None, leaving=True),
)


@pytest.mark.parametrize("statement", [None, STATEMENT])
def test_an_addition_is_read_as_it_was_written(statement: bytes | None) -> None:
    body = render_addition(CAROL, statement)
    assert parse_addition(body) == (CAROL, statement)
    told = None if statement is None else base64.b64encode(statement).decode()
    assert json.loads(body) == {"sae": "sae:carol", "statement": told}


def test_a_statement_can_be_left_out() -> None:
    assert parse_addition(b'{"sae": "sae:carol"}') == (CAROL, None)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"no", b"\xff", b'{"sae": 1}', b'{"sae": null}', b'{"sae": ""}', b'{"sae": "sae carol"}',
     b'{"sae": "sae:carol", "site": "C"}', b'{"sae": "sae:carol"', b'{"statement": null}'],
)  # fmt: skip
def test_what_names_no_sae_is_neither_added_nor_removed(body: bytes) -> None:
    for parse in (parse_addition, parse_removal):
        with pytest.raises(BadRequest):
            parse(body)


@pytest.mark.parametrize("statement", [1, "", "no base64", base64.b64encode(STATEMENT[:-1]).decode()])
def test_what_is_no_statement_is_refused(statement: object) -> None:
    with pytest.raises(BadRequest):
        parse_addition(json.dumps({"sae": "sae:carol", "statement": statement}).encode())


def test_a_removal_is_read_as_it_was_written_and_so_is_its_answer() -> None:
    assert parse_removal(render_removal(CAROL)) == CAROL
    body = render_removed({QksId("B"): 256})
    assert json.loads(body) == {"burned_bits": {"B": 256}}
    assert parse_removed(body) == {"B": 256}
    with pytest.raises(BadRequest):
        parse_removal(b'{"sae": "sae:carol", "statement": null}')


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"burned_bits": 1}', b'{"burned_bits": {"B": "all"}}'])
def test_what_is_no_answer_to_a_removal_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="none of Admin's"):
        parse_removed(body)


def test_what_is_at_home_is_read_as_it_was_written() -> None:
    body = render_saes(VIEWS)
    assert parse_saes(body) == VIEWS
    assert json.loads(body)[1] == {
        "id": "sae:chris", "configured": False, "stated_until": 1_800_000_000, "leaving": False,
    }  # fmt: skip
    for cut in range(len(body)):
        with pytest.raises(RemoteProtocolError, match="none of Admin's"):
            parse_saes(body[:cut])


@pytest.mark.parametrize(
    "body",
    [b"{}", b'[{"id": "sae:carol"}]', b'["sae:carol"]', render_saes(VIEWS) + b"!", b'[{"x":' + b"[" * 100_000],
    ids=["no list", "without members", "names alone", "trailing", "deep"],
)
def test_what_are_no_saes_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="none of Admin's"):
        parse_saes(body)


def test_fuzzing_finds_nothing_in_a_short_while() -> None:
    assert run(TARGETS["saes"], 7, tries=3000) == 3000
