"""External's codec: every message, whole, byte by byte, with trailing bytes, at its limits, and anything at all.

Messages, and what breaks them, are made from the shapes' own annotations, so that a new message or member is tested
from its first day. That the bytes are those of the specification is `test_krp_page`'s.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import QksId, ReservationId, SaeId, StreamId
from qss.model.records import ReservationRecord, Side
from qss.wire import external

MESSAGES: tuple[type[msgspec.Struct], ...] = typing.get_args(external.Message)
NAMES = [message.__name__.lower() for message in MESSAGES]
SHAPES: dict[type, inspect.StructType] = {
    shape.cls: shape
    for shape in inspect.multi_type_info([*MESSAGES, external.Frame, external.StreamState])
    if isinstance(shape, inspect.StructType)
}

# --- shapes as strategies, smallest values, and values that break them ----------------------------------------------


def any_of(shape: inspect.Type) -> st.SearchStrategy[Any]:
    """Return whatever a shape allows; lists are kept short."""
    match shape:
        case inspect.BytesType(min_length=least, max_length=most):
            return st.binary(min_size=least or 0, max_size=most)
        case inspect.StrType(min_length=least, max_length=most):
            return st.text(min_size=least or 0, max_size=most)
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, most)
        case inspect.BoolType():
            return st.booleans()
        case inspect.EnumType(cls=cls):
            return st.sampled_from(cls)
        case inspect.VarTupleType(item_type=item, min_length=least):
            return st.lists(any_of(item), min_size=least or 0, max_size=4).map(tuple)
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, *(any_of(field.type) for field in fields))
    raise AssertionError(f"test this kind of member as well: {shape}")


def smallest(shape: inspect.Type) -> Any:
    """Return the least value of a shape, as MessagePack has it: structures as lists."""
    match shape:
        case inspect.BytesType(min_length=least):
            return bytes(least or 0)
        case inspect.StrType(min_length=least):
            return "x" * (least or 0)
        case inspect.IntType(ge=least):
            return least
        case inspect.BoolType():
            return False
        case inspect.EnumType(cls=cls):
            return next(iter(cls)).value
        case inspect.VarTupleType(item_type=item):
            return [smallest(item)]
        case inspect.StructType(tag=tag, fields=fields):
            return [*([tag] if tag is not None else []), *(smallest(field.type) for field in fields)]
    raise AssertionError(f"test this kind of member as well: {shape}")


def breaking(shape: inspect.Type) -> Iterator[Any]:
    """Yield values just outside of a shape's limits, and of other types."""
    yield None
    yield {}
    match shape:
        case inspect.BytesType(min_length=least, max_length=most):
            yield from (bytes(size) for size in ([] if not least else [least - 1]) + [most + 1])
            yield "x" * most
        case inspect.StrType(min_length=least, max_length=most):
            yield from ("x" * size for size in ([] if not least else [least - 1]) + [most + 1])
            yield b"x" * most
            yield msgspec.msgpack.Ext(1, b"x")
        case inspect.IntType(ge=least, le=most):
            yield from (least - 1, most + 1, float(least), str(least), True)
        case inspect.BoolType():
            yield from (0, 1, "true")
        case inspect.EnumType(cls=cls):
            yield from (0, "", *(member.value.upper() for member in cls), *(member.value.encode() for member in cls))
        case inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            yield [smallest(item)] * (most + 1)
            yield from [[smallest(item)] * (least - 1)] if least else []
            yield from ([broken] for broken in breaking(item) if not isinstance(broken, dict))
            yield b"" if isinstance(item, inspect.BytesType) else "x"
        case inspect.StructType(fields=fields):
            whole = smallest(shape)
            yield from (whole[:-1], [*whole, 0], [])
            for place, field in enumerate(fields):
                yield from ([*whole[:place], broken, *whole[place + 1 :]] for broken in breaking(field.type))


HEAD = [smallest(field.type) for field in SHAPES[external.Frame].fields[:-1]]
"""What stands before the messages in the least frame."""
BEFORE_MESSAGES = msgspec.msgpack.encode([*HEAD, []])[:-1]
"""The same on the wire."""


def in_frame(message: object) -> bytes:
    return msgspec.msgpack.encode([*HEAD, [message]])


