"""Frames of ETSI GS QKD 004, as a server and as a client take them: whatever comes, it is a message or refused."""

from __future__ import annotations

import json
from pathlib import Path

from qss.model.errors import RemoteProtocolError
from qss.wire.etsi004.framing import ANSWERS, HEADER_BYTES, MAX_PAYLOAD, REQUESTS, FrameDecoder
from qss.wire.etsi004.messages import decode, encode

VECTORS = Path(__file__).parents[1] / "tests" / "vectors" / "etsi004"


def seeds() -> list[bytes]:
    """Return frames that public code wrote."""
    files = sorted(VECTORS.glob("*.json"))
    return [bytes.fromhex(frame) for file in files for frame in json.loads(file.read_text("utf-8"))["frames"].values()]


def one(data: bytes) -> None:
    """Feed `data`, the first byte saying to whom and in what pieces. Raises `AssertionError` for what must not be."""
    if not data:
        return
    services = REQUESTS if data[0] & 1 else ANSWERS
    step = 1 + (data[0] >> 1)
    decoder = FrameDecoder(services)
    try:
        for at in range(1, len(data), step):
            for frame in decoder.feed(data[at : at + step]):
                assert frame.service in services
                assert len(frame.payload) <= MAX_PAYLOAD[frame.service]
                message = decode(frame)
                again = FrameDecoder(services).feed(encode(message, frame.version))[0]
                assert decode(again) == message, "a message does not survive being sent"
            held = len(vars(decoder)["_buffer"])
            assert held <= HEADER_BYTES + max(MAX_PAYLOAD.values()), "more is held than a frame may have"
    except RemoteProtocolError:
        return
