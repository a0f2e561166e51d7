"""The codec of ETSI GS QKD 004: what public code writes, byte by byte, with trailing bytes, and anything at all."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from fuzz.__main__ import TARGETS, run
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.key_material import KeyMaterial
from qss.wire.etsi004.framing import (
    ANSWERS,
    FORGE_VERSION,
    MAX_KEY_BYTES,
    MAX_METADATA_BYTES,
    MAX_PAYLOAD,
    QUBIP_VERSION,
    REQUESTS,
    VERSIONS,
    Frame,
    FrameDecoder,
    Service,
)
from qss.wire.etsi004.messages import (
    NULL_KSID,
    Close,
    CloseAnswer,
    Error,
    Form,
    GetKey,
    GetKeyAnswer,
    OpenConnect,
    OpenConnectAnswer,
    QoS,
    decode,
    encode,
    failed_key,
)
from qss.wire.etsi004.status import NUMBERS, Edition, Status, number_of, status_of

VECTORS = Path(__file__).parents[2] / "vectors" / "etsi004"
KSID = bytes(range(16))
KEY, METADATA = KeyMaterial(b"\1\2\3\4\5"), b'{"age": 12, "hops": 0}'
BIG = QoS(8192, 32, 32, 0, 0, 0, 0, "application/json")
SMALL = QoS(64, 40000, 5000, 10, 1, 5000, 3600, "")
QUBIP_QOS = QoS(512, 40000, 5000, 10, 0, 5000, 3600, "application/json")

MESSAGES = {
    "forge": {
        "open_connect_null": OpenConnect(
            "qkd//app1@aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "qkd//app2@bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb", BIG
        ),
        "open_connect_ksid": OpenConnect("qks:A", "qks:B", SMALL, KSID),
        "open_connect_answer": OpenConnectAnswer(7, BIG, KSID),
        "get_key_metadata": GetKey(KSID, 7, 2),
        "get_key_no_metadata": GetKey(KSID, (1 << 32) - 1, 0),
        "get_key_answer": GetKeyAnswer(0, 7, KEY, METADATA),
        "get_key_answer_failed": failed_key(2, 9, Form.FORGE),
        "get_key_answer_small": failed_key(8, 9, Form.FORGE, 31),
        "close": Close(KSID),
        "close_answer": CloseAnswer(0),
    },
    "qubip": {
        "open_connect_null": OpenConnect("qkd://app1@a", "qkd://app2@b", QUBIP_QOS, NULL_KSID, Form.QUBIP),
        "open_connect_ksid": OpenConnect(
            "qks:A", "qks:B", QoS(512, 40000, 5000, 10, 0, 5000, 3600, ""), KSID, Form.QUBIP
        ),
        "open_connect_answer": OpenConnectAnswer(7, QUBIP_QOS, KSID, Form.QUBIP),
        "open_connect_answer_failed": OpenConnectAnswer(5, None, form=Form.QUBIP),
        "get_key": GetKey(KSID, 7, 1024, Form.QUBIP),
        "get_key_answer": GetKeyAnswer(0, 7, KEY, METADATA),
        "get_key_answer_failed": failed_key(2, 9, Form.QUBIP),
        "get_key_answer_small": failed_key(8, 9, Form.QUBIP, 31),
        "close": Close(KSID),
        "close_answer": CloseAnswer(0),
    },
}
WHO = {"forge": FORGE_VERSION, "qubip": QUBIP_VERSION}


def vectors(who: str) -> dict[str, bytes]:
    frames = json.loads((VECTORS / f"{who}.json").read_text("utf-8"))["frames"]
    return {name: bytes.fromhex(frame) for name, frame in frames.items()}


def feed(data: bytes) -> list[Frame]:
    return FrameDecoder(REQUESTS | ANSWERS).feed(data)


NAMES = [(who, name) for who, named in MESSAGES.items() for name in named]


def test_every_vector_is_tested() -> None:
    assert {who: set(vectors(who)) for who in MESSAGES} == {who: set(named) for who, named in MESSAGES.items()}


@pytest.mark.parametrize(("who", "name"), NAMES)
def test_what_public_code_writes_is_read(who: str, name: str) -> None:
    (frame,) = feed(vectors(who)[name])
    assert frame.version == WHO[who]
    assert decode(frame) == MESSAGES[who][name]


@pytest.mark.parametrize(("who", "name"), NAMES)
def test_what_is_written_is_what_public_code_writes(who: str, name: str) -> None:
    written = encode(MESSAGES[who][name], WHO[who])
    expected = vectors(who)[name]
    if name == "get_key_metadata":  # what its buffer holds means nothing, and is not sent by us
        expected = expected[:-2] + bytes(2)
    assert written == expected


def refused_or_all_of_another(frame: Frame, payload: bytes) -> bool:
    """Whether a payload is refused; if it is not, it must be just what some other message is written as."""
    changed = Frame(frame.version, frame.service, payload)
    try:
        message = decode(changed)
    except RemoteProtocolError:
        return True
    assert encode(message, frame.version)[8:] == payload.replace(b"\x00\x10", bytes(2))
    return False


@pytest.mark.parametrize(("who", "name"), NAMES)
def test_every_cut_is_refused(who: str, name: str) -> None:
    whole = vectors(who)[name]
    (frame,) = feed(whole)
    assert all(feed(whole[:cut]) == [] for cut in range(len(whole)))
    taken = [cut for cut in range(len(frame.payload)) if not refused_or_all_of_another(frame, frame.payload[:cut])]
    assert len(taken) <= 2, "the status alone, the status and a size, a terminated mimetype before zeros"
    if name in ("close", "close_answer"):
        assert taken == []


@pytest.mark.parametrize(("who", "name"), NAMES)
def test_trailing_bytes_are_refused(who: str, name: str) -> None:
    (frame,) = feed(vectors(who)[name])
    for trailing in (b"\0", b"x", bytes(5), bytes(250)):
        assert refused_or_all_of_another(frame, frame.payload + trailing)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 8, 9, 64, 1000])
def test_frames_come_whole_out_of_any_pieces(step: int) -> None:
    data = b"".join(vectors("forge").values()) + b"".join(vectors("qubip").values())
    decoder = FrameDecoder(REQUESTS | ANSWERS)
    frames = [frame for at in range(0, len(data), step) for frame in decoder.feed(data[at : at + step])]
    assert [decode(frame) for frame in frames] == [MESSAGES[who][name] for who, name in NAMES]
    assert not decoder.within_frame


# --- what is refused at the header ----------------------------------------------------------------------------------


def header(version: tuple[int, int, int] = FORGE_VERSION, service: int = 4, length: int = 24) -> bytes:
    return struct.pack(">BBBBI", *version, service, length)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (header(version=(2, 1, 2)), "version 2.1.2"),
        (header(version=(0, 0, 0)), "version 0.0.0"),
        (header(version=(3, 1, 1)), "version 3.1.1"),
        (header(service=0x01), "0x01"),
        (header(service=0x0A), "0x0a"),
        (header(service=0xFF, length=0), "0xff"),
        (header(service=0x05), "0x05"),
        (header(length=(1 << 32) - 1), "4294967295 bytes is too large"),
        (header(service=8, length=17), "17 bytes is too large"),
        (b"GET / HTTP/1.1\r\n", "version 71.69.84"),
    ],
)
def test_a_header_is_judged_before_anything_of_the_payload_is_kept(data: bytes, complaint: str) -> None:
    decoder = FrameDecoder(REQUESTS)
    with pytest.raises(RemoteProtocolError, match=complaint):
        decoder.feed(data)
    assert not decoder.within_frame or vars(decoder)["_buffer"] == b""
    with pytest.raises(RemoteProtocolError, match="connect again"):
        decoder.feed(vectors("forge")["close"])


@pytest.mark.parametrize("service", list(Service))
def test_the_largest_payload_is_taken_and_one_byte_more_is_not(service: Service) -> None:
    most = MAX_PAYLOAD[service]
    assert len(feed(header(service=service, length=most) + bytes(most))) == 1
    with pytest.raises(RemoteProtocolError, match="too large"):
        feed(header(service=service, length=most + 1))


def test_a_client_takes_no_requests_and_a_server_no_answers() -> None:
    for services, name in ((ANSWERS, "close"), (REQUESTS, "close_answer")):
        with pytest.raises(RemoteProtocolError, match="is not taken"):
            FrameDecoder(services).feed(vectors("forge")[name])


# --- round trips ----------------------------------------------------------------------------------------------------

NUMBERS_32 = st.integers(0, (1 << 32) - 1)
KSIDS = st.binary(min_size=16, max_size=16)
URIS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)
MIMETYPES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=255)
QOSES = st.builds(QoS, *[NUMBERS_32] * 7, MIMETYPES)
FORMS = st.sampled_from(Form)
KEYS = st.binary(max_size=300).map(KeyMaterial)


def as_read(message: object) -> object:
    """Two forms are the same bytes in the one case that both could have written; the forge's is what is read."""
    if (
        isinstance(message, OpenConnect | OpenConnectAnswer)
        and message.qos
        and len(message.qos.metadata_mimetype) == 255
    ):
        return {**vars_of(message), "form": Form.FORGE}
    if isinstance(message, GetKey) and message.metadata_size == 0:
        return {**vars_of(message), "form": Form.FORGE}
    return vars_of(message)


