"""The wrapped data key as one line of ASCII text, and the AES-256-GCM that it is wrapped with.

The line is ``qss1:<kind>:<parameters>:<salt>:<nonce>:<sealed>:<checksum>``, the binary fields in URL-safe base64. Kind
and parameters tell an operator which key ring it wants. The checksum (SHA-256, cut to 8 bytes) is no protection: it
only tells a damaged file from a wrong master key. What protects is the tag, which covers all that stands before it and
the context.

Refused here: master keys, and how a wrapping key comes from one.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial

SALT_BYTES = 32
"""Fresh random bytes in every wrapping, for the derivation of the wrapping key."""

_FORMAT = "qss1"
_NONCE_BYTES = 12
_CHECKSUM_BYTES = 8
_MAX_BYTES = 4096
_DAMAGED = "the sealed data key is damaged; restore `data-key.json` from a back-up"


@dataclass(frozen=True, slots=True)
class Header:
    """What must be known to derive the wrapping key, in clear: kind of key ring, its parameters, salt."""

    kind: str
    parameters: str
    salt: bytes

    def text(self) -> str:
        """Return the beginning of the line."""
        return f"{_FORMAT}:{self.kind}:{self.parameters}:{_encode(self.salt)}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A header and the data key sealed under it."""

    header: Header
    nonce: bytes
    sealed: bytes


def fresh_header(kind: str, parameters: str) -> Header:
    """Return a header with a salt of its own, from the operating system."""
    return Header(kind, parameters, os.urandom(SALT_BYTES))


def close(header: Header, wrapping_key: bytes, data_key: KeyMaterial, context: bytes) -> bytes:
    """Return the line that holds `data_key`, bound to `context`. `wrapping_key` has 32 bytes, of this header's salt."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(wrapping_key).encrypt(nonce, data_key.reveal(), _bound(header, context))
    line = f"{header.text()}:{_encode(nonce)}:{_encode(sealed)}"
    return f"{line}:{_checksum(line)}".encode()


def read(wrapped: bytes, kind: str) -> Envelope:
    """Read a line of this kind of key ring. Raises `KeyRingError` if it is damaged or of another kind."""
    envelope = read_any(wrapped)
    found = envelope.header.kind
    if found != kind:
        raise KeyRingError(f"the data key was sealed by the key ring {found!r}, not {kind!r}; use that one")
    return envelope


def read_any(wrapped: bytes) -> Envelope:
    """Read a line of whatever key ring. Raises `KeyRingError` if it is damaged."""
    try:
        line, _, checksum = wrapped[:_MAX_BYTES].decode("ascii").rpartition(":")
        form, kind, parameters, salt, nonce, sealed = line.split(":")
        envelope = Envelope(Header(kind, parameters, _decode(salt)), _decode(nonce), _decode(sealed))
    except ValueError as error:
        raise KeyRingError(_DAMAGED) from error
    if checksum != _checksum(line):
        raise KeyRingError(_DAMAGED)
    if form != _FORMAT:
        raise KeyRingError(f"the sealed data key has a form that this release does not know; it knows {_FORMAT}")
    return envelope


def open_(envelope: Envelope, wrapping_key: bytes, context: bytes, wrong: str) -> KeyMaterial:
    """Return the data key. Raises `KeyRingError` with the text `wrong` if key or context is another."""
    try:
        secret = AESGCM(wrapping_key).decrypt(envelope.nonce, envelope.sealed, _bound(envelope.header, context))
    except (InvalidTag, ValueError) as error:
        raise KeyRingError(wrong) from error
    return KeyMaterial(secret)


def _bound(header: Header, context: bytes) -> bytes:
    text = header.text().encode()
    return len(text).to_bytes(4) + text + context


def _checksum(line: str) -> str:
    return _encode(sha256(line.encode()).digest()[:_CHECKSUM_BYTES])


def _encode(field: bytes) -> str:
    return base64.urlsafe_b64encode(field).decode()


def _decode(field: str) -> bytes:
    return base64.b64decode(field, altchars=b"-_", validate=True)
