"""What an application asks for and gets, apart from any wire format."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qss.model.identifiers import KeyId, QksId, SaeId
from qss.model.key_material import KeyMaterial


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """An ask for `number` keys of `size` bits (None: the server's default), for a slave SAE and perhaps more.

    `extension_mandatory` and `extension_optional` are (name, value) pairs, values as JSON gave them. `name` is the
    idempotency name: a repeat of the ask under it gets the same keys.
    """

    number: int = 1
    size: int | None = None
    additional_slaves: tuple[SaeId, ...] = ()
    extension_mandatory: tuple[tuple[str, object], ...] = ()
    extension_optional: tuple[tuple[str, object], ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class KeyIdsRequest:
    """An ask for the keys of these IDs, in their order. `name` is as in `KeyRequest`."""

    key_ids: tuple[KeyId, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """One key and its ID."""

    key_id: KeyId
    material: KeyMaterial


class Priority(StrEnum):
    """What a request leaves to others where key is short: of `LOW` most, of `HIGH` least."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """The more, the higher."""
        return list(Priority).index(self)


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a key server offers on one key request. Sizes in bits."""

    key_size: int = 256
    min_key_size: int = 64
    max_key_size: int = 8192
    max_key_per_request: int = 128
    max_sae_id_count: int = 8


@dataclass(frozen=True, slots=True)
class KeyOffer:
    """What of a `Get status` says what can be asked for now. `stored_key_count` is None where it was not told."""

    limits: KeyLimits
    stored_key_count: int | None


@dataclass(frozen=True, slots=True)
class PairStatus:
    """What `Get status` of ETSI GS QKD 014 tells a master about a slave (clause 6.1). Sizes in bits."""

    source_kme: QksId
    target_kme: QksId
    master: SaeId
    slave: SaeId
    stored_key_count: int
    max_key_count: int
    limits: KeyLimits