def members(message: type) -> list[Any]:
    return list(smallest(SHAPES[message]))


ANY_MESSAGE = st.one_of([any_of(SHAPES[message]) for message in MESSAGES])
FRAMES = st.builds(
    external.Frame,
    *(any_of(field.type) for field in SHAPES[external.Frame].fields[:-1]),
    st.lists(ANY_MESSAGE, max_size=6).map(tuple),
)
ONE_OF_EACH = external.encode(
    external.Frame(*HEAD, tuple(external.decode(in_frame(members(message))).messages[0] for message in MESSAGES))
)

# --- what is right --------------------------------------------------------------------------------------------------


@given(FRAMES)
def test_what_is_encoded_is_decoded(frame) -> None:
    assert external.decode(external.encode(frame)) == frame


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
@given(st.data())
@settings(max_examples=40)
def test_every_message_goes_there_and_back(message, data) -> None:
    frame = external.Frame(*HEAD, (data.draw(any_of(SHAPES[message])),))
    encoded = external.encode(frame)
    assert external.decode(encoded) == frame
    raw = msgspec.msgpack.decode(encoded)
    assert raw[-1][0][0] == message.__name__.lower()
    assert len(raw[-1][0]) == 1 + len(SHAPES[message].fields)


def test_a_frame_of_no_messages_is_a_heartbeat_whether_they_are_left_out_or_not() -> None:
    for raw in (HEAD, [*HEAD, []]):
        assert external.decode(msgspec.msgpack.encode(raw)) == external.Frame(*HEAD)


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_the_highest_values_are_taken(message) -> None:
    for place, field in enumerate(SHAPES[message].fields, 1):
        if isinstance(field.type, inspect.IntType):
            raw = members(message)
            raw[place] = field.type.le
            assert msgspec.structs.astuple(external.decode(in_frame(raw)).messages[0])[place - 1] == field.type.le


def test_the_longest_lists_are_taken() -> None:
    ids = [bytes(16)] * external.MAX_LISTED
    assert len(external.decode(in_frame(["confirm", ids])).messages[0].reservations) == external.MAX_LISTED
    slaves = ["x" * 255] * 256
    ask = ["ask", bytes(16), 1, 1, "m", slaves, "", False, "low"]
    assert external.decode(in_frame(ask)).messages[0].slaves == tuple(slaves)


# --- what is not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(len(ONE_OF_EACH)))
def test_a_frame_that_lacks_its_end_is_refused(cut) -> None:
    with pytest.raises(RemoteProtocolError):
        external.decode(ONE_OF_EACH[:cut])


