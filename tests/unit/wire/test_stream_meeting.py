"""How two sites come to a key stream: the codec whole, byte by byte, with trailing bytes, and anything at all."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from fuzz.__main__ import TARGETS, run
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import RemoteProtocolError
from qss.wire import stream_meeting as wire
from qss.wire.stream_meeting import Found, Join, Message, Offer, Reason, Refuse, Wait

NAMES = st.text(min_size=1, max_size=100)
CHUNKS = st.integers(32, 65_536)
MESSAGES = st.one_of(
    st.builds(Offer, st.binary(min_size=16, max_size=16), NAMES, NAMES, CHUNKS, st.booleans(), st.booleans()),
    st.builds(Wait),
    st.builds(Found, CHUNKS, st.booleans()),
    st.builds(Join),
    st.builds(Refuse, st.sampled_from(Reason)),
)
ONE_OF_EACH = (
    (Offer(bytes(16), "sae:a", "sae:b", 64, True, False), ["offer", bytes(16), "sae:a", "sae:b", 64, True, False]),
    (Wait(), ["wait"]),
    (Found(64, True), ["found", 64, True]),
    (Join(), ["join"]),
    (Refuse(Reason.IN_USE), ["refuse", "in-use"]),
)


@given(MESSAGES)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize(("message", "told"), ONE_OF_EACH)
def test_the_bytes_are_those_of_the_specification_and_no_others(message: Message, told: list[object]) -> None:
    frame = wire.encode(message)
    assert frame == msgspec.msgpack.encode(told)
    for cut in range(len(frame)):
        with pytest.raises(RemoteProtocolError):
            wire.decode(frame[:cut])
    for other in (frame + b"\0", msgspec.msgpack.encode([*told, None]), msgspec.msgpack.encode(told[:-1])):
        with pytest.raises(RemoteProtocolError):
            wire.decode(other)


@pytest.mark.parametrize(
    "told",
    [
        ["greet"],
        ["offer", bytes(15), "sae:a", "sae:b", 64, True, True],
        ["offer", bytes(16), "", "sae:b", 64, True, True],
        ["offer", bytes(16), "sae:a", "b" * 256, 64, True, True],
        ["offer", bytes(16), "sae:a", "sae:b", 31, True, True],
        ["offer", bytes(16), "sae:a", "sae:b", 65_537, True, True],
        ["offer", bytes(16), "sae:a", "sae:b", 64, 1, True],
        ["found", 0, True],
        ["refuse", "because"],
        ["offer", bytes(16), "\U0001f600" * 255, "sae:b", 64, True, True],
    ],
)
def test_what_exceeds_a_limit_is_refused(told: list[object]) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.decode(msgspec.msgpack.encode(told))


@given(st.binary(max_size=1100))
def test_anything_at_all_is_decoded_or_refused(frame: bytes) -> None:
    with suppress(RemoteProtocolError):
        assert wire.decode(wire.encode(wire.decode(frame))) == wire.decode(frame)


def test_what_comes_out_of_turn_is_refused() -> None:
    assert wire.expected(wire.encode(Join()), Join) == Join()
    with pytest.raises(RemoteProtocolError, match="Join came where Found or Refuse was due"):
        wire.expected(wire.encode(Join()), Found, Refuse)


def test_fuzzing_finds_nothing_in_a_short_while() -> None:
    assert run(TARGETS["key-streams"], seed=1, tries=2000) == 2000
