"""How much key an application's stream needs now: what a caller takes, and one chunk ahead (Streams 3.4).

What a stream holds and nobody takes is lost with it, so no more is made than either end wants, and neither end gets
further ahead of the other than a lead. All counts are in bytes of the stream, after the comparison has had its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from qss.model.keys import KeyLimits

MIN_BLOCK_BYTES = 1024
"""Smallest block that is compared, as in `qss.crypto.block_check`."""

CHECK_BYTES = 48
"""What of each block the comparison costs, as there."""

MAX_BLOCK_BYTES = 64 * 1024 + CHECK_BYTES
"""Largest block that is asked for: the largest chunk in one piece."""

MAX_RESERVED_BYTES = 2 * MAX_BLOCK_BYTES
"""Largest block that is taken: what is asked for may have to be more, in keys of the sizes that there are."""

_LEAD_CHUNKS = 16
_LEAST_LEAD_BYTES = 4096
_MOST_LEAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Stock:
    """What one end of a stream has had: taken by its caller, and compared or on its way there but not taken."""

    taken: int
    held: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A block as keys of one reservation. `key_bytes` is the size of each."""

    count: int
    key_bytes: int


class Supply:
    """What a stream of chunks of one size needs."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self.lead = max(_LEAST_LEAD_BYTES, min(_LEAD_CHUNKS * chunk_bytes, _MOST_LEAD_BYTES))
        """How far one end may be ahead of what the other one's caller has taken."""

    def wanted(self, taken: int) -> int:
        """Return how many bytes an end wants, since the beginning, whose caller has taken so many."""
        return taken + self._chunk_bytes

    def needed(self, stock: Stock, wanted_there: int) -> int:
        """Return how long a block must be that is made now, the other end wanting so much; 0 if none is needed."""
        wanted = max(self.wanted(stock.taken), min(wanted_there, stock.taken + self.lead))
        missing = wanted - stock.taken - stock.held
        return min(max(missing + CHECK_BYTES, MIN_BLOCK_BYTES), MAX_BLOCK_BYTES) if missing > 0 else 0


def cut(length: int, limits: KeyLimits) -> Cut:
    """Return as which keys a block of `length` bytes is reserved, or nearly: of more or fewer bytes if need be.

    Limits under which no block can be made are refused with the configuration (`allow_blocks`).
    """
    most = limits.max_key_size // 8
    count = min(-(-length // most), limits.max_key_per_request)
    return Cut(count, max(min(-(-length // count), most), -(-limits.min_key_size // 8)))


def allow_blocks(limits: KeyLimits) -> bool:
    """Whether the smallest block can be reserved in one request."""
    return limits.max_key_size // 8 * limits.max_key_per_request >= MIN_BLOCK_BYTES