def vars_of(message: object) -> dict[str, object]:
    return {"type": type(message), **{name: getattr(message, name) for name in message.__slots__}}  # type: ignore[attr-defined]


@given(
    st.one_of(
        st.builds(OpenConnect, URIS, URIS, QOSES, KSIDS, FORMS),
        st.builds(OpenConnectAnswer, NUMBERS_32, QOSES, KSIDS, FORMS),
        st.builds(OpenConnectAnswer, NUMBERS_32, st.none(), form=st.just(Form.QUBIP)),
        st.builds(GetKey, KSIDS, NUMBERS_32, st.integers(0, MAX_METADATA_BYTES), FORMS),
        st.builds(GetKeyAnswer, NUMBERS_32, NUMBERS_32, KEYS, st.binary(max_size=300)),
        st.builds(failed_key, NUMBERS_32, NUMBERS_32, FORMS, st.integers(0, MAX_METADATA_BYTES)),
        st.builds(Close, KSIDS),
        st.builds(CloseAnswer, NUMBERS_32),
        st.just(Error()),
    ),
    st.sampled_from(VERSIONS),
)
def test_what_is_encoded_is_decoded(message: object, version: tuple[int, int, int]) -> None:
    (frame,) = feed(encode(message, version))  # type: ignore[arg-type]
    assert frame.version == version
    assert as_read(decode(frame)) == as_read(message)


