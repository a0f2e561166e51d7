"""Frames of ETSI GS QKD 004: a header of 8 bytes, and a payload of as many bytes as the header says.

========  =====  ===============================================================
bytes     field  meaning
========  =====  ===============================================================
0, 1, 2          version: major, minor, micro
3                service: which call, and whether it is asked or answered
4 to 7           length of the payload in bytes, unsigned, most significant first
========  =====  ===============================================================

A decoder holds at most one header and the payload that it allows. What a header says is judged as soon as its 8 bytes
are there, before anything of the payload is kept: a frame of 4 GB costs nothing. Refused: other versions, unknown
services, services that this end does not take, 0xFF (it would let any client stop the server), payloads that no message
of that service can have.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum

from qss.model.errors import LocalProtocolError, RemoteProtocolError

HEADER_BYTES = 8

Version = tuple[int, int, int]

FORGE_VERSION: Version = (2, 1, 1)
"""What the C code of the ETSI forge says in its headers."""

QUBIP_VERSION: Version = (1, 0, 1)
"""What QUBIP's Python code says in its headers."""

VERSIONS = (FORGE_VERSION, QUBIP_VERSION)
"""Versions that are taken. An answer says the version of its question."""


class Service(IntEnum):
    """What a frame is."""

    ERROR = 0x00
    OPEN_CONNECT = 0x02
    OPEN_CONNECT_ANSWER = 0x03
    GET_KEY = 0x04
    GET_KEY_ANSWER = 0x05
    CLOSE = 0x08
    CLOSE_ANSWER = 0x09


REQUESTS = frozenset({Service.OPEN_CONNECT, Service.GET_KEY, Service.CLOSE})
"""What a server takes."""

ANSWERS = frozenset({Service.ERROR, Service.OPEN_CONNECT_ANSWER, Service.GET_KEY_ANSWER, Service.CLOSE_ANSWER})
"""What a client takes."""

MAX_URI_BYTES = 4096
"""Longest source or destination: they may carry a token (clause 6.2 of the standard)."""

MIMETYPE_BYTES = 256
"""Size of a mimetype that is padded; one that is terminated has at most one byte less before its NUL."""

KSID_BYTES = 16

MAX_KEY_BYTES = 64 * 1024
"""Largest chunk of key."""

MAX_METADATA_BYTES = 4096
"""Most metadata in one frame, whatever size a caller allows."""

_QOS_BYTES = 7 * 4 + MIMETYPE_BYTES

MAX_PAYLOAD = {
    Service.ERROR: 256,
    Service.OPEN_CONNECT: 2 * (MAX_URI_BYTES + 1) + _QOS_BYTES + KSID_BYTES,
    Service.OPEN_CONNECT_ANSWER: 4 + _QOS_BYTES + KSID_BYTES,
    Service.GET_KEY: KSID_BYTES + 4 + 4 + MAX_METADATA_BYTES,
    Service.GET_KEY_ANSWER: 4 + 4 + 4 + MAX_KEY_BYTES + 4 + MAX_METADATA_BYTES,
    Service.CLOSE: KSID_BYTES,
    Service.CLOSE_ANSWER: 4,
}
"""Largest payload of each service, in bytes."""

_HEADER = struct.Struct(">BBBBI")
_SERVICES = {int(service): service for service in Service}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. Its payload may hold key, and is not shown."""

    version: Version
    service: Service
    payload: bytes = field(repr=False)


def encode_frame(version: Version, service: Service, *parts: bytes) -> bytes:
    """Return the bytes of one frame, whose payload are `parts` one after the other.

    Raises `LocalProtocolError` for a payload that no decoder would take.
    """
    length = sum(map(len, parts))
    if length > MAX_PAYLOAD[service]:
        raise LocalProtocolError(f"a payload of {length} bytes does not fit into a frame of {service.name}")
    return b"".join((_HEADER.pack(*version, service, length), *parts))


class FrameDecoder:
    """Takes bytes as they come and gives whole frames, of `services` only.

    Raises `RemoteProtocolError` for what cannot be a frame: there is no telling where the next one begins, so the
    connection is of no more use, and the decoder takes nothing more.
    """

    def __init__(self, services: frozenset[Service]) -> None:
        self._services = services
        self._buffer = bytearray()
        self._header: tuple[Version, Service, int] | None = None
        self._failed = False

    @property
    def within_frame(self) -> bool:
        """Whether the beginning of a frame is there and its end is not."""
        return bool(self._buffer) or self._header is not None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes, in order. `data` is held until then: feed what one read gives."""
        if self._buffer:
            self._buffer += data
            frames, taken = self._frames_in(self._buffer)
            del self._buffer[:taken]
        else:
            frames, taken = self._frames_in(data)
            self._buffer += memoryview(data)[taken:]
        return frames

    def _frames_in(self, data: bytes | bytearray) -> tuple[list[Frame], int]:
        """Return the whole frames that `data` begins with, and how many bytes they are."""
        frames, at = [], 0
        while (frame := self._frame_at(data, at)) is not None:
            frames.append(frame)
            at += HEADER_BYTES + len(frame.payload)
        return frames, at

    def _frame_at(self, data: bytes | bytearray, at: int) -> Frame | None:
        """Return the frame that begins at `at` if it is whole."""
        if self._failed:
            raise RemoteProtocolError("nothing more is taken after what was no frame; connect again")
        start = at + HEADER_BYTES
        if len(data) < start:
            return None
        version, service, length = self._header or self._judge(data, at)
        if len(data) < start + length:
            self._header = version, service, length
            return None
        self._header = None
        return Frame(version, service, bytes(memoryview(data)[start : start + length]))

    def _judge(self, data: bytes | bytearray, at: int) -> tuple[Version, Service, int]:
        """Return what the header at `at` says. Raises `RemoteProtocolError` if that cannot be taken."""
        major, minor, micro, number, length = _HEADER.unpack_from(data, at)
        version, service = (major, minor, micro), _SERVICES.get(number)
        if version not in VERSIONS:
            raise self._failure(f"version {major}.{minor}.{micro} is not spoken here, only {_spoken()}")
        if service is None or service not in self._services:
            raise self._failure(f"service 0x{number:02x} is not taken here")
        if length > MAX_PAYLOAD[service]:
            most = MAX_PAYLOAD[service]
            raise self._failure(f"a payload of {length} bytes is too large for {service.name}: at most {most}")
        return version, service, length

    def _failure(self, complaint: str) -> RemoteProtocolError:
        self._failed = True
        self._buffer.clear()
        return RemoteProtocolError(f"the other end's frame cannot be read: {complaint}")


def _spoken() -> str:
    return " and ".join(".".join(map(str, version)) for version in VERSIONS)