@given(st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(trailing) -> None:
    with pytest.raises(RemoteProtocolError):
        external.decode(ONE_OF_EACH + trailing)


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_each_member_is_held_to_its_limits(message) -> None:
    external.decode(in_frame(members(message)))
    for place, field in enumerate(SHAPES[message].fields, 1):
        for broken in breaking(field.type):
            raw = members(message)
            raw[place] = broken
            with pytest.raises(RemoteProtocolError):
                external.decode(in_frame(raw))


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_a_message_has_all_its_members_and_no_other(message) -> None:
    whole = members(message)
    as_map = {"type": whole[0]} | dict(zip((f.name for f in SHAPES[message].fields), whole[1:], strict=True))
    for raw in (*(whole[:size] for size in range(len(whole))), [*whole, 0], [*whole, None], whole[1:], as_map):
        with pytest.raises(RemoteProtocolError):
            external.decode(in_frame(raw))


@pytest.mark.parametrize(
    "name", ["", "Hello", "HELLO", "hello ", "streamstate", "frame", "_message", 0, None, b"hello"]
)
def test_a_message_of_another_name_is_refused(name) -> None:
    with pytest.raises(RemoteProtocolError):
        external.decode(in_frame([name, *members(external.Hello)[1:]]))


@pytest.mark.parametrize(
    "raw",
    [
        *(HEAD[:size] for size in range(len(HEAD))),
        [*HEAD, [], 5],
        [*HEAD, None],
        [*HEAD, {}],
        [*HEAD, "hello"],
        [*HEAD, [[]]],
        [*HEAD, ["void"]],
        [*HEAD, [["void", []]] * (external.MAX_LISTED + 1)],
        dict(zip((field.name for field in SHAPES[external.Frame].fields), HEAD, strict=False)),
        None,
        7,
        "frame",
    ],
)
def test_what_is_no_frame_is_refused(raw) -> None:
    with pytest.raises(RemoteProtocolError):
        external.decode(msgspec.msgpack.encode(raw))


@pytest.mark.parametrize("place", range(len(HEAD)))
def test_each_member_of_the_head_is_held_to_its_limits(place) -> None:
    for broken in breaking(SHAPES[external.Frame].fields[place].type):
        with pytest.raises(RemoteProtocolError):
            external.decode(msgspec.msgpack.encode([*HEAD[:place], broken, *HEAD[place + 1 :], []]))


def test_a_text_that_is_no_utf_8_is_refused() -> None:
    whole = in_frame(["want", bytes(16), "ab", 1, True])
    external.decode(whole)
    with pytest.raises(RemoteProtocolError):
        external.decode(whole[:-4] + b"\xff\xfe\x01\xc3")


@pytest.mark.parametrize(
    "claim", [b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"]
)
def test_a_length_that_is_only_claimed_costs_nothing(claim) -> None:
    with pytest.raises(RemoteProtocolError):
        external.decode(BEFORE_MESSAGES + claim)


def test_a_frame_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(RemoteProtocolError, match="exceeds the limit of 4194304"):
        external.decode(bytes(external.MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("nesting", [b"\x91", b"\x81", BEFORE_MESSAGES])
def test_deep_nesting_is_refused_without_exhausting_the_stack(nesting) -> None:
    with pytest.raises(RemoteProtocolError):
        external.decode(nesting * (external.MAX_FRAME_BYTES // len(nesting)))


# --- anything -------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200) | st.binary(max_size=200).map(BEFORE_MESSAGES.__add__))
def test_any_bytes_are_a_frame_or_a_remote_protocol_error(data) -> None:
    try:
        frame = external.decode(data)
    except RemoteProtocolError as error:
        assert error.__cause__ is None  # noqa: PT017 - most inputs must raise, and some may not
    else:
        assert external.decode(external.encode(frame)) == frame


@given(FRAMES, st.data())
def test_a_frame_with_a_changed_byte_is_a_frame_or_refused(frame, data) -> None:
    changed = bytearray(external.encode(frame))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        taken = external.decode(bytes(changed))
    except RemoteProtocolError:
        return
    assert external.decode(external.encode(taken)) == taken


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
@given(st.data())
@settings(max_examples=40)
def test_a_message_of_anything_is_a_message_or_refused(message, data) -> None:
    anything = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=20) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=6,
    )
    raw = members(message)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(anything)
    try:
        frame = external.decode(in_frame(raw))
    except RemoteProtocolError:
        return
    assert external.decode(external.encode(frame)) == frame


# --- what a Cover's tag binds -----------------------------------------------------------------------------------------


def test_the_context_of_a_cover_is_all_that_its_reservation_is(row) -> None:
    context = external.cover_context(row, QksId("A"), QksId("C"))
    prefix, array = context[:21], context[21:]
    assert prefix == b"qss-external-cover.1\0"
    assert msgspec.msgpack.decode(array) == [
        row.id.value, row.stream.value, 64, 2, 16, "sae:alice", ["sae:bob", "sae:carol"], "A", "C",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"start": 65}, {"count": 1}, {"key_bytes": 32}, {"master": SaeId("x")}, {"slaves": (SaeId("sae:bob"),)}]
)
def test_the_context_of_a_cover_is_another_for_another_reservation(row, change) -> None:
    ends = QksId("A"), QksId("C")
    assert external.cover_context(replace(row, **change), *ends) != external.cover_context(row, *ends)
    assert external.cover_context(row, *ends[::-1]) != external.cover_context(row, *ends)


@pytest.fixture
def row() -> ReservationRecord:
    slaves = (SaeId("sae:bob"), SaeId("sae:carol"))
    reservation, stream = ReservationId.from_entropy(bytes(16)), StreamId.from_entropy(bytes(16))
    return ReservationRecord(reservation, stream, QksId("C"), Side.MASTER, 64, 2, 16, SaeId("sae:alice"), slaves, 0.0)
