"""Routing's codec: whole, byte by byte, with trailing bytes, and anything at all."""

from __future__ import annotations

import msgspec
import pytest
from fuzz.__main__ import TARGETS, run
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import QksId
from qss.wire import routing as wire

DIGEST = b"12345678"
KEY = wire.Key("A", wire.LsaType.LINKS, 0)
HEADER = wire.Header(KEY, 0, 1, DIGEST)
LINKS = wire.Body(
    wire.VERSION,
    wire.LsaType.LINKS,
    wire.Source("A", "a.example.net", 8444),
    wire.Endpoint("a.example.net", 8444),
    0,
    0,
    7,
    90,
    False,
    True,
    (wire.LinkState("B", 256, 1 << 20), wire.LinkState("C", 1024, 0)),
    (),
    1_795_000_000,
)
SAES = msgspec.structs.replace(
    LINKS,
    type=wire.LsaType.SAES,
    part=63,
    links=(),
    saes=(wire.SaeState("sae:alice", None), wire.SaeState("sae:ann", b"signed")),
)
AUTHENTICATION = wire.Authentication("ecdsa-sha256", (b"certificate",), b"signature")
CARRIED = wire.Carried("B", 1500, wire.encode_body(LINKS), AUTHENTICATION)
ONE_OF_EACH = (
    wire.Hello(True, False, 4000, DIGEST),
    wire.Summary((HEADER,), True),
    wire.Request((KEY,)),
    wire.Update((CARRIED,)),
    wire.Ack((HEADER,)),
    wire.Tags(True, (wire.HeldRange(b"a stream of key!", 64, 2048),)),
    wire.Tagged(b"a stream of key!", 96, wire.encode_update(wire.Update((CARRIED,))), b"sixteen bytes ok"),
)
KEY_WIRE, HEADER_WIRE = ["A", "K", 0], [["A", "K", 0], 0, 1, DIGEST]
CARRIED_WIRE = ["B", 1500, CARRIED.body, ["ecdsa-sha256", [b"certificate"], b"signature"]]
BODY_WIRE = [
    1, "K", ["A", "a.example.net", 8444], ["a.example.net", 8444], 0, 0, 7, 90, False, True,
    [["B", 256, 1 << 20], ["C", 1024, 0]], [], 1_795_000_000,
]  # fmt: skip


def changed(items: list[object], place: int, item: object) -> list[object]:
    return [*items[:place], item, *items[place + 1 :]]


def test_each_message_on_the_wire() -> None:
    frame = wire.encode(ONE_OF_EACH)
    assert msgspec.msgpack.decode(frame) == [
        ["hello", True, False, 4000, DIGEST],
        ["summary", [HEADER_WIRE], True],
        ["request", [KEY_WIRE]],
        ["update", [CARRIED_WIRE]],
        ["ack", [HEADER_WIRE]],
        ["tags", True, [[b"a stream of key!", 64, 2048]]],
        ["tagged", b"a stream of key!", 96, msgspec.msgpack.encode(["update", [CARRIED_WIRE]]), b"sixteen bytes ok"],
    ]
    assert wire.decode(frame) == ONE_OF_EACH


@pytest.mark.parametrize("body", [LINKS, SAES], ids=["links", "saes"])
def test_each_body_is_what_was_signed(body: wire.Body) -> None:
    encoded = wire.encode_body(body)
    assert wire.decode_body(encoded) == body
    header = wire.header_of(encoded, body)
    assert (header.key, header.generation, header.sequence) == (body.key, 0, 7)
    assert wire.header_of(encoded + b"x", body).digest != header.digest


def test_a_body_on_the_wire() -> None:
    assert msgspec.msgpack.decode(wire.encode_body(LINKS)) == BODY_WIRE


@pytest.mark.parametrize("cut", range(len(wire.encode(ONE_OF_EACH))))
def test_a_frame_that_lacks_its_end_is_refused(cut: int) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.decode(wire.encode(ONE_OF_EACH)[:cut])


@pytest.mark.parametrize("body", [LINKS, SAES], ids=["links", "saes"])
def test_a_body_that_lacks_its_end_is_refused(body: wire.Body) -> None:
    encoded = wire.encode_body(body)
    for cut in range(len(encoded)):
        with pytest.raises(RemoteProtocolError):
            wire.decode_body(encoded[:cut])


