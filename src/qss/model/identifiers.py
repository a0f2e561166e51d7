"""Names of sites, applications, modules and key streams, and the layout of key IDs.

Held here: what an identifier looks like and when it is refused. Not here: who may use which one
(`core.keyserver`), nor where identifiers come from (certificates: `pki`; entropy: the runtime).

**Key IDs.** ETSI GS QKD 014 asks for UUIDs. All keys of one request share one *reservation ID* and differ in a
position, so that a hundred keys are one row, one range and one message. A key ID is a UUID of version 8 (RFC 9562)::

    bits 127..80  random      48 bits
    bits  79..76  version     1000
    bits  75..64  random      12 bits
    bits  63..62  variant     10
    bits  61..16  random      46 bits       random in all: 106 bits, drawn from the operating system
    bits  15..0   position    0 .. 65,535

The reservation ID is the key ID of position 0. The random part is derived from nothing, so a key ID says nothing
about the key; that two key IDs belong to one request is visible, and meant to be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType
from uuid import UUID

from qss.model.errors import InvalidIdentifier

QksId = NewType("QksId", str)
"""Name of a site's quantum key server, unique in the network. 014 calls it KME ID."""

SaeId = NewType("SaeId", str)
"""Name of a secure application entity, unique in the network."""

QkdmId = NewType("QkdmId", str)
"""Name of a QKD module, unique in the network: its site's QKS ID, a slash, and a name that the site gives it."""

MAX_KEYS_PER_RESERVATION = 1 << 16
"""What the position field of a key ID can count."""

RESERVATION_ENTROPY_BYTES = 16
"""Entropy that `ReservationId.from_entropy` takes; 106 of its 128 bits are used."""

_POSITION_MASK = MAX_KEYS_PER_RESERVATION - 1
_QKS_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_QKDM_ID = re.compile(rf"{_QKS_ID.pattern}/{_QKS_ID.pattern}")
_SAE_ID = re.compile(r"[!-~]{1,255}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def parse_qks_id(text: str) -> QksId:
    """Return `text` as a QKS ID: 1 to 63 letters, digits, dots, hyphens, underscores.

    Raises `InvalidIdentifier` otherwise.
    """
    if not _QKS_ID.fullmatch(text):
        raise InvalidIdentifier(
            f"{_excerpt(text)} is no QKS ID: use 1 to 63 letters, digits, '.', '-', '_', the first a letter or digit"
        )
    return QksId(text)


def parse_qkdm_id(text: str) -> QkdmId:
    """Return `text` as a module's name: a QKS ID, a slash, and a name of the same form. Raises `InvalidIdentifier`."""
    if not _QKDM_ID.fullmatch(text):
        raise InvalidIdentifier(
            f"{_excerpt(text)} is no module's name: use its site's QKS ID, a slash and a name such as A/1; both have "
            "1 to 63 letters, digits, '.', '-', '_', the first a letter or digit"
        )
    return QkdmId(text)


def site_of_module(module: QkdmId) -> QksId:
    """Return the site that a module belongs to."""
    return QksId(module.partition("/")[0])


def parse_sae_id(text: str) -> SaeId:
    """Return `text` as an SAE ID: 1 to 255 printable ASCII characters without space.

    Raises `InvalidIdentifier` otherwise.
    """
    if not _SAE_ID.fullmatch(text):
        raise InvalidIdentifier(
            f"{_excerpt(text)} is no SAE ID: use 1 to 255 printable ASCII characters without spaces, such as sae:alice"
        )
    return SaeId(text)


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


@dataclass(frozen=True, slots=True, order=True)
class StreamId:
    """A key stream's name: the UUID that ETSI GS QKD 004 calls Key_stream_ID, as 16 bytes in RFC 9562 order."""

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != 16:
            raise InvalidIdentifier(f"a key stream ID has 16 bytes, not {len(self.value)}")

    @classmethod
    def from_entropy(cls, entropy: bytes) -> StreamId:
        """Make a version 4 UUID from 16 random bytes."""
        return cls(UUID(bytes=entropy, version=4).bytes)

    def __str__(self) -> str:
        return str(UUID(bytes=self.value))


@dataclass(frozen=True, slots=True, order=True)
class PairId:
    """A device pair's name, the same at both ends: a UUID that operators configure, as 16 bytes in RFC 9562 order."""

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != 16:
            raise InvalidIdentifier(f"a device pair's ID has 16 bytes, not {len(self.value)}")

    @classmethod
    def from_uuid(cls, uuid: UUID) -> PairId:
        """Return the ID that a configuration names by this UUID."""
        return cls(uuid.bytes)

    def __str__(self) -> str:
        return str(UUID(bytes=self.value))


@dataclass(frozen=True, slots=True, order=True)
class TransferId:
    """The name of one transfer of a relay, drawn at random by its source: 16 bytes."""

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != 16:
            raise InvalidIdentifier(f"a transfer's ID has 16 bytes, not {len(self.value)}")

    def __str__(self) -> str:
        return str(UUID(bytes=self.value))


@dataclass(frozen=True, slots=True, order=True)
class ReservationId:
    """The shared part of the key IDs of one request: a key ID of position 0, as 16 bytes."""

    value: bytes

    def __post_init__(self) -> None:
        value = self.value
        if len(value) != 16 or value[6] >> 4 != 8 or value[8] >> 6 != 2 or value[-2:] != b"\0\0":
            raise InvalidIdentifier("a reservation ID is a version 8 UUID whose last 16 bits are zero")

    @classmethod
    def from_entropy(cls, entropy: bytes) -> ReservationId:
        """Make a reservation ID from `RESERVATION_ENTROPY_BYTES` fresh random bytes."""
        number = int.from_bytes(entropy[:RESERVATION_ENTROPY_BYTES])
        number &= ~((0xF << 76) | (0x3 << 62) | _POSITION_MASK)
        number |= (0x8 << 76) | (0x2 << 62)
        return cls(number.to_bytes(16))

    def key_id(self, position: int) -> KeyId:
        """Return the ID of the key at `position`, counted from 0."""
        if not 0 <= position < MAX_KEYS_PER_RESERVATION:
            raise InvalidIdentifier(f"key position {position} is outside 0 to {MAX_KEYS_PER_RESERVATION - 1}")
        return KeyId(self.value[:-2] + position.to_bytes(2))

    def __str__(self) -> str:
        return str(UUID(bytes=self.value))


@dataclass(frozen=True, slots=True, order=True)
class KeyId:
    """The ID of one key, as 16 bytes. Any UUID is well formed; only those that a QKS made are found."""

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != 16:
            raise InvalidIdentifier(f"a key ID has 16 bytes, not {len(self.value)}")

    @classmethod
    def parse(cls, text: str) -> KeyId:
        """Read the canonical form 8-4-4-4-12, upper or lower case. Raises `InvalidIdentifier` for anything else."""
        if not _UUID.fullmatch(text):
            raise InvalidIdentifier(f"{_excerpt(text)} is no UUID: give a key_ID as it came from enc_keys")
        return cls(UUID(text).bytes)

    @property
    def reservation(self) -> ReservationId | None:
        """The reservation this key belongs to, or None if no QKS can have made this ID."""
        if UUID(bytes=self.value).version != 8:
            return None
        return ReservationId(self.value[:-2] + b"\0\0")

    @property
    def position(self) -> int:
        """The key's place in its reservation, counted from 0."""
        return int.from_bytes(self.value[-2:])

    def __str__(self) -> str:
        return str(UUID(bytes=self.value))
