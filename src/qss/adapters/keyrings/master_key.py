"""A master key of 32 random bytes, wherever it lies: the wrapping key is HKDF-SHA256 of it under a fresh salt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qss.adapters.keyrings import envelope
from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial

MASTER_KEY_BYTES = 32
"""Size of a master key. Not more, so that a text file in its place is refused."""

_PURPOSE = b"qss key ring v1: wrapping key"


class MasterKeyRing:
    """Implements `qss.ports.keyring.KeyRing` under the master key that `load` returns at every use.

    `kind` is written into what is wrapped; `where` names the master key's place in errors.
    """

    def __init__(self, kind: str, where: str, load: Callable[[], KeyMaterial]) -> None:
        self._kind = kind
        self._where = where
        self._load = load

    async def wrap(self, data_key: KeyMaterial, context: bytes) -> bytes:
        """As `KeyRing.wrap`."""
        header = envelope.fresh_header(self._kind, "hkdf-sha256")
        return envelope.close(header, await self._wrapping_key(header), data_key, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> KeyMaterial:
        """As `KeyRing.unwrap`."""
        found = envelope.read(wrapped, self._kind)
        wrong = f"{self._where} does not open this data key; give the one used at `qss init`"
        return envelope.open_(found, await self._wrapping_key(found.header), context, wrong)

    async def _wrapping_key(self, header: envelope.Header) -> bytes:
        master = await asyncio.to_thread(self._load)
        if len(master) != MASTER_KEY_BYTES:
            raise KeyRingError(
                f"{self._where} has {len(master)} bytes, not {MASTER_KEY_BYTES}; "
                "make one with `head -c 32 /dev/urandom`"
            )
        return HKDF(algorithm=SHA256(), length=32, salt=header.salt, info=_PURPOSE).derive(master.reveal())
