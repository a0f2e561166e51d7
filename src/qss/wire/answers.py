"""What all readers of Admin's answers have in common: whatever an answer is, it is one, or the other end has erred."""

from __future__ import annotations

import msgspec

from qss.model.errors import RemoteProtocolError


def parse_answer[T](body: bytes, shape: type[T]) -> T:
    """Return an answer of Admin. Raises `RemoteProtocolError` for what is none of that shape."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (ValueError, RecursionError):
        raise RemoteProtocolError(
            "the answer is none of Admin's: check that the address is that of Admin, and that both ends run one release"
        ) from None
