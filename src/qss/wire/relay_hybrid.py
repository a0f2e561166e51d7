"""What both ends sign, and what they mix in, where a block is combined with ML-KEM's secret (Relay 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from qss.model.identifiers import PairId

SIGNED_AS = b"qss-relay-hybrid.1\x00"
"""What comes before the members where they are signed: the same keys sign certificates and other things."""


class Role(StrEnum):
    """Who says it."""

    SOURCE = "source"
    DESTINATION = "destination"
    BOTH = "both"
    """Nobody, to the other: what both know is mixed into the mask."""


def transcript(
    role: Role, pair: PairId, block: int, length: int, transfers: Sequence[bytes], ek: bytes, ct: bytes = b""
) -> bytes:
    """Return the bytes for block number `block` (from 0) of `length` bytes, made of the contents of `transfers`.

    `pair` names the end-to-end stream (Relay 1.3), `ek` is the encapsulation key, `ct` the ciphertext: the source signs
    before there is one, and leaves it empty.
    """
    return SIGNED_AS + msgspec.msgpack.encode((role, pair.value, block, length, tuple(transfers), ek, ct))
