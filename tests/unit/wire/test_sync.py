"""Sync's codec: whole, byte by byte, with trailing bytes, and anything at all."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.wire import sync

IDS = st.binary(min_size=16, max_size=16)
NUMBERS = st.integers(0, 2**63 - 1)
MESSAGES = st.one_of(
    st.builds(sync.Open, IDS, st.sampled_from(sync.End), st.integers(sync.MIN_CHUNK_BYTES, sync.MAX_CHUNK_BYTES)),
    st.builds(sync.Close, IDS),
    st.builds(sync.Check, NUMBERS, IDS),
    st.builds(sync.Verdict, NUMBERS, st.booleans()),
    st.builds(sync.Device, st.binary(max_size=200)),
    st.builds(sync.Credit, st.integers(1, sync.DEVICE_WINDOW)),
)
ONE_OF_EACH = (
    sync.Open(bytes(16), sync.End.INITIATOR, 1024),
    sync.Close(bytes(16)),
    sync.Check(7, b"t" * 16),
    sync.Verdict(7, True),
    sync.Device(b"photons"),
    sync.Credit(3),
)


@given(st.lists(MESSAGES, min_size=1, max_size=20))
def test_what_is_encoded_is_decoded(messages):
    assert sync.decode(sync.encode(messages)) == tuple(messages)


def test_the_bytes_on_the_wire_are_those_of_the_specification():
    assert sync.encode(ONE_OF_EACH) == msgspec.msgpack.encode(
        [
            ["open", bytes(16), "initiator", 1024],
            ["close", bytes(16)],
            ["check", 7, b"t" * 16],
            ["verdict", 7, True],
            ["device", b"photons"],
            ["credit", 3],
        ]
    )


@pytest.mark.parametrize("cut", range(len(sync.encode(ONE_OF_EACH))))
def test_a_frame_that_lacks_its_end_is_refused(cut):
    with pytest.raises(RemoteProtocolError):
        sync.decode(sync.encode(ONE_OF_EACH)[:cut])


@given(st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(trailing):
    with pytest.raises(RemoteProtocolError):
        sync.decode(sync.encode(ONE_OF_EACH) + trailing)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        ["close"],
        [["close"]],
        [["close", bytes(15)]],
        [["close", bytes(16), None]],
        [["shut", bytes(16)]],
        [["open", bytes(16), "middle", 1024]],
        [["open", bytes(16), "initiator", sync.MIN_CHUNK_BYTES - 1]],
        [["open", bytes(16), "initiator", sync.MAX_CHUNK_BYTES + 1]],
        [["check", -1, bytes(16)]],
        [["check", 2**63, bytes(16)]],
        [["check", 1.0, bytes(16)]],
        [["check", 1, bytes(17)]],
        [["verdict", 1, 1]],
        [["credit", 0]],
        [["credit", sync.DEVICE_WINDOW + 1]],
        [["device", "text"]],
        [["device", bytes(sync.MAX_DEVICE_FRAME_BYTES + 1)]],
        [["credit", 1]] * (sync.MAX_MESSAGES + 1),
        {"close": bytes(16)},
    ],
)
def test_what_breaks_a_shape_or_limit_is_refused(messages):
    with pytest.raises(RemoteProtocolError):
        sync.decode(msgspec.msgpack.encode(messages))


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_remote_protocol_error(frame):
    try:
        messages = sync.decode(frame)
    except RemoteProtocolError:
        return
    assert sync.decode(sync.encode(messages)) == messages


@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_a_frame_with_a_changed_byte_is_a_frame_or_refused(message, data):
    frame = bytearray(sync.encode([message]))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        sync.decode(bytes(frame))
    except RemoteProtocolError as error:
        assert error.__cause__ is None  # noqa: PT017 - most inputs must raise, and some may not


def test_deep_nesting_is_refused_without_exhausting_the_stack():
    with pytest.raises(RemoteProtocolError):
        sync.decode(b"\x91" * sync.MAX_FRAME_BYTES)


def test_frames_beyond_the_limit_are_neither_sent_nor_taken():
    with pytest.raises(RemoteProtocolError, match=f"exceeds the limit of {sync.MAX_FRAME_BYTES}"):
        sync.decode(bytes(sync.MAX_FRAME_BYTES + 1))
    with pytest.raises(LocalProtocolError):
        sync.encode([sync.Device(bytes(sync.MAX_DEVICE_FRAME_BYTES))] * 2)
    with pytest.raises(LocalProtocolError):
        sync.encode([])


@given(st.lists(st.one_of(MESSAGES, st.just(sync.Device(bytes(sync.MAX_DEVICE_FRAME_BYTES)))), max_size=600))
def test_any_run_of_messages_is_parted_into_frames_in_order(messages):
    parts = sync.split(messages)
    assert [m for part in parts for m in part] == messages
    for part in parts:
        sync.encode(part)


def test_a_device_frame_does_not_show_what_it_carries():
    assert "photons" not in repr(ONE_OF_EACH)
