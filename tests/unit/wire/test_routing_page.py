"""The page of the routing protocol names the members of each message and structure as the codec has them, in order."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from qss.wire import routing as wire
from qss.wire.home_statement import MAX_STATEMENT_BYTES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "routing-protocol.md"
SHAPES: dict[str, type[msgspec.Struct]] = {
    "`hello`": wire.Hello,
    "`summary`": wire.Summary,
    "`request`": wire.Request,
    "`update`": wire.Update,
    "`ack`": wire.Ack,
    "`tags`": wire.Tags,
    "`tagged`": wire.Tagged,
    "held range": wire.HeldRange,
    "key": wire.Key,
    "header": wire.Header,
    "carried LSA": wire.Carried,
    "authentication": wire.Authentication,
    "body": wire.Body,
}
CALLED = {
    "whether the sender has heard a Hello on this connection": "heard",
    "whether its adjacency is full": "full",
    "its dead time in ms": "dead_ms",
    "digest of its database": "digest",
    "up to 2,048 headers": "headers",
    "whether more follow": "more",
    "whether tags are demanded": "required",
    "up to 4 held ranges": "held",
    "key stream": "stream",
    "an Update": "update",
    "place that is next": "place",
    "up to 2,048 keys": "keys",
    "up to 64 carried LSAs": "carried",
    "the first 8 bytes of SHA-256 of the body": "digest",
    "age in ms": "age_ms",
    "up to 4 certificates": "certificates",
    "lifetime": "lifetime_s",
    "SAEs": "saes",
}
"""What members are called on the page, where that is not their name."""


def rows(section: str) -> dict[str, str]:
    text = PAGE.read_text("utf-8").partition(f"## {section}")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", text, re.MULTILINE))


@pytest.mark.parametrize("name", SHAPES)
def test_members_are_those_of_the_page(name: str) -> None:
    listed = re.sub(r" \([^)]*\)", "", rows("2. Frames")[name].removeprefix("a MessagePack array: "))
    assert tuple(CALLED.get(member, member) for member in listed.split(", ")) == SHAPES[name].__struct_fields__


def test_what_is_known_of_any_body_are_its_first_members() -> None:
    known = wire.Preamble.__struct_fields__
    assert wire.Body.__struct_fields__[: len(known)] == known
    assert (len(known), known[-1]) == (9, "withdrawn")
    assert "first nine members are read, up to *withdrawn*" in PAGE.read_text("utf-8")


def test_every_member_of_a_body_is_explained() -> None:
    text = PAGE.read_text("utf-8").partition("## 3. ")[2].partition("\n## ")[0]
    explained = set(rows("3. Link")) | set(re.findall(r"\*(\w+)\*", text))
    named = {field: name for name, field in CALLED.items()}
    assert {named.get(field, field) for field in wire.Body.__struct_fields__} <= explained


@pytest.mark.parametrize(
    "words",
    [
        f"| LSAs of one origin, of all types, that were ever known | {wire.MAX_LSAS} |",
        f"| parts of an origin and type | {wire.MAX_PARTS} |",
        f"| LSA | {wire.MAX_BODY_BYTES:,} bytes of body; {wire.MAX_NEIGHBOURS:,} neighbours |",
        f"in all at most {MAX_STATEMENT_BYTES:,} bytes",
    ],
)
def test_limits_are_those_of_the_page(words: str) -> None:
    assert words in " ".join(PAGE.read_text("utf-8").split())


def test_an_lsa_takes_a_statement_as_long_as_there_are() -> None:
    states = [wire.SaeState("sae:alice", bytes(MAX_STATEMENT_BYTES + more)) for more in (0, 1)]
    assert [wire.is_readable(state) for state in states] == [True, False]
