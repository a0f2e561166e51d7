"""The calls of ETSI GS QKD 004 and their answers, as typed messages, and the payloads that carry them.

Numbers are unsigned, 32 bits, most significant byte first; a Key_stream_ID is 16 bytes in RFC 9562 order, all zero for
NULL. Two things are written in two ways by the code that is about. A request tells which way its sender has, and is
answered in the same way:

- a *mimetype* is terminated by one NUL (forge), or padded with NULs to 256 bytes (QUBIP);
- the *metadata* of GET_KEY is a size and a buffer of that size (forge), or the size alone (QUBIP).

QUBIP's code answers a failed call with the status alone, and a buffer that is too small with the status and the size
that is needed; the forge's code always answers in full, with an empty key, and with as many bytes of metadata as it
says there are. Whoever reads takes either.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.key_material import KeyMaterial
from qss.wire.etsi004.framing import (
    KSID_BYTES,
    MAX_KEY_BYTES,
    MAX_METADATA_BYTES,
    MAX_URI_BYTES,
    MIMETYPE_BYTES,
    Frame,
    Service,
    Version,
    encode_frame,
)

NULL_KSID = bytes(KSID_BYTES)
"""In OPEN_CONNECT: the server is to choose the Key_stream_ID."""

NO_KEY = KeyMaterial(b"")
"""In the answer of a GET_KEY that failed."""

MAX_NUMBER = (1 << 32) - 1

JSON_MIMETYPE = "application/json"
"""The mimetype that every server must support (clause 6.2)."""


class Form(StrEnum):
    """Whose way a message is written in."""

    FORGE = "forge"
    """Mimetypes are terminated; metadata is a size and a buffer; failures are answered in full."""
    QUBIP = "qubip"
    """Mimetypes are padded; metadata is asked for by its size alone; failures are answered by the status alone."""


@dataclass(frozen=True, slots=True)
class QoS:
    """The QoS parameters (clause 6.2, table 2). 0, and an empty mimetype, leave the choice to the server."""

    key_chunk_size: int = 0
    """Bytes in every chunk."""
    max_bps: int = 0
    min_bps: int = 0
    jitter: int = 0
    """Largest deviation, in bit/s."""
    priority: int = 0
    timeout: int = 0
    """How long any call may take, in ms."""
    ttl: int = 0
    """How long key is kept for a caller that does not fetch it, in s."""
    metadata_mimetype: str = ""
    """At most 255 printable ASCII characters; empty: no metadata."""


@dataclass(frozen=True, slots=True)
class OpenConnect:
    """OPEN_CONNECT, asked."""

    source: str = field(repr=False)
    """URI of the caller; it may carry a token, and is not shown."""
    destination: str = field(repr=False)
    qos: QoS = field(default_factory=QoS)
    stream: bytes = NULL_KSID
    form: Form = Form.FORGE


@dataclass(frozen=True, slots=True)
class OpenConnectAnswer:
    """OPEN_CONNECT, answered. `status` is the edition's number."""

    status: int
    qos: QoS | None
    """None: the status alone, as QUBIP's code answers when there is nothing to say of QoS."""
    stream: bytes = NULL_KSID
    form: Form = Form.FORGE


@dataclass(frozen=True, slots=True)
class GetKey:
    """GET_KEY, asked. `metadata_size` is how many bytes of metadata the caller has room for, 0 for none."""

    stream: bytes
    index: int
    metadata_size: int = 0
    form: Form = Form.FORGE


@dataclass(frozen=True, slots=True)
class GetKeyAnswer:
    """GET_KEY, answered."""

    status: int
    index: int = 0
    key: KeyMaterial | None = None
    """One whole chunk; empty in a failure that is answered in full; None where the status stands alone."""
    metadata: bytes = b""
    """Where the metadata did not fit, an answer in full has as many bytes here as it needs."""
    needed: int = 0
    """Where the metadata did not fit and the status stands alone: how many bytes it needs; else 0."""

    @property
    def room_needed(self) -> int:
        """How many bytes the metadata needs, of an answer that says it did not fit."""
        return self.needed or len(self.metadata)


