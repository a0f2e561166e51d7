"""The frames of a pair of boxes: whole, cut short, with trailing bytes, and anything at all."""

import msgspec
import pytest
from fuzz.__main__ import TARGETS, run
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import RemoteProtocolError
from qss.wire import vendor_boxes as wire

ONE_OF_EACH = {
    wire.Terms("sae:m", 32, 1024): ["terms", "sae:m", 32, 1024],
    wire.Ready("sae:s", 128): ["ready", "sae:s", 128],
    wire.Offer((b"i" * 16, b"j" * 16)): ["offer", [b"i" * 16, b"j" * 16]],
    wire.Held(True): ["held", True],
    wire.Opened(b"k" * 16, 512, 1024): ["opened", b"k" * 16, 512, 1024],
    wire.Joined(): ["joined"],
    wire.Mark(7): ["mark", 7],
}
each = pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)


@each
def test_the_bytes_on_the_wire_are_those_of_the_specification(message):
    frame = wire.encode(message)
    assert frame == msgspec.msgpack.encode(ONE_OF_EACH[message])
    assert wire.decode(frame, type(message)) == message


@each
def test_less_or_more_is_refused(message):
    frame = wire.encode(message)
    for wrong in (*(frame[:length] for length in range(len(frame))), frame + b"\0"):
        with pytest.raises(RemoteProtocolError):
            wire.decode(wrong, type(message))


@each
def test_another_message_than_is_due_is_refused(message):
    other = wire.Held if not isinstance(message, wire.Held) else wire.Joined
    with pytest.raises(RemoteProtocolError, match="was due"):
        wire.decode(wire.encode(message), other)


@given(st.binary(max_size=100))
def test_anything_is_a_message_or_refused(frame):
    try:
        wire.decode(frame, wire.Held)
    except RemoteProtocolError:
        return


@pytest.mark.parametrize(
    "members",
    [
        ["terms", "s", 0, 1024],
        ["terms", "s", wire.MAX_KEY_BYTES + 1, 1024],
        ["terms", "s", 32, 1023],
        ["terms", "s", 32, wire.MAX_BLOCK_BYTES + 1],
        ["terms", "", 32, 1024],
        ["terms", "s" * 256, 32, 1024],
        ["ready", "s", 0],
        ["ready", "s", wire.MAX_OFFERED + 1],
        ["offer", []],
        ["offer", [b"i" * 15]],
        ["offer", [b"i" * 16] * (wire.MAX_OFFERED + 1)],
        ["held", 1],
        ["mark", -1],
        ["opened", b"k" * 16, 0, 1024],
    ],
)
def test_what_is_beyond_a_limit_is_refused(members):
    with pytest.raises(RemoteProtocolError, match="same release"):
        wire.decode(msgspec.msgpack.encode(members), wire.Terms)


@pytest.mark.parametrize(("message", "side"), [(wire.Terms("s", 32, 1024), "slave"), (wire.Ready("s", 1), "master")])
def test_two_ends_that_are_the_same_side_are_told_so(message, side):
    due = wire.Ready if isinstance(message, wire.Terms) else wire.Terms
    with pytest.raises(RemoteProtocolError, match=f'set side = "{side}" at one of them'):
        wire.decode(wire.encode(message), due)


def test_fuzzing_finds_nothing_in_a_short_while():
    run(TARGETS["vendor-boxes"], 1, tries=3000)
