"""Numbers of a store's lives: they grow, and no two lives share one."""

from __future__ import annotations

from qss.model.errors import StoreError

INCARNATION_ENTROPY_BYTES = 5
"""Entropy that `next_incarnation` takes."""

_COUNT_BITS = 23
_RANDOM_BITS = 8 * INCARNATION_ENTROPY_BYTES


def next_incarnation(last: int, entropy: bytes) -> int:
    """Return the incarnation after `last` (0: the first): 23 bits that count, then 40 from `entropy` (5 bytes).

    The count makes it higher than `last`; the random part makes two starts of a store that was copied or restored
    differ. It fits a signed integer of 64 bits. Raises `StoreError` when the count has come to its end.
    """
    count = (last >> _RANDOM_BITS) + 1
    if count >> _COUNT_BITS:
        raise StoreError(
            f"the store was started {count - 1} times, and cannot be started again; make a new one with `qss init`"
        )
    return count << _RANDOM_BITS | int.from_bytes(entropy[:INCARNATION_ENTROPY_BYTES])


def is_first(incarnation: int) -> bool:
    """Whether this is the incarnation of a store's first start."""
    return incarnation >> _RANDOM_BITS == 1