@given(st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(trailing: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.decode(wire.encode(ONE_OF_EACH) + trailing)
    with pytest.raises(RemoteProtocolError):
        wire.decode_body(wire.encode_body(LINKS) + trailing)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        ["hello"],
        [["hello", True, True, 4000]],
        [["hello", True, True, 4000, b"1234567"]],
        [["hello", True, True, 99, DIGEST]],
        [["hello", 1, True, 4000, DIGEST]],
        [["farewell", True, True, 4000, DIGEST]],
        [["summary", [HEADER_WIRE] * (wire.MAX_HEADERS + 1), False]],
        [["summary", [changed(HEADER_WIRE, 1, 1 << 63)], False]],
        [["summary", [changed(HEADER_WIRE, 2, 0)], False]],
        [["summary", [changed(HEADER_WIRE, 2, 1 << 32)], False]],
        [["request", []]],
        [["request", [changed(KEY_WIRE, 0, "")]]],
        [["request", [changed(KEY_WIRE, 0, "a b")]]],
        [["request", [changed(KEY_WIRE, 1, "Q:")]]],
        [["request", [changed(KEY_WIRE, 2, wire.MAX_PARTS)]]],
        [["update", []]],
        [["update", [CARRIED_WIRE] * (wire.MAX_CARRIED + 1)]],
        [["update", [changed(CARRIED_WIRE, 1, -1)]]],
        [["update", [changed(CARRIED_WIRE, 2, b"")]]],
        [["update", [changed(CARRIED_WIRE, 2, bytes(wire.MAX_BODY_BYTES + 1))]]],
        [["update", [changed(CARRIED_WIRE, 3, ["ecdsa-sha256", [b"certificate"]])]]],
        [["update", [changed(CARRIED_WIRE, 3, ["ecdsa-sha256", [bytes(4097)], b""])]]],
        [["ack", []]],
        [["ack", [HEADER_WIRE], None]],
        [["tags", 1, []]],
        [["tags", True, [[bytes(16), 0, 32]] * (wire.MAX_HELD + 1)]],
        [["tags", True, [[bytes(15), 0, 32]]]],
        [["tags", True, [[bytes(16), -1, 32]]]],
        [["tags", True, [[bytes(16), 0, 1 << 63]]]],
        [["tags", True, [[bytes(16), 0]]]],
        [["tagged", bytes(15), 0, b"update", bytes(16)]],
        [["tagged", bytes(16), -1, b"update", bytes(16)]],
        [["tagged", bytes(16), 1 << 63, b"update", bytes(16)]],
        [["tagged", bytes(16), 0, b"", bytes(16)]],
        [["tagged", bytes(16), 0, b"update", bytes(15)]],
        [["tagged", bytes(16), 0, b"update", bytes(17)]],
        [["request", [KEY_WIRE]]] * (wire.MAX_MESSAGES + 1),
        {"request": [KEY_WIRE]},
    ],
)
def test_what_breaks_a_shape_or_limit_is_refused(messages: object) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.decode(msgspec.msgpack.encode(messages))


@pytest.mark.parametrize(
    "body",
    [
        changed(BODY_WIRE, 0, 0),
        changed(BODY_WIRE, 1, "S"),
        changed(BODY_WIRE, 2, ["A", "host name", 1]),
        changed(BODY_WIRE, 3, ["h", 0]),
        changed(BODY_WIRE, 7, 0),
        changed(BODY_WIRE, 7, wire.MAX_LIFETIME_S + 1),
        changed(BODY_WIRE, 8, True),
        changed(BODY_WIRE, 10, [["B", 0, 1]]),
        changed(BODY_WIRE, 10, [["B", wire.MAX_COST + 1, 1]]),
        changed(BODY_WIRE, 10, [["B", 1, -1]]),
        changed(BODY_WIRE, 10, [["B", 1, 1], ["B", 2, 1]]),
        changed(BODY_WIRE, 10, [["A", 1, 1]]),
        changed(BODY_WIRE, 11, [["sae:alice", None]]),
        changed(changed(changed(BODY_WIRE, 1, "S"), 10, []), 11, [["sae:a", None], ["sae:a", b"signed"]]),
        changed(changed(changed(changed(BODY_WIRE, 1, "S"), 10, []), 11, [["sae:a", None]]), 8, True),
        changed(BODY_WIRE, 12, -1),
        [*BODY_WIRE, None],
        BODY_WIRE[:-1],
    ],
)
def test_a_body_that_contradicts_itself_or_the_limits_is_refused(body: object) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.decode_body(msgspec.msgpack.encode(body))