def failed_open(status: int, request: OpenConnect) -> OpenConnectAnswer:
    """Return the answer to an OPEN_CONNECT that opens nothing and proposes nothing, in the way its sender reads."""
    if request.form is Form.QUBIP:
        return OpenConnectAnswer(status, None)
    return OpenConnectAnswer(status, QoS(), request.stream)


def failed_key(status: int, index: int, form: Form, needed: int = 0) -> GetKeyAnswer:
    """Return the answer to a GET_KEY that gives no key, in the way its sender reads.

    `needed` is how many bytes the metadata needs, if that is why.
    """
    if form is Form.QUBIP:
        return GetKeyAnswer(status, needed=needed)
    return GetKeyAnswer(status, index, NO_KEY, bytes(needed))


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE, asked."""

    stream: bytes


@dataclass(frozen=True, slots=True)
class CloseAnswer:
    """CLOSE, answered."""

    status: int


@dataclass(frozen=True, slots=True)
class Error:
    """The server could not read what was asked, or does not serve this caller; it closes the connection."""


Request = OpenConnect | GetKey | Close
Answer = OpenConnectAnswer | GetKeyAnswer | CloseAnswer | Error
Message = Request | Answer

_NUMBER = struct.Struct(">I")
_SEVEN = struct.Struct(">7I")
_GET_KEY = struct.Struct(f">{KSID_BYTES}sII")
_GOT_KEY = struct.Struct(">III")


# --- messages to bytes ----------------------------------------------------------------------------------------------


def encode(message: Message, version: Version) -> bytes:
    """Return the frame of `message`. Raises `LocalProtocolError` for what does not fit into one."""
    try:
        service, *parts = _parts(message)
    except struct.error as error:
        raise LocalProtocolError(f"a number of {type(message).__name__} is outside 32 bits: {error}") from None
    return encode_frame(version, service, *parts)


def _parts(message: Message) -> tuple[Service, *tuple[bytes, ...]]:
    match message:
        case GetKeyAnswer():
            return Service.GET_KEY_ANSWER, *_key_answer(message)
        case GetKey(stream, index, size, form):
            room = bytes(min(size, MAX_METADATA_BYTES + 1)) if form is Form.FORGE else b""
            return Service.GET_KEY, _GET_KEY.pack(_ksid(stream), index, size) + room
        case OpenConnect():
            names = _text(message.source, MAX_URI_BYTES) + _text(message.destination, MAX_URI_BYTES)
            return Service.OPEN_CONNECT, names + _qos(message.qos, message.form) + _ksid(message.stream)
        case OpenConnectAnswer():
            rest = b"" if message.qos is None else _qos(message.qos, message.form) + _ksid(message.stream)
            return Service.OPEN_CONNECT_ANSWER, _NUMBER.pack(message.status) + rest
        case Close(stream):
            return Service.CLOSE, _ksid(stream)
        case CloseAnswer(status):
            return Service.CLOSE_ANSWER, _NUMBER.pack(status)
        case Error():
            return Service.ERROR, b""


def _key_answer(answer: GetKeyAnswer) -> tuple[bytes, ...]:
    if answer.key is None:
        return _NUMBER.pack(answer.status), _NUMBER.pack(answer.needed) if answer.needed else b""
    key = answer.key.reveal()
    head = _GOT_KEY.pack(answer.status, answer.index, len(key))
    return head, key, _NUMBER.pack(len(answer.metadata)), answer.metadata


def _ksid(stream: bytes) -> bytes:
    if len(stream) != KSID_BYTES:
        raise LocalProtocolError(f"a Key_stream_ID has {KSID_BYTES} bytes, not {len(stream)}")
    return stream


def _qos(qos: QoS, form: Form) -> bytes:
    numbers = _SEVEN.pack(qos.key_chunk_size, qos.max_bps, qos.min_bps, qos.jitter, qos.priority, qos.timeout, qos.ttl)
    mimetype = _text(qos.metadata_mimetype, MIMETYPE_BYTES - 1)
    return numbers + (mimetype if form is Form.FORGE else mimetype.ljust(MIMETYPE_BYTES, b"\0"))


def _text(text: str, most: int) -> bytes:
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        raise LocalProtocolError("a lone surrogate cannot be sent as text") from None
    if b"\0" in encoded or len(encoded) > most:
        raise LocalProtocolError(f"a text of {len(encoded)} bytes cannot be sent: at most {most}, and no NUL")
    return encoded + b"\0"


# --- bytes to messages ----------------------------------------------------------------------------------------------


def decode(frame: Frame) -> Message:
    """Return what a frame says. Raises `RemoteProtocolError` for a payload that is none of its service.

    Missing and trailing bytes are refused, but for what the forms allow.
    """
    payload = frame.payload
    try:
        match frame.service:
            case Service.GET_KEY:
                return _read_get_key(payload)
            case Service.GET_KEY_ANSWER:
                return _read_key_answer(payload)
            case Service.OPEN_CONNECT:
                return _read_open(payload)
            case Service.OPEN_CONNECT_ANSWER:
                return _read_open_answer(payload)
            case Service.CLOSE:
                return Close(_exactly(payload, KSID_BYTES))
            case Service.CLOSE_ANSWER:
                return CloseAnswer(_number(_exactly(payload, 4)))
            case Service.ERROR:
                return Error()
    except (struct.error, ValueError):  # too short, or no UTF-8
        raise _malformed(frame.service) from None


def _malformed(service: Service) -> RemoteProtocolError:
    return RemoteProtocolError(f"the payload of a frame of {service.name} is malformed")


def _exactly(payload: bytes, length: int) -> bytes:
    if len(payload) != length:
        raise ValueError
    return payload


def _number(payload: bytes) -> int:
    number: int = _NUMBER.unpack(payload)[0]
    return number


def _read_get_key(payload: bytes) -> GetKey:
    stream, index, size = _GET_KEY.unpack_from(payload)
    buffer = len(payload) - _GET_KEY.size
    if buffer not in (0, size):
        raise ValueError
    return GetKey(stream, index, size, Form.FORGE if buffer == size else Form.QUBIP)


def _read_key_answer(payload: bytes) -> GetKeyAnswer:
    status = _number(payload[:4])
    if len(payload) <= 8:
        needed = _number(payload[4:]) if len(payload) > 4 else 0
        return GetKeyAnswer(status, needed=needed)
    _, index, length = _GOT_KEY.unpack_from(payload)
    if length > MAX_KEY_BYTES:
        raise ValueError
    end = _GOT_KEY.size + length
    (size,) = _NUMBER.unpack_from(payload, end)
    metadata = payload[end + 4 :]
    if size > MAX_METADATA_BYTES or len(metadata) != size:
        raise ValueError
    return GetKeyAnswer(status, index, KeyMaterial(memoryview(payload)[_GOT_KEY.size : end]), metadata)


def _read_open(payload: bytes) -> OpenConnect:
    source, at = _read_text(payload, 0, MAX_URI_BYTES)
    destination, at = _read_text(payload, at, MAX_URI_BYTES)
    qos, form, stream = _read_qos(payload[at:])
    return OpenConnect(source, destination, qos, stream, form)


def _read_open_answer(payload: bytes) -> OpenConnectAnswer:
    status = _number(payload[:4])
    if len(payload) == 4:
        return OpenConnectAnswer(status, None, form=Form.QUBIP)
    qos, form, stream = _read_qos(payload[4:])
    return OpenConnectAnswer(status, qos, stream, form)


def _read_text(payload: bytes, start: int, most: int) -> tuple[str, int]:
    """Return the text that begins at `start` and ends with a NUL, and where the next thing begins."""
    end = payload.index(b"\0", start, start + most + 1)
    return payload[start:end].decode("utf-8"), end + 1


def _read_qos(payload: bytes) -> tuple[QoS, Form, bytes]:
    """Return QoS parameters, in which form the mimetype was, and the Key_stream_ID that ends the payload."""
    numbers = _SEVEN.unpack_from(payload)
    mimetype, stream = payload[_SEVEN.size : -KSID_BYTES], payload[-KSID_BYTES:]
    text, at = _read_text(mimetype, 0, MIMETYPE_BYTES - 1)
    if at == len(mimetype):
        form = Form.FORGE
    elif len(mimetype) == MIMETYPE_BYTES and not any(mimetype[at:]):
        form = Form.QUBIP
    else:
        raise ValueError
    chunk, most, least, jitter, priority, timeout, ttl = numbers
    return QoS(chunk, most, least, jitter, priority, timeout, ttl, text), form, stream
