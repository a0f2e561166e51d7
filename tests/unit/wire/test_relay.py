"""Relay's codec: whole, byte by byte, with trailing bytes, and anything at all; and the page says what it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from fuzz.__main__ import TARGETS, run
from hypothesis import given
from hypothesis import strategies as st

from qss.core.relay import RelaySettings
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import QksId, StreamId
from qss.model.ranges import Range
from qss.wire import relay

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "relay.md").read_text(encoding="utf-8")

TRANSFER, STREAM = b"t" * 16, b"s" * 16
BEGIN = relay.Begin(TRANSFER, ("A", "R1", "B"), 4144, STREAM, 7, 0, 2, "one-time-pad", '{"disjoint_paths":2}', False)
BEGIN_WIRE = [
    "begin", TRANSFER, ["A", "R1", "B"], 4144, STREAM, 7, 0, 2, "one-time-pad", '{"disjoint_paths":2}', False,
]  # fmt: skip
SEALED = bytes(relay.MIN_CARRIED)
ONE_OF_EACH = (
    BEGIN,
    relay.Carry(TRANSFER, SEALED, b"g" * 16),
    relay.Arrived(TRANSFER),
    relay.Failed(TRANSFER, "R1", relay.Reason.SHORTAGE),
)
LARGEST = (
    relay.Begin(TRANSFER, ("A" * 63,) * 17, relay.MAX_CARRIED, STREAM, 2**63 - 1, 7, 8, "o" * 32, "~" * 1024, True),
    relay.Carry(TRANSFER, bytes(relay.MAX_CARRIED), b"g" * 16),
    relay.Arrived(TRANSFER),
    relay.Failed(TRANSFER, "A" * 63, relay.Reason.UNREACHABLE),
)

IDS = st.binary(min_size=16, max_size=16)
SITES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
MESSAGES = st.one_of(
    st.builds(
        relay.Begin,
        IDS,
        st.lists(SITES, min_size=2, max_size=17).map(tuple),
        st.integers(relay.MIN_CARRIED, relay.MAX_CARRIED),
        IDS,
        st.integers(0, 2**63 - 1),
        st.integers(0, 7),
        st.integers(1, 8),
        st.from_regex(r"\A[a-z0-9-]{1,32}\Z"),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
        st.booleans(),
    ),
    st.builds(relay.Carry, IDS, st.sampled_from([SEALED, bytes(2000)]), IDS),
    st.builds(relay.Arrived, IDS),
    st.builds(relay.Failed, IDS, SITES, st.sampled_from(relay.Reason)),
)


def changed(position: int, value: object) -> list[object]:
    return [*BEGIN_WIRE[:position], value, *BEGIN_WIRE[position + 1 :]]


@given(st.lists(MESSAGES, min_size=1, max_size=20))
def test_what_is_encoded_is_decoded(messages: list[relay.Message]) -> None:
    assert relay.decode(relay.encode(messages)) == tuple(messages)


def test_the_bytes_on_the_wire_are_those_of_the_specification() -> None:
    assert relay.encode(ONE_OF_EACH) == msgspec.msgpack.encode(
        [
            BEGIN_WIRE,
            ["carry", TRANSFER, SEALED, b"g" * 16],
            ["arrived", TRANSFER],
            ["failed", TRANSFER, "R1", "shortage"],
        ]
    )


@pytest.mark.parametrize("cut", range(len(relay.encode(ONE_OF_EACH))))
def test_a_frame_that_lacks_its_end_is_refused(cut: int) -> None:
    with pytest.raises(RemoteProtocolError):
        relay.decode(relay.encode(ONE_OF_EACH)[:cut])


@given(st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(trailing: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        relay.decode(relay.encode(ONE_OF_EACH) + trailing)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        ["arrived"],
        [["arrived"]],
        [["arrived", bytes(15)]],
        [["arrived", bytes(17)]],
        [["arrived", bytes(16), None]],
        [["departed", bytes(16)]],
        [["carry", TRANSFER, SEALED[1:], bytes(16)]],
        [["carry", TRANSFER, bytes(relay.MAX_CARRIED + 1), bytes(16)]],
        [["carry", TRANSFER, SEALED, bytes(15)]],
        [["carry", TRANSFER, SEALED.decode(), bytes(16)]],
        [["failed", TRANSFER, "", "late"]],
        [["failed", TRANSFER, "R 1", "late"]],
        [["failed", TRANSFER, "R1\n", "late"]],
        [["failed", TRANSFER, "R1", "moody"]],
        [changed(1, bytes(15))],
        [changed(2, ["A"])],
        [changed(2, ["A"] * (relay.MAX_SITES + 1))],
        [changed(2, ["A", "B" * 64])],
        [changed(2, ["A", "-B"])],
        [changed(3, relay.MIN_CARRIED - 1)],
        [changed(3, relay.MAX_CARRIED + 1)],
        [changed(4, bytes(17))],
        [changed(5, -1)],
        [changed(5, 2**63)],
        [changed(5, 1.0)],
        [changed(6, 8)],
        [changed(7, 0)],
        [changed(7, 9)],
        [changed(8, "")],
        [changed(8, "One-time")],
        [changed(8, "o" * 33)],
        [changed(9, "x" * 1025)],
        [changed(9, "ö")],
        [changed(9, "a\nb")],
        [changed(10, 1)],
        [[*BEGIN_WIRE, 0]],
        [BEGIN_WIRE[:-1]],
        [["arrived", TRANSFER]] * (relay.MAX_MESSAGES + 1),
        {"arrived": TRANSFER},
    ],
)
def test_what_breaks_a_shape_or_limit_is_refused(messages: object) -> None:
    with pytest.raises(RemoteProtocolError):
        relay.decode(msgspec.msgpack.encode(messages))


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_remote_protocol_error(frame: bytes) -> None:
    try:
        messages = relay.decode(frame)
    except RemoteProtocolError:
        return
    assert relay.decode(relay.encode(messages)) == messages


@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_a_frame_with_a_changed_byte_is_a_frame_or_refused(message: relay.Message, data: st.DataObject) -> None:
    frame = bytearray(relay.encode([message]))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        relay.decode(bytes(frame))
    except RemoteProtocolError as error:
        assert error.__cause__ is None  # noqa: PT017 - most inputs must raise, and some may not


def test_deep_nesting_is_refused_without_exhausting_the_stack() -> None:
    with pytest.raises(RemoteProtocolError):
        relay.decode(b"\x91" * relay.MAX_FRAME_BYTES)


def test_frames_beyond_the_limit_are_neither_sent_nor_taken() -> None:
    with pytest.raises(RemoteProtocolError, match=f"exceeds the limit of {relay.MAX_FRAME_BYTES}"):
        relay.decode(bytes(relay.MAX_FRAME_BYTES + 1))
    with pytest.raises(LocalProtocolError):
        relay.encode([LARGEST[1]] * 16)
    with pytest.raises(LocalProtocolError):
        relay.encode([])
    with pytest.raises(LocalProtocolError):
        relay.encode([relay.Arrived(TRANSFER)] * (relay.MAX_MESSAGES + 1))


@given(st.lists(st.one_of(MESSAGES, st.sampled_from(LARGEST)), max_size=600))
def test_any_run_of_messages_is_parted_into_frames_in_order(messages: list[relay.Message]) -> None:
    parts = relay.split(messages)
    assert [message for part in parts for message in part] == messages
    for part in parts:
        relay.encode(part)


@pytest.mark.parametrize("message", LARGEST, ids=lambda message: type(message).__name__)
def test_no_message_weighs_less_than_its_bytes(message: relay.Message) -> None:
    assert len(relay.encode([message])) <= relay.weight(message) <= len(relay.encode([message])) + 128


def test_carry_does_not_show_what_it_carries() -> None:
    assert repr(relay.Carry(TRANSFER, b"photons!" * 134, b"g" * 16)) == f"Carry(transfer={TRANSFER!r}, <1072 bytes>)"


# --- the context of a hop -------------------------------------------------------------------------------------------


def context(begin: relay.Begin = BEGIN, **other: object) -> bytes:
    hop = {"sender": QksId("R1"), "receiver": QksId("B"), "place": 1, "stream": StreamId(bytes(16))}
    return relay.hop_context(begin, **(hop | {"part": Range(1024, 5200)} | other))  # type: ignore[arg-type]


def test_a_context_is_one_flat_array_after_its_name() -> None:
    hop = ["R1", "B", 1, bytes(16), 1024, 5200]
    assert context() == b"qss-relay-hop.1\x00" + msgspec.msgpack.encode([*BEGIN_WIRE[1:], *hop])


def test_whatever_differs_gives_another_context() -> None:
    begins = [
        msgspec.structs.replace(BEGIN, **{name: value})
        for name, value in {
            "transfer": b"u" * 16,
            "path": ("A", "R2", "B"),
            "length": 4145,
            "stream": b"r" * 16,
            "block": 8,
            "share": 1,
            "shares": 3,
            "hop": "aes-256-gcm",
            "policy": "{}",
            "urgent": True,
        }.items()
    ]
    assert len(begins) == len(relay.Begin.__struct_fields__)
    hops = [
        {"sender": QksId("A")},
        {"receiver": QksId("R1")},
        {"place": 0},
        {"stream": StreamId(b"\1" * 16)},
        {"part": Range(1025, 5200)},
        {"part": Range(1024, 5201)},
    ]
    contexts = [context(), *map(context, begins), *(context(BEGIN, **hop) for hop in hops)]
    assert len(set(contexts)) == len(contexts)


def test_fuzzing_finds_nothing_in_a_short_while() -> None:
    assert run(TARGETS["relay"], seed=4, tries=1500) == 1500


# --- the page -------------------------------------------------------------------------------------------------------


def rows() -> dict[str, str]:
    section = PAGE.partition("### Messages")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \| (?:down|up|both) \|", section, re.MULTILINE))


def test_the_page_has_every_message_with_its_members() -> None:
    kinds = {str(kind.__struct_config__.tag): kind.__struct_fields__ for kind in get_args(relay.Message)}
    told = {name: re.findall(r"`(\w+)`", members.partition(" one of ")[0]) for name, members in rows().items()}
    assert {name: tuple(members) for name, members in told.items()} == kinds


def test_the_page_has_every_reason() -> None:
    assert re.findall(r"`(\w+)`", rows()["failed"].partition(" one of ")[2]) == [str(each) for each in relay.Reason]


@pytest.mark.parametrize(
    "words",
    [
        f"a frame is an array of messages, at most {relay.MAX_FRAME_BYTES:,} bytes",
        f"has 1 to {relay.MAX_MESSAGES} messages",
        f"carries {relay.MIN_CARRIED:,} to {relay.MAX_CARRIED:,} fresh random bytes",
        f"either carry {RelaySettings().max_bytes_of_neighbour:,} bytes at most",
        f"names {relay.MIN_SITES} to {relay.MAX_SITES} sites",
        f"text up to {relay.MAX_POLICY_BYTES:,} bytes",
        f"`shares` from 1 to {relay.MAX_SHARES}",
    ],
)
def test_the_page_has_the_limits(words: str) -> None:
    assert words in " ".join(PAGE.split())
