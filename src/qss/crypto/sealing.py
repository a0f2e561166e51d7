"""Sealing of stored key: subkeys by HKDF-SHA256 (RFC 5869), bodies by AES-256-GCM (NIST SP 800-38D).

Held here: the two functions and their sizes. Refused: choosing salts and nonces, and counting how many seals a subkey
has made; that is the barrier's, which keeps state.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qss.model.errors import Tampered

DATA_KEY_BYTES = 32
"""Size of a site's data key."""

SALT_BYTES = 32
"""Size of the salt that a subkey is derived with."""

NONCE_BYTES = 12
"""Size of a nonce; never used twice under one subkey."""

TAG_BYTES = 16
"""By how much a sealed body is longer than what is in it."""


def derive_subkey(data_key: bytes, salt: bytes, purpose: bytes) -> bytes:
    """Return a 32-byte subkey of `data_key` for one salt and one purpose. The same arguments give the same subkey."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=purpose).derive(data_key)


def seal(subkey: bytes, nonce: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Return `plaintext` encrypted, with its tag, bound to `context`."""
    return AESGCM(subkey).encrypt(nonce, plaintext, context)


def unseal(subkey: bytes, nonce: bytes, sealed: bytes, context: bytes) -> bytes:
    """Return what `seal` was given. Raises `Tampered` if body, nonce, subkey or context is another."""
    try:
        return AESGCM(subkey).decrypt(nonce, sealed, context)
    except InvalidTag as error:
        raise Tampered("a sealed body does not open with this key, at this place") from error