@pytest.mark.parametrize("room", [0, 1])
def test_what_is_larger_than_the_limit_is_refused_unread(room: int) -> None:
    """One byte decides, and it is looked at before anything else."""
    padded = wire.Authentication("none", (bytes(4096),) * 4, b"")
    carried = msgspec.structs.replace(CARRIED, body=bytes(wire.MAX_BODY_BYTES), authentication=padded)
    frame = wire.encode([wire.Update((carried,) * 3)])
    rest = wire.MAX_FRAME_BYTES - len(frame)
    last = msgspec.structs.replace(CARRIED, body=bytes(rest - len(wire.encode([wire.Update((CARRIED,))]))))
    while len(frame := msgspec.msgpack.encode([wire.Update((carried, carried, carried, last))])) < wire.MAX_FRAME_BYTES:
        last = msgspec.structs.replace(last, body=last.body + b"\0")
    assert len(frame) == wire.MAX_FRAME_BYTES
    assert wire.decode(frame)
    with pytest.raises(RemoteProtocolError, match="exceeds the limit"):
        wire.decode(frame + bytes(1 + room))
    with pytest.raises(RemoteProtocolError, match="exceeds the limit"):
        wire.decode_body(bytes(wire.MAX_BODY_BYTES + 1 + room))


@pytest.mark.parametrize(
    "data",
    [b"", wire.encode(ONE_OF_EACH[3:4]), wire.encode_update(ONE_OF_EACH[3]) + b"x", wire.encode([ONE_OF_EACH[0]])[1:]],
    ids=["nothing", "a frame", "more than an Update", "another message"],
)
def test_what_is_tagged_is_one_update_and_nothing_else(data: bytes) -> None:
    assert wire.decode_update(wire.encode_update(ONE_OF_EACH[3])) == ONE_OF_EACH[3]
    with pytest.raises(RemoteProtocolError):
        wire.decode_update(data)


def test_what_a_tag_is_made_over() -> None:
    text = wire.tagged_text(QksId("A"), QksId("B"), b"a stream of key!", 96, b"update")
    assert text == b"qss-routing-tag.1\0\x94\xa1A\xa1B\xc4\x10a stream of key!\x60update"


def test_an_sae_may_be_called_as_its_site_is() -> None:
    body = msgspec.structs.replace(SAES, saes=(wire.SaeState("A", None),))
    assert wire.decode_body(wire.encode_body(body)) == body


OTHERS = {
    "another type": changed(BODY_WIRE, 1, "X"),
    "another type, and other members": [*changed(BODY_WIRE, 1, "key-rates")[:9], {"any": "thing"}, 1],
    "another type, and no more members": changed(BODY_WIRE, 1, "X")[:9],
    "a later version": changed(BODY_WIRE, 0, 2),
    "a later version, with more members": [*changed(BODY_WIRE, 0, 2), "more"],
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_of_a_body_that_is_not_known_here_the_beginning_is_read(body: list[object]) -> None:
    encoded = msgspec.msgpack.encode(body)
    found = wire.decode_body(encoded)
    assert not isinstance(found, wire.Body)
    assert found.key == wire.Key("A", str(body[1]), 0)
    assert (found.generation, found.sequence, found.lifetime_s, found.withdrawn) == (0, 7, 90, False)
    assert wire.header_of(encoded, found).sequence == 7
    header = [["A", body[1], 0], 0, 1, DIGEST]
    assert wire.decode(msgspec.msgpack.encode([["summary", [header], False]]))


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize(
    ("place", "item"),
    [(0, 0), (0, "1"), (1, ""), (1, "a type without end"), (1, "K S"), (2, ["A"]), (4, 64), (6, 0), (7, 0), (8, None)],
)
def test_whose_beginning_cannot_be_read_is_no_body(body: list[object], place: int, item: object) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.decode_body(msgspec.msgpack.encode(changed(body, place, item)))
    with pytest.raises(RemoteProtocolError):
        wire.decode_body(msgspec.msgpack.encode(body[:8]))
    with pytest.raises(RemoteProtocolError):
        wire.decode_body(msgspec.msgpack.encode(body)[:-1])


def test_links_in_another_part_than_the_first_are_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="part 0 alone"):
        wire.decode_body(msgspec.msgpack.encode(changed(BODY_WIRE, 4, 1)))


