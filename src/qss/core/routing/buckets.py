"""How much of something may come, or go, at once and in a second: leaky buckets (Routing 10).

Held here: levels. Not here: what they are of, and what becomes of what is too much. Time in seconds.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Takes while it is not full: `burst` at once (the last may stand out), then `per_second`."""

    burst: float
    per_second: float
    _level: float = 0.0
    _at: float = 0.0

    def has_room(self, now: float) -> bool:
        """Whether one more may be added."""
        return self._leaked(now) < self.burst

    def add(self, now: float, weight: float = 1.0) -> None:
        """Count."""
        self._level, self._at = self._leaked(now) + weight, now

    def excess_s(self, now: float) -> float:
        """Return for how long it holds more than `burst`, if nothing is added."""
        return max(0.0, (self._leaked(now) - self.burst) / self.per_second)

    def is_empty(self, now: float) -> bool:
        """Whether it is as one that never took anything."""
        return self._leaked(now) == 0.0

    def _leaked(self, now: float) -> float:
        return max(0.0, self._level - self.per_second * (now - self._at))


class Buckets[K: Hashable]:
    """One for each of many; those that are empty need no room."""

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: dict[K, Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def has_room(self, key: K, now: float) -> bool:
        """Whether one more may be added."""
        bucket = self._buckets.get(key)
        return bucket is None or bucket.has_room(now)

    def add(self, key: K, now: float) -> None:
        """Count."""
        if key not in self._buckets:
            self._buckets[key] = Bucket(self._burst, self._per_second)
        self._buckets[key].add(now)

    def tidy(self, now: float) -> None:
        """Forget those that are empty."""
        for key in [key for key, bucket in self._buckets.items() if bucket.is_empty(now)]:
            del self._buckets[key]
