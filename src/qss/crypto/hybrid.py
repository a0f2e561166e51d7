"""The hybrid combiner: a block masked with what ML-KEM-768 (FIPS 203) agrees on, besides what it is made of.

Who knows the block but not the secret, such as repeaters that share what they saw, and who knows the secret but not
the block, know nothing of the outcome. The mask is SHAKE256 (FIPS 202) of secret, keys and context, XORed on: what the
block alone gave stays.

Refused: choosing whom to agree with. Keys are ephemeral, and who has sent one is told by signatures over a transcript
(Relay 6.3), not by anything here. The seed of a key comes from the caller; what encapsulation draws comes from
OpenSSL's generator, because the library takes no randomness for it.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from qss.model.errors import LocalProtocolError, RemoteProtocolError, Unavailable
from qss.model.key_material import KeyMaterial

SEED_BYTES = 64
"""Size of what a key is made from: d and z of FIPS 203, algorithm 19."""

EK_BYTES = 1184
"""Size of an encapsulation key."""

CT_BYTES = 1088
"""Size of a ciphertext."""

PrivateKey = MLKEM768PrivateKey
"""The half of a key that stays; it shows nothing of itself."""


def new_key(seed: KeyMaterial) -> tuple[PrivateKey, bytes]:
    """Return a private key and its encapsulation key (`EK_BYTES`), both made from `SEED_BYTES` fresh random bytes.

    Raises `LocalProtocolError` for a seed of another size, and `Unavailable` where the library has no ML-KEM.
    """
    if len(seed) != SEED_BYTES:
        raise LocalProtocolError(f"an ML-KEM key is made from {SEED_BYTES} bytes, not from {len(seed)}")
    try:
        private = MLKEM768PrivateKey.from_seed_bytes(seed.reveal())
    except UnsupportedAlgorithm:
        raise _no_mlkem() from None
    return private, private.public_key().public_bytes_raw()


def encapsulate(ek: bytes) -> tuple[KeyMaterial, bytes]:
    """Return a fresh secret (32 bytes) and the ciphertext (`CT_BYTES`) that tells it to the owner of `ek`.

    Raises `RemoteProtocolError` if `ek` is no encapsulation key (FIPS 203, 7.2), and `Unavailable` as `new_key` does.
    """
    try:
        public = MLKEM768PublicKey.from_public_bytes(ek)
    except ValueError:
        raise RemoteProtocolError("what came is no encapsulation key of ML-KEM-768") from None
    except UnsupportedAlgorithm:
        raise _no_mlkem() from None
    secret, ct = public.encapsulate()
    return KeyMaterial(secret), ct


def decapsulate(private: PrivateKey, ct: bytes) -> KeyMaterial:
    """Return the secret (32 bytes) that a ciphertext tells. One that was changed tells another, and no error shows it.

    Raises `RemoteProtocolError` if `ct` has another size than `CT_BYTES`.
    """
    if len(ct) != CT_BYTES:
        raise RemoteProtocolError(f"what came is no ciphertext of ML-KEM-768: that has {CT_BYTES} bytes, not {len(ct)}")
    return KeyMaterial(private.decapsulate(ct))


def mask(secret: KeyMaterial, ek: bytes, ct: bytes, context: bytes, length: int) -> KeyMaterial:
    """Return `length` bytes of SHAKE256 over secret, `ek`, `ct` and `context`.

    Each is preceded by its length in 8 bytes, most significant first (Relay 6.3).
    """
    shake = hashlib.shake_256()
    for part in (secret.reveal(), ek, ct, context):
        shake.update(len(part).to_bytes(8) + part)
    return KeyMaterial(shake.digest(length))


def _no_mlkem() -> Unavailable:
    return Unavailable(
        "no hybrid key can be had here: this site's OpenSSL has no ML-KEM; run it with OpenSSL 3.5 or later"
    )
