"""The sealing of what a relay carries over one link, under key of that link (Relay 5).

Keys that go to a further site (KRP 4.16) are sealed by `one-time-pad` as well.

`one-time-pad`: the bytes are XORed with a pad as long as they are, and tagged by Poly1305 (RFC 8439 clause 2.5) under
32 further bytes of key, over the context and then what is sealed. The context is a MessagePack array and says its own
length, so no two pairs of context and sealed bytes are tagged alike. Neither part rests on a limit to what an attacker
can compute.

`aes-256-gcm` (NIST SP 800-38D): 32 bytes of key, a nonce of 12 bytes that is drawn along with them; the context is the
associated data.

Refused: key of any other length than the strategy takes. Not here: what a context is made of (`wire.relay`,
`wire.external`), which key this is, and that it serves nothing else: a second use of the same key gives it away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from qss.crypto.xor import xor
from qss.model.errors import LocalProtocolError, TransferVoid
from qss.model.key_material import KeyMaterial
from qss.model.relay_policy import Hop

TAG_BYTES = 16

_TAG_KEY_BYTES = 32
_GCM_KEY_BYTES = 32
_GCM_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Sealed:
    """What leaves for the next site: as many bytes as were given, and their tag."""

    sealed: bytes = field(repr=False)
    tag: bytes = field(repr=False)


def key_bytes(strategy: Hop, length: int) -> int:
    """Return how many bytes of the link's key it takes to carry `length` bytes."""
    match strategy:
        case Hop.ONE_TIME_PAD:
            return length + _TAG_KEY_BYTES
        case Hop.AES_256_GCM:
            return _GCM_KEY_BYTES + _GCM_NONCE_BYTES
        case _:
            assert_never(strategy)


def seal(strategy: Hop, key: KeyMaterial, context: bytes, content: KeyMaterial) -> Sealed:
    """Return `content` under `key`, bound to `context`. Raises `LocalProtocolError` for key of a wrong length."""
    secret = _whole(strategy, key, len(content))
    match strategy:
        case Hop.ONE_TIME_PAD:
            sealed = xor(content.reveal(), secret[: len(content)])
            return Sealed(sealed, _mac(secret, context, sealed).finalize())
        case Hop.AES_256_GCM:
            cipher, nonce = _gcm(secret)
            whole = cipher.encrypt(nonce, content.reveal(), context)
            return Sealed(whole[:-TAG_BYTES], whole[-TAG_BYTES:])
        case _:
            assert_never(strategy)


def open_sealed(strategy: Hop, key: KeyMaterial, context: bytes, sealed: bytes, tag: bytes) -> KeyMaterial:
    """Return what `seal` was given.

    Raises `TransferVoid` if key, context, sealed bytes or tag are others. That is no breach of the neighbour's: the two
    may have drawn different ranges, and its connection can stand. It is no `Tampered` of the store either. What has
    come to an end is this transfer, with its range. Nothing is said of where they differ.
    """
    secret = _whole(strategy, key, len(sealed))
    try:
        match strategy:
            case Hop.ONE_TIME_PAD:
                _mac(secret, context, sealed).verify(tag)
                return KeyMaterial(xor(sealed, secret[: len(sealed)]))
            case Hop.AES_256_GCM:
                cipher, nonce = _gcm(secret)
                return KeyMaterial(cipher.decrypt(nonce, sealed + tag, context))
            case _:
                assert_never(strategy)
    except (InvalidSignature, InvalidTag):
        raise TransferVoid(
            "what a neighbour carried here does not open with this link's key; another transfer is made in its place"
        ) from None


def _whole(strategy: Hop, key: KeyMaterial, length: int) -> bytes:
    needed = key_bytes(strategy, length)
    if len(key) != needed:
        raise LocalProtocolError(f"{length} bytes take {needed} bytes of key by {strategy}, and {len(key)} were drawn")
    return key.reveal()


def _mac(secret: bytes, context: bytes, sealed: bytes) -> Poly1305:
    mac = Poly1305(secret[-_TAG_KEY_BYTES:])
    mac.update(context)
    mac.update(sealed)
    return mac


def _gcm(secret: bytes) -> tuple[AESGCM, bytes]:
    return AESGCM(secret[:_GCM_KEY_BYTES]), secret[_GCM_KEY_BYTES:]
