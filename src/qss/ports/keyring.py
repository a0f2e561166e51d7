"""The key ring: where the master key is. It wraps and unwraps one site's data key."""

from __future__ import annotations

from typing import Protocol

from qss.model.key_material import KeyMaterial


class KeyRing(Protocol):
    """Wraps the data key under a master key that never leaves the key ring."""

    async def wrap(self, data_key: KeyMaterial, context: bytes) -> bytes:
        """Return `data_key` (32 bytes) sealed under the master key and bound to `context`."""
        ...

    async def unwrap(self, wrapped: bytes, context: bytes) -> KeyMaterial:
        """Return the data key. Raises `KeyRingError` if the master key is absent or wrong, or the context another."""
        ...
