"""The name of what fills an end-to-end key stream: it stands where a device pair's ID does (Relay 1.3)."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import msgspec

from qss.model.identifiers import PairId, QksId
from qss.model.relay_policy import RelayPolicy

HASHED_AS = b"qss-relay-pair.1\x00"
"""What comes before the names and the policy where they are hashed."""


def pair_of(one: QksId, other: QksId, policy: RelayPolicy) -> PairId:
    """Return the name for two sites, in either order, and a policy: a UUID of version 8, alike at both."""
    named = msgspec.msgpack.encode((*sorted((one, other)), policy.text))
    number = int.from_bytes(sha256(HASHED_AS + named).digest()[:16])
    number &= ~(0xF << 76 | 0x3 << 62)
    number |= 0x8 << 76 | 0x2 << 62
    return PairId.from_uuid(UUID(int=number))
