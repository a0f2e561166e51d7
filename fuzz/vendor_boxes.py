"""What a vendor's box answers by 014, and what the two ends of a pair of boxes say: taken whole, or refused."""

from __future__ import annotations

import msgspec

from qss.model.errors import RemoteProtocolError
from qss.wire import vendor_boxes as wire
from qss.wire.etsi014.answers import parse_keys, parse_offer

_KEYS = {"keys": [{"key_ID": f"0000000{n}-0000-4000-8000-000000000000", "key": "QUJDRA=="} for n in range(3)]}
_STATUS = {"key_size": 256, "min_key_size": 64, "max_key_size": 1024, "max_key_per_request": 8, "stored_key_count": 5}
_MESSAGES: tuple[wire.Message, ...] = (
    wire.Terms("sae:a", 32, 1024),
    wire.Ready("sae:b", 128),
    wire.Offer((bytes(range(16)), bytes(16))),
    wire.Held(held=True),
    wire.Opened(bytes(16), 512, 1024),
    wire.Joined(),
    wire.Mark(7),
)


def seeds() -> list[bytes]:
    """Return one of each message, a Key container and a Status."""
    return [*map(wire.encode, _MESSAGES), msgspec.json.encode(_KEYS), msgspec.json.encode(_STATUS)]


def one(data: bytes) -> None:
    """Feed `data`, the first byte saying to which decoder. Raises `AssertionError` for what must not be."""
    if not data:
        return
    chosen, body = data[0], data[1:]
    try:
        match chosen % 3:
            case 0:
                parse_keys(body)
            case 1:
                limits = parse_offer(body).limits
                assert limits.min_key_size <= limits.max_key_size
                assert limits.key_size >= 8
                assert limits.max_key_per_request >= 1
            case _:
                kind = type(_MESSAGES[chosen // 3 % len(_MESSAGES)])
                message = wire.decode(body, kind)
                assert wire.decode(wire.encode(message), kind) == message, "a message does not survive being sent"
    except RemoteProtocolError:
        return
