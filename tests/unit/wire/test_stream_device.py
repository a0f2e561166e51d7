"""What the ends of a key stream's device say: the codec whole, byte by byte, with trailing bytes, and anything."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import RemoteProtocolError
from qss.wire import stream_device as wire
from qss.wire.stream_device import Keys, Message, Want

NUMBERS = st.integers(0, 2**63 - 1)
MESSAGES = st.one_of(
    st.builds(Keys, NUMBERS, st.binary(min_size=16, max_size=16), st.integers(1, 65_536)), st.builds(Want, NUMBERS)
)


@given(MESSAGES)
def test_what_is_encoded_is_decoded_as_what_it_is(message: Message) -> None:
    frame = wire.encode(message)
    assert wire.decode(frame, type(message)) == message
    with pytest.raises(RemoteProtocolError, match="was due"):
        wire.decode(frame, Want if isinstance(message, Keys) else Keys)


@pytest.mark.parametrize(
    ("message", "told"), [(Keys(3, b"r" * 16, 2), ["keys", 3, b"r" * 16, 2]), (Want(976), ["want", 976])]
)
def test_the_bytes_are_those_of_the_specification_and_no_others(message: Message, told: list[object]) -> None:
    frame = wire.encode(message)
    assert frame == msgspec.msgpack.encode(told)
    cut = [frame[:end] for end in range(len(frame))]
    for other in (*cut, frame + b"\0", msgspec.msgpack.encode([*told, 0]), msgspec.msgpack.encode(told[:-1])):
        with pytest.raises(RemoteProtocolError):
            wire.decode(other, type(message))


@pytest.mark.parametrize(
    "told",
    [
        ["keys", -1, bytes(16), 1],
        ["keys", 2**63, bytes(16), 1],
        ["keys", 0, bytes(17), 1],
        ["keys", 0, bytes(16), 0],
        ["keys", 0, bytes(16), 65_537],
        ["want", 2**63],
        ["want", -1],
        ["wish", 1],
    ],
)
def test_what_exceeds_a_limit_is_refused(told: list[object]) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.decode(msgspec.msgpack.encode(told), Keys if told[0] == "keys" else Want)


@given(st.binary(max_size=80))
def test_anything_at_all_is_decoded_or_refused(frame: bytes) -> None:
    for kind in (Keys, Want):
        with suppress(RemoteProtocolError):
            assert wire.decode(wire.encode(wire.decode(frame, kind)), kind) == wire.decode(frame, kind)
