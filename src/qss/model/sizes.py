"""Sizes that fit a rate."""

from __future__ import annotations


def fitting_size(at_hand: float, smallest: int, largest: int) -> int:
    """Return `smallest`, doubled as long as that is at most `largest` and at most what is `at_hand`; all in bytes."""
    size = smallest
    while size < largest and 2 * size <= at_hand:
        size *= 2
    return size
