"""The reference page of the KRP says what the codec of External does: every member, type, limit and example byte."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from qss.wire import external

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "krp.md").read_text(encoding="utf-8")

MESSAGES = get_args(external.Message)

FRAME = get_type_hints(external.Frame, include_extras=True)
HELLO = get_type_hints(external.Hello, include_extras=True)
WORDS = {
    "id": external.Id,
    "count": external.Count,
    "positive": external.Positive,
    "name": external.Name,
    "names": external.Names,
    "text": external.Text,
    "ids": external.Ids,
    "boolean": bool,
    "policy": external.Policy,
    "priority": external.Priority,
    "proof": external.Proof,
    "sealed": external.Sealed,
    "reason": get_type_hints(external.Refuse, include_extras=True)["reason"],
    "purpose": external.Purpose,
    "states": HELLO["streams"],
    "messages": FRAME["messages"],
}
"""What the page calls a type."""


def section(number: int) -> str:
    return PAGE.partition(f"\n## {number}. ")[2].partition("\n## ")[0]


def members_of(kind: type) -> str:
    hints = get_type_hints(kind, include_extras=True)
    words = {name: next(word for word, hint in WORDS.items() if hint == hints[name]) for name in hints}
    return ", ".join(f"`{name}` {word}" for name, word in words.items())


def rows(first: str) -> list[list[str]]:
    """Return the cells of the table of section 5 whose first heading is `first`."""
    lines = section(5).partition(f"| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_every_message_with_its_members() -> None:
    told = {row[0].strip("`"): row[1] for row in rows("Message")}
    assert told == {kind.__struct_config__.tag: members_of(kind) for kind in MESSAGES}


def test_the_page_has_every_structure_with_its_members() -> None:
    told = {row[0]: row[1] for row in rows("Structure")}
    assert told == {"frame": members_of(external.Frame), "stream state": members_of(external.StreamState)}


def test_the_page_has_every_type() -> None:
    assert [row[0] for row in rows("Type")] == list(WORDS)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (external.MAX_FRAME_BYTES, "A frame has at most {:,} bytes"),
        (external.MAX_MESSAGES, "up to {:,} of message"),
        (external.MAX_LISTED, "up to {:,} of id"),
        (external.MAX_POLICY, "up to {:,} characters"),
        (external.MAX_COVERED, "1 to {:,} bytes"),
    ],
)
def test_the_page_has_the_limits(limit: int, said: str) -> None:
    assert said.format(limit) in section(5)


def notation(value: object) -> str:
    match value:
        case bytes():
            return f"h'{value.hex()}'"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(map(notation, value)) + "]"
        case _:
            return str(value)


EXAMPLES = [
    (" ".join(said.split()), bytes.fromhex(dump))
    for said, dump in re.findall(r"```\n(\[.*?)\n\n([0-9a-f \n]+?)\n```", section(11), re.DOTALL)
]


@pytest.mark.parametrize(("said", "data"), EXAMPLES)
def test_an_example_is_what_the_codec_makes(said: str, data: bytes) -> None:
    assert external.encode(external.decode(data)) == data
    assert notation(msgspec.msgpack.decode(data)) == said


def test_there_is_an_example_of_every_message_and_of_a_heartbeat() -> None:
    frames = [external.decode(data) for _, data in EXAMPLES]
    assert {type(message) for frame in frames for message in frame.messages} == set(MESSAGES)
    assert any(not frame.messages for frame in frames)


@pytest.mark.parametrize("data", [data for _, data in EXAMPLES])
def test_an_example_carries_a_proof_from_held_on(data: bytes) -> None:
    frame = external.decode(data)
    greets = any(isinstance(message, external.Hello) for message in frame.messages)
    assert bool(frame.proof) is not greets  # KRP 2.8
