"""What a key server answers: the Status, Key container and Error data models (ETSI GS QKD 014 V1.1.1, clause 6).

Rendered for the server, read for the client. What is read comes from a server whose certificate was verified, and
is checked all the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence

import msgspec

from qss.model.errors import InvalidIdentifier, RemoteProtocolError
from qss.model.identifiers import KeyId, QksId, parse_sae_id
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyLimits, KeyOffer, PairStatus


class _Status(msgspec.Struct):
    source_KME_ID: str
    target_KME_ID: str
    master_SAE_ID: str
    slave_SAE_ID: str
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_SAE_ID_count: int


class _Offer(msgspec.Struct):
    key_size: int
    stored_key_count: int | None = None
    max_key_per_request: int = 1
    max_key_size: int | None = None
    min_key_size: int | None = None
    max_SAE_ID_count: int = 0


class _KeyObject(msgspec.Struct):
    key_ID: str
    key: str

    def __repr__(self) -> str:
        return f"<key {self.key_ID}>"  # a generated repr would show the key


class _KeyContainer(msgspec.Struct):
    keys: list[_KeyObject]


class _Error(msgspec.Struct):
    message: str
    details: msgspec.Raw = msgspec.Raw(b"[]")


# --- Status -------------------------------------------------------------------------------------------------------


def render_status(status: PairStatus) -> bytes:
    """Return the Status data model (clause 6.1)."""
    limits = status.limits
    return msgspec.json.encode(
        _Status(
            source_KME_ID=status.source_kme,
            target_KME_ID=status.target_kme,
            master_SAE_ID=status.master,
            slave_SAE_ID=status.slave,
            key_size=limits.key_size,
            stored_key_count=status.stored_key_count,
            max_key_count=status.max_key_count,
            max_key_per_request=limits.max_key_per_request,
            max_key_size=limits.max_key_size,
            min_key_size=limits.min_key_size,
            max_SAE_ID_count=limits.max_sae_id_count,
        )
    )


def parse_status(body: bytes) -> PairStatus:
    """Read a Status. Raises `RemoteProtocolError`. KME IDs of other vendors are taken as they come."""
    model = _decode(body, _Status)
    try:
        master, slave = parse_sae_id(model.master_SAE_ID), parse_sae_id(model.slave_SAE_ID)
    except InvalidIdentifier as error:
        raise RemoteProtocolError(f"the key server answered a status that cannot be used: {error}") from None
    return PairStatus(
        QksId(model.source_KME_ID),
        QksId(model.target_KME_ID),
        master,
        slave,
        model.stored_key_count,
        model.max_key_count,
        KeyLimits(
            key_size=model.key_size,
            min_key_size=model.min_key_size,
            max_key_size=model.max_key_size,
            max_key_per_request=model.max_key_per_request,
            max_sae_id_count=model.max_SAE_ID_count,
        ),
    )


def parse_offer(body: bytes) -> KeyOffer:
    """Read what a Status says of limits and stock, and no more: vendors leave members out, or name SAEs oddly.

    Of what is left out the least is taken: keys of `key_size` only, one in a request. Raises `RemoteProtocolError`,
    also for limits that no key can meet.
    """
    model = _decode(body, _Offer)
    size = model.key_size
    least = size if model.min_key_size is None else model.min_key_size
    most = size if model.max_key_size is None else model.max_key_size
    if size < 8 or size % 8 or not 0 <= least <= most or model.max_key_per_request < 1:
        raise RemoteProtocolError(
            f"the key server's status offers keys of {size} bits ({least} to {most}), {model.max_key_per_request} in a "
            "request: no key can be asked for like that"
        )
    return KeyOffer(
        KeyLimits(
            key_size=size,
            min_key_size=least,
            max_key_size=most,
            max_key_per_request=model.max_key_per_request,
            max_sae_id_count=model.max_SAE_ID_count,
        ),
        model.stored_key_count,
    )


# --- Key container ------------------------------------------------------------------------------------------------


def render_keys(keys: Sequence[Key]) -> bytes:
    """Return the Key container (clause 6.3), keys in standard base64 (RFC 4648, clause 4). This text is secret."""
    return msgspec.json.encode(_KeyContainer([_KeyObject(str(key.key_id), base64_of(key.material)) for key in keys]))


def parse_keys(body: bytes) -> tuple[Key, ...]:
    """Read a Key container, in its order. Raises `RemoteProtocolError`, whose text holds nothing of the keys."""
    try:
        return tuple(
            Key(KeyId.parse(entry.key_ID), KeyMaterial(base64.b64decode(entry.key, validate=True)))
            for entry in _decode(body, _KeyContainer).keys
        )
    except InvalidIdentifier:
        raise RemoteProtocolError("the key server answered a key_ID that is no UUID") from None
    except (binascii.Error, ValueError):
        raise RemoteProtocolError("the key server answered a key that is no base64") from None


def base64_of(material: KeyMaterial) -> str:
    """Return key as the text that stands in a Key container. This text is secret."""
    return base64.b64encode(material.reveal()).decode("ascii")


# --- Error --------------------------------------------------------------------------------------------------------


def render_error(message: str, details: Sequence[Mapping[str, str]] = ()) -> bytes:
    """Return the Error data model (clause 6.5); `details` is left out where there are none."""
    model: dict[str, object] = {"message": message}
    if details:
        model["details"] = details
    return msgspec.json.encode(model)


def parse_error(body: bytes) -> tuple[str, tuple[Mapping[str, object], ...]]:
    """Read an Error as message and details. Raises `RemoteProtocolError`.

    Some servers make `details` something else than the standard's list of objects; then they are left out, so that
    the message is not lost with them.
    """
    model = _decode(body, _Error)
    try:
        details = msgspec.json.decode(model.details, type=tuple[dict[str, object], ...])
    except (msgspec.DecodeError, RecursionError):
        details = ()
    return model.message, details


def _decode[T](body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise RemoteProtocolError(
            "the key server's answer is not of the form of ETSI GS QKD 014: check that the address is a key server's"
        ) from None
