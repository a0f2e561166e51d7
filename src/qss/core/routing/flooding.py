"""What was sent to which neighbour and not acknowledged yet, and how often an LSA may come (Routing 6 and 10).

Held here: retransmission lists, and a bucket for each LSA. Not here: what is sent at all (`router`). Time in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qss.wire.routing import Header, Key

RETRANSMIT_S = 1.0
"""An Update is sent again after so long without its Ack (Routing 6.3)."""

BURST = 10
"""Instances of one LSA that may come at once."""

PER_SECOND = 5.0
"""And how many a second after that."""


@dataclass(slots=True)
class _Waiting:
    header: Header
    sent_at: float


class Unacknowledged:
    """The LSAs that one neighbour has been sent and has not acknowledged."""

    def __init__(self) -> None:
        self._waiting: dict[Key, _Waiting] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def sent(self, header: Header, now: float) -> None:
        """An instance was sent: it takes the place of an older one."""
        self._waiting[header.key] = _Waiting(header, now)

    def acknowledged(self, header: Header) -> None:
        """The neighbour has this instance; a later one still has to be acknowledged."""
        waiting = self._waiting.get(header.key)
        if waiting is not None and waiting.header.version <= header.version:
            del self._waiting[header.key]

    def drop(self, key: Key) -> None:
        """The LSA has passed its lifetime."""
        self._waiting.pop(key, None)

    def due(self, now: float) -> Iterator[Key]:
        """Yield what has to be sent again now, and count from now on."""
        for key, waiting in self._waiting.items():
            if now - waiting.sent_at >= RETRANSMIT_S:
                waiting.sent_at = now
                yield key

    def clear(self) -> None:
        """The connection has ended: the next one exchanges databases."""
        self._waiting.clear()


class Arrivals:
    """How often instances of each LSA have come."""

    def __init__(self) -> None:
        self._buckets: dict[Key, tuple[float, float]] = {}

    def admit(self, key: Key, now: float) -> bool:
        """Count a new instance; return whether it is not one too many."""
        level, at = self._buckets.get(key, (0.0, now))
        level = max(0.0, level - PER_SECOND * (now - at))
        if level > BURST - 1:
            self._buckets[key] = (level, now)
            return False
        self._buckets[key] = (level + 1, now)
        return True

    def tidy(self, now: float) -> None:
        """Forget LSAs that have been quiet."""
        quiet = [key for key, (level, at) in self._buckets.items() if level <= PER_SECOND * (now - at)]
        for key in quiet:
            del self._buckets[key]
