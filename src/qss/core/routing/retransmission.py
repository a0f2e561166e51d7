"""What was sent to which neighbour and not acknowledged yet (Routing 6.3).

Held here: retransmission lists. Not here: what is sent at all (`flooding`). Time in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qss.wire.routing import Header, Key

RETRANSMIT_S = 1.0
"""An Update is sent again after so long without its Ack, and then after twice as long each time (Routing 6.3)."""

LONGEST_RETRANSMIT_S = 8.0
"""But never after longer than this: a neighbour may be unable to take it now, and able later."""


@dataclass(slots=True)
class _Waiting:
    header: Header
    sent_at: float
    wait_s: float = RETRANSMIT_S


class Unacknowledged:
    """The LSAs that one neighbour has been sent and has not acknowledged."""

    def __init__(self) -> None:
        self._waiting: dict[Key, _Waiting] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, header: Header) -> bool:
        """Whether this instance was sent, and will be again."""
        waiting = self._waiting.get(header.key)
        return waiting is not None and waiting.header == header

    def sent(self, header: Header, now: float) -> None:
        """An instance was sent, perhaps again: it takes the place of an older one."""
        before = self._waiting.get(header.key)
        wait_s = RETRANSMIT_S
        if before is not None and before.header == header:
            wait_s = min(LONGEST_RETRANSMIT_S, 2 * before.wait_s)
        self._waiting[header.key] = _Waiting(header, now, wait_s)

    def acknowledged(self, header: Header) -> bool:
        """The neighbour has this instance; a later one still has to be acknowledged.

        Return whether it was this one that was sent.
        """
        waiting = self._waiting.get(header.key)
        if waiting is None or waiting.header.version > header.version:
            return False
        del self._waiting[header.key]
        return waiting.header == header

    def drop(self, key: Key) -> None:
        """The LSA has passed its lifetime."""
        self._waiting.pop(key, None)

    def due(self, now: float) -> Iterator[Key]:
        """Yield what has to be sent again now, and count from now on."""
        for key, waiting in self._waiting.items():
            if now - waiting.sent_at >= waiting.wait_s:
                waiting.sent_at = now
                yield key
