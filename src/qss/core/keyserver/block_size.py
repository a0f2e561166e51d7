"""How much of an end-to-end stream is relayed in one block: more while blocks arrive soon, less when that fails.

What a block costs each site besides its bytes is worth large ones. But where one link has not that much key, what the
others have set aside for the block is burned; and on slow lines a large block may not come in the time that a transfer
has (Relay 4.9). So blocks begin small. They double after `STEADY` that arrived soon, all as large as might be; they are
half as large at once where key ran short; and where one was late, no larger than at first.

Sizes are in chunks, times in seconds.
"""

from __future__ import annotations

FIRST_CHUNKS = 64
"""Most in one block, at first."""

STEADY = 8
"""So many blocks in a row show that there is key for larger ones."""

SOON_S = 1.0
"""A block that takes longer shows that lines are slow: twice the size takes twice as long."""


class BlockSize:
    """What is known of the blocks of one stream."""

    def __init__(self, largest: int) -> None:
        """Let blocks grow up to `largest` chunks."""
        self._largest = largest
        self._steady = 0
        self.most = FIRST_CHUNKS
        """How many chunks a block may have now."""

    def arrived(self, chunks: int, took_s: float) -> None:
        """A block of so many chunks is at the other end."""
        if took_s > SOON_S:
            self._steady = 0
        elif chunks >= self.most:
            self._steady += 1
        if self._steady == STEADY:
            self._steady, self.most = 0, min(2 * self.most, self._largest)

    def ran_short(self, chunks: int) -> int:
        """Key ran short for a block: return how many chunks it is to have instead."""
        half = max(1, chunks // 2)
        self._bound(half)
        return half

    def was_late(self, chunks: int) -> int:
        """A block did not come in time: return how many chunks it is to have instead."""
        self._bound(FIRST_CHUNKS)
        return min(chunks, FIRST_CHUNKS)

    def _bound(self, chunks: int) -> None:
        self._steady, self.most = 0, min(self.most, chunks)
