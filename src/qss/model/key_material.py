"""Secret bytes that do not show themselves.

`KeyMaterial` is how key travels between the barrier, the runtime and the servers. It can be printed, formatted,
logged and compared by accident without a bit leaving it; reading it takes a call that is easy to find in a review.
Python cannot reliably wipe memory: this type keeps secrets out of texts, not out of a core dump.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class KeyMaterial:
    """Immutable secret bytes. `reveal()` is the only way to them.

    Raises `TypeError` unless made of bytes, and unless cut by a slice: a number in either place would otherwise
    be that many zero bytes, a key that everybody knows.
    """

    __slots__ = ("_secret",)

    __iter__ = None  # would go by numbers

    def __init__(self, secret: bytes | bytearray | memoryview) -> None:
        if not isinstance(secret, bytes | bytearray | memoryview):
            raise TypeError(f"key material is made of bytes, not of {type(secret).__name__}")
        self._secret = bytes(secret)

    def reveal(self) -> bytes:
        """Return the secret bytes. Whoever calls this answers for where they go."""
        return self._secret

    def __len__(self) -> int:
        return len(self._secret)

    def __getitem__(self, part: slice) -> KeyMaterial:
        if not isinstance(part, slice):
            raise TypeError("key material is cut by slices; reveal() it to look at single bytes")
        return KeyMaterial(self._secret[part])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyMaterial) and hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> NoReturn:
        raise TypeError("key material is not hashable: a hash would say something about the key")

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material is not to be pickled")

    def __repr__(self) -> str:
        return f"<{len(self._secret)} secret bytes>"

    __str__ = __repr__