def test_a_withdrawal_names_nobody() -> None:
    body = msgspec.structs.replace(LINKS, withdrawn=True, links=())
    assert wire.decode_body(wire.encode_body(body)) == body


@pytest.mark.parametrize("number", [1, 15, 16, wire.MAX_MESSAGES, wire.MAX_MESSAGES + 1, 1000])
def test_messages_are_parted_into_frames(number: int) -> None:
    messages = [ONE_OF_EACH[place % len(ONE_OF_EACH)] for place in range(number)]
    frames = wire.frames(messages)
    assert [message for frame in frames for message in wire.decode(frame)] == messages
    assert len(frames) == -(-number // wire.MAX_MESSAGES)
    assert frames[0] == wire.encode(messages[: wire.MAX_MESSAGES])


def test_frames_are_as_full_as_they_may_be() -> None:
    large = wire.Update((msgspec.structs.replace(CARRIED, body=bytes(60_000)),))
    frames = wire.frames([large] * 9)
    assert [len(wire.decode(frame)) for frame in frames] == [4, 4, 1]
    assert max(map(len, frames)) <= wire.MAX_FRAME_BYTES
    with pytest.raises(LocalProtocolError):
        wire.frames([wire.Update(large.carried * 5)])


@given(st.lists(st.binary(max_size=4096), max_size=wire.MAX_CHAIN), st.binary(max_size=4096), st.binary(min_size=1))
def test_the_size_of_a_carried_lsa_is_no_less_than_it_takes(chain: list[bytes], signature: bytes, body: bytes) -> None:
    said = wire.Authentication("x" * 32, tuple(chain), signature)
    carried = wire.Carried("s" * 63, 1000 * wire.MAX_LIFETIME_S, body, said)
    taken = len(wire.encode([wire.Update((carried,))]))
    assert taken <= carried.size <= taken + wire.CARRIED_BYTES


def test_what_is_too_large_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        wire.encode([])
    with pytest.raises(LocalProtocolError):
        wire.encode([wire.Update((msgspec.structs.replace(CARRIED, body=bytes(60_000)),) * 5)])
    many = tuple(wire.SaeState(f"sae:{number:0250}", None) for number in range(4096))
    with pytest.raises(LocalProtocolError):
        wire.encode_body(msgspec.structs.replace(SAES, saes=many))


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_remote_protocol_error(frame: bytes) -> None:
    try:
        messages = wire.decode(frame)
    except RemoteProtocolError:
        return
    assert wire.decode(wire.encode(messages)) == messages


@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_a_frame_with_a_changed_byte_is_a_frame_or_refused(message: wire.Message, data: st.DataObject) -> None:
    frame = bytearray(wire.encode([message]))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        messages = wire.decode(bytes(frame))
    except RemoteProtocolError:
        return
    assert wire.decode(wire.encode(messages)) == messages


@given(st.sampled_from([LINKS, SAES]), st.data())
def test_a_body_with_a_changed_byte_is_a_body_or_refused(body: wire.Body, data: st.DataObject) -> None:
    encoded = bytearray(wire.encode_body(body))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = wire.decode_body(bytes(encoded))
    except RemoteProtocolError:
        return
    assert wire.decode_body(wire.encode_body(found)) == found


def test_fuzzing_finds_nothing_in_a_short_while() -> None:
    assert run(TARGETS["routing"], seed=4, tries=1500) == 1500