@pytest.mark.parametrize(
    "message",
    [
        Close(b"short"),
        OpenConnect("a\0b", "c"),
        OpenConnect("a" * 5000, "c"),
        OpenConnect("\ud800", "c"),
        OpenConnect("a", "c", QoS(metadata_mimetype="m" * 256)),
        OpenConnect("a", "c", QoS(key_chunk_size=1 << 32)),
        GetKey(KSID, -1),
        GetKey(KSID, 0, 1 << 31),
        GetKeyAnswer(0, 0, KeyMaterial(bytes(MAX_KEY_BYTES + MAX_METADATA_BYTES + 1))),
        CloseAnswer(1 << 32),
    ],
)
def test_what_cannot_be_sent_is_our_own_defect(message: object) -> None:
    with pytest.raises(LocalProtocolError):
        encode(message, FORGE_VERSION)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "payload",
    [
        b"a\0b\0" + bytes(28) + b"no end" + KSID,
        b"\xff\0b\0" + bytes(28) + b"\0" + KSID,
        b"a" * 4097 + b"\0b\0" + bytes(28) + b"\0" + KSID,
        b"a\0b\0" + bytes(28) + b"x".ljust(255, b"\0") + b"y" + KSID,
        b"a\0b\0" + bytes(28) + b"x\0\0" + KSID,
        b"",
    ],
)
def test_texts_that_are_none_are_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(Frame(FORGE_VERSION, Service.OPEN_CONNECT, payload))


def test_no_message_shows_what_it_carries() -> None:
    shown = repr((GetKeyAnswer(0, 0, KeyMaterial(b"secret")), Frame(FORGE_VERSION, Service.CLOSE, b"secret")))
    assert "secret bytes" in shown
    assert shown.count("secret") == 1
    assert "token" not in repr(OpenConnect("sae:a?token", "sae:b"))


# --- status ---------------------------------------------------------------------------------------------------------


def test_the_numbers_of_v2_1_1_are_those_of_its_table() -> None:
    assert [status_of(number, Edition.V2_1_1) for number in range(9)] == list(Status)


@pytest.mark.parametrize("edition", Edition)
def test_every_meaning_has_one_number_in_every_edition(edition: Edition) -> None:
    assert set(NUMBERS[edition]) == set(Status)
    assert {status_of(number_of(status, edition), edition) for status in Status} == set(Status)
    with pytest.raises(RemoteProtocolError, match=f"none of edition {edition}"):
        status_of(9, edition)


def test_fuzzing_finds_nothing_in_a_short_while() -> None:
    assert run(TARGETS["etsi004"], seed=4, tries=3000) == 3000
