"""The sealer: seals and opens blocks at their place in a stream, under one subkey after another.

A sealed block is::

    format (1 byte, 0x01) ‖ salt (32) ‖ nonce (12) ‖ ciphertext ‖ tag (16)

The subkey is HKDF-SHA256 of the data key under the salt, which is drawn anew for every commit that seals. So no two
commits, and no two processes, share a subkey, and its nonces simply count. The additional data bind a block to site,
stream, start and length: a block that was altered, moved or swapped does not open. A block of the same place and an
older time does; stores that go back in time are noticed elsewhere.

Refused here: storage, and knowing what was used already.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from qss.crypto.sealing import DATA_KEY_BYTES, NONCE_BYTES, SALT_BYTES, TAG_BYTES, derive_subkey, seal, unseal
from qss.model.errors import KeyRingError, Tampered
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.store import SealedBlock

SEALS_PER_SUBKEY = 1 << 24
"""Seals after which a new salt is drawn: far below the 2^32 of NIST SP 800-38D, clause 8.3."""

OVERHEAD_BYTES = 1 + SALT_BYTES + NONCE_BYTES + TAG_BYTES
"""By how much a sealed block is longer than its bytes."""

_FORMAT = b"\x01"
_SUBKEY_PURPOSE = b"qss barrier v1: subkey"
_BLOCK_PURPOSE = b"qss barrier v1: block"
_NONCE_AT = 1 + SALT_BYTES
_BODY_AT = _NONCE_AT + NONCE_BYTES
# Each commit has a subkey of its own; what is read in order needs each one once.
_CACHED_SUBKEYS = 256


class Sealer:
    """Seals and opens under one site's data key (32 bytes). `entropy(n)` returns n random bytes."""

    def __init__(
        self,
        data_key: KeyMaterial,
        site: QksId,
        entropy: Callable[[int], bytes],
        *,
        seals_per_subkey: int = SEALS_PER_SUBKEY,
    ) -> None:
        if len(data_key) != DATA_KEY_BYTES:
            raise KeyRingError(f"the data key has {len(data_key)} bytes, not {DATA_KEY_BYTES}; restore `data-key.json`")
        self._data_key = data_key
        self._site = site
        self._entropy = entropy
        self._seals_per_subkey = seals_per_subkey
        self._subkeys: OrderedDict[bytes, bytes] = OrderedDict()
        self._salt = entropy(SALT_BYTES)
        self._seals = 0

    def renew(self) -> None:
        """Seal under a new subkey from now on.

        Nonces are counted in memory. A machine that is put back to a snapshot counts again from where that was made;
        under a subkey of each commit's own it does not meet the nonces that it has used since.
        """
        self._salt, self._seals = self._entropy(SALT_BYTES), 0

    def seal(self, stream: StreamId, start: int, secret: bytes) -> SealedBlock:
        """Return `secret` sealed as bytes `start` and on of `stream`."""
        if self._seals == self._seals_per_subkey:
            self.renew()
        nonce = self._seals.to_bytes(NONCE_BYTES)
        self._seals += 1
        body = seal(self._subkey(self._salt), nonce, secret, self._context(stream, start, len(secret)))
        return SealedBlock(stream, start, len(secret), _FORMAT + self._salt + nonce + body)

    def open(self, block: SealedBlock) -> bytes:
        """Return what was sealed at the block's place. Raises `Tampered` if that is not what is there."""
        sealed = block.sealed
        if len(sealed) != block.length + OVERHEAD_BYTES or sealed[:1] != _FORMAT:
            raise _tampered(block)
        salt, nonce, body = sealed[1:_NONCE_AT], sealed[_NONCE_AT:_BODY_AT], sealed[_BODY_AT:]
        try:
            return unseal(self._subkey(salt), nonce, body, self._context(block.stream, block.start, block.length))
        except Tampered as error:
            raise _tampered(block) from error

    def _subkey(self, salt: bytes) -> bytes:
        subkey = self._subkeys.get(salt)
        if subkey is None:
            subkey = derive_subkey(self._data_key.reveal(), salt, _SUBKEY_PURPOSE)
            self._subkeys[salt] = subkey
            if len(self._subkeys) > _CACHED_SUBKEYS:
                self._subkeys.popitem(last=False)
        else:
            self._subkeys.move_to_end(salt)
        return subkey

    def _context(self, stream: StreamId, start: int, length: int) -> bytes:
        site = self._site.encode()
        return b"".join(
            (_BLOCK_PURPOSE, len(site).to_bytes(2), site, stream.value, start.to_bytes(8), length.to_bytes(8))
        )


def _tampered(block: SealedBlock) -> Tampered:
    return Tampered(
        f"stored key of stream {block.stream} from {block.start} does not open at its place: "
        "it was altered outside qss; look for a failing disk or an intruder",
        block.start,
        block.start + block.length,
    )
