"""QRP's codec: whole, byte by byte, with trailing bytes, and anything at all; and the page says what it does."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.wire import qrp

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "qrp.md").read_text(encoding="utf-8")

PAIR = b"p" * 16
CARD = qrp.DeviceCard("simulator", True, 400_000.0, 0.02, True, False, 8, None, "runs low")
STATE = qrp.PairState(
    PAIR, True, qrp.StreamPhase.RUNNING, b"s" * 16, 64, "TLSv1.3", CARD, 7, {"read": 1024, "stalls": 0}, {"cycle": 1}
)
CARD_WIRE = ["simulator", True, 400_000.0, 0.02, True, False, 8, None, "runs low"]
REGISTER_WIRE = ["register", "A/1", [[PAIR, "B"]], CARD_WIRE, "127.0.0.1", 25575, "0.1.0"]
STATE_WIRE = [PAIR, True, "running", b"s" * 16, 64, "TLSv1.3", CARD_WIRE, 7, {"read": 1024, "stalls": 0}, {"cycle": 1}]
ONE_OF_EACH = (
    qrp.Register("A/1", (qrp.Claim(PAIR, "B"),), CARD, "127.0.0.1", 25575, "0.1.0"),
    qrp.Accepted((PAIR,)),
    qrp.Refused("not configured"),
    qrp.Start(PAIR),
    qrp.Stop(PAIR),
    qrp.Information((STATE,)),
    qrp.Deregister("it stops"),
)


def changed(wire: list[object], position: int, value: object) -> list[object]:
    return [*wire[:position], value, *wire[position + 1 :]]


def test_what_is_encoded_is_decoded() -> None:
    assert qrp.decode(qrp.encode(ONE_OF_EACH)) == ONE_OF_EACH


def test_the_bytes_on_the_wire_are_those_of_the_specification() -> None:
    assert qrp.encode(ONE_OF_EACH) == msgspec.msgpack.encode(
        [
            REGISTER_WIRE,
            ["accepted", [PAIR]],
            ["refused", "not configured"],
            ["start", PAIR],
            ["stop", PAIR],
            ["information", [STATE_WIRE]],
            ["deregister", "it stops"],
        ]
    )


def test_the_largest_message_fits_into_a_frame() -> None:
    most = 2**63 - 1
    counts = {f"{chr(97 + n // 26)}{chr(97 + n % 26)}".ljust(32, "x"): most for n in range(qrp.MAX_COUNTS)}
    card = qrp.DeviceCard("\U0001f511" * 127, True, 1e15, 1.0, True, True, most, most, "\U0001f511" * qrp.MAX_TEXT)
    state = qrp.PairState(
        PAIR, True, qrp.StreamPhase.OPENING, PAIR, 2**32 - 1, "\U0001f511" * qrp.MAX_TEXT, card, most, counts, counts
    )
    message = qrp.Information((state,) * qrp.MAX_PAIRS)
    assert qrp.decode(qrp.encode([message])) == (message,)


@pytest.mark.parametrize("cut", range(len(qrp.encode(ONE_OF_EACH))))
def test_a_frame_that_lacks_its_end_is_refused(cut: int) -> None:
    with pytest.raises(RemoteProtocolError):
        qrp.decode(qrp.encode(ONE_OF_EACH)[:cut])


@given(st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(trailing: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        qrp.decode(qrp.encode(ONE_OF_EACH) + trailing)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        ["stop"],
        [["stop"]],
        [["stop", bytes(15)]],
        [["stop", bytes(16), None]],
        [["halt", bytes(16)]],
        [["accepted", [PAIR] * (qrp.MAX_PAIRS + 1)]],
        [["refused", "x" * (qrp.MAX_TEXT + 1)]],
        [["refused", "two\nlines"]],
        [["refused", "\x1b[2J"]],
        [["information", [STATE_WIRE] * (qrp.MAX_PAIRS + 1)]],
        [["information", [changed(STATE_WIRE, 2, "asleep")]]],
        [["information", [changed(STATE_WIRE, 4, 0)]]],
        [["information", [changed(STATE_WIRE, 8, {"Read": 1})]]],
        [["information", [changed(STATE_WIRE, 8, {"read": -1})]]],
        [["information", [changed(STATE_WIRE, 8, {"a" * 33: 1})]]],
        [["information", [changed(STATE_WIRE, 8, {"a" * (1 + n % 32) + "b" * (n // 32): n for n in range(99)})]]],
        [changed(REGISTER_WIRE, 1, "")],
        [changed(REGISTER_WIRE, 1, "A" * 128)],
        [changed(REGISTER_WIRE, 2, [])],
        [changed(REGISTER_WIRE, 2, [[PAIR, "B"]] * (qrp.MAX_PAIRS + 1))],
        [changed(REGISTER_WIRE, 3, changed(CARD_WIRE, 2, float("nan")))],
        [changed(REGISTER_WIRE, 3, changed(CARD_WIRE, 2, float("inf")))],
        [changed(REGISTER_WIRE, 3, changed(CARD_WIRE, 2, -1.0))],
        [changed(REGISTER_WIRE, 3, changed(CARD_WIRE, 3, 1.5))],
        [changed(REGISTER_WIRE, 4, "host name")],
        [changed(REGISTER_WIRE, 4, "")],
        [changed(REGISTER_WIRE, 5, 0)],
        [changed(REGISTER_WIRE, 5, 65_536)],
        [[*REGISTER_WIRE, None]],
        [["stop", PAIR]] * (qrp.MAX_MESSAGES + 1),
        {"stop": PAIR},
    ],
)
def test_what_breaks_a_shape_or_limit_is_refused(messages: object) -> None:
    with pytest.raises(RemoteProtocolError):
        qrp.decode(msgspec.msgpack.encode(messages))


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_remote_protocol_error(frame: bytes) -> None:
    try:
        messages = qrp.decode(frame)
    except RemoteProtocolError:
        return
    assert qrp.decode(qrp.encode(messages)) == messages


@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_a_frame_with_a_changed_byte_is_a_frame_or_refused(message: qrp.Message, data: st.DataObject) -> None:
    frame = bytearray(qrp.encode([message]))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        messages = qrp.decode(bytes(frame))
    except RemoteProtocolError:
        return
    assert qrp.decode(qrp.encode(messages)) == messages


def test_deep_nesting_is_refused_without_exhausting_the_stack() -> None:
    with pytest.raises(RemoteProtocolError):
        qrp.decode(b"\x91" * qrp.MAX_FRAME_BYTES)


def test_frames_beyond_the_limit_are_neither_sent_nor_taken() -> None:
    with pytest.raises(RemoteProtocolError, match=f"exceeds the limit of {qrp.MAX_FRAME_BYTES}"):
        qrp.decode(bytes(qrp.MAX_FRAME_BYTES + 1))
    with pytest.raises(LocalProtocolError):
        qrp.encode([])
    with pytest.raises(LocalProtocolError):
        qrp.encode([qrp.Stop(PAIR)] * (qrp.MAX_MESSAGES + 1))


@given(st.text())
def test_any_text_can_be_made_a_reason(text: str) -> None:
    message = qrp.Refused(qrp.plain(text))
    assert qrp.decode(qrp.encode([message])) == (message,)


def test_the_page_has_every_message_and_the_limits() -> None:
    rows = PAGE.partition("| Message |")[2].partition("\n\n")[0].splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [kind.__struct_config__.tag for kind in get_args(qrp.Message)]
    for said in (
        f"1 to {qrp.MAX_MESSAGES} messages and at most {qrp.MAX_FRAME_BYTES:,} bytes",
        f"claims (1 to {qrp.MAX_PAIRS})",
        f"states (of up to {qrp.MAX_PAIRS} pairs)",
        f"up to {qrp.MAX_COUNTS} counters",
        f"up to {qrp.MAX_TEXT} characters",
        f"sub-protocol `{qrp.SUBPROTOCOL}`",
        ", ".join(f"`{phase}`" for phase in qrp.StreamPhase),
    ):
        assert said in PAGE
