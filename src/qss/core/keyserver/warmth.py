"""How much key of an end-to-end stream is to be held ready: what is wanted now, and as much as was used lately.

A stream that nobody has used is cold, unless so much of it is to be kept in any case: nothing is held of it, and what a
request wants is relayed while it waits. One in use is warm: it holds what was used in the last while, at least
`LEAST_BYTES`, until it was not used for `IDLE_S`. So a request finds its key there, and a pair that is used no more
costs no key of any link.

Times are in seconds of a clock that never steps, amounts in bytes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

LEAST_BYTES = 8192
"""What is held of a stream that is in use, however little is used."""

LATELY_S = 30.0
"""How long ago "lately" is: what was used then counts for 1/e of what is used now."""

IDLE_S = 600.0
"""A stream that nobody has used for so long is cold again."""

WAIT_S = 10.0
"""How long what somebody wants counts if nobody has taken it: whoever waited for it has gone."""

_ALIKE_S = 1.0
"""What is wanted within so long counts as wanted at once: so there is a limit to what is remembered."""


@dataclass(slots=True)
class _Want:
    at: float
    length: int


class Warmth:
    """What is known of the use of one stream."""

    def __init__(self, most: int, kept: int = 0) -> None:
        """Hold at most `most` bytes ready, and `kept` even if nobody uses them."""
        self._most = most
        self._kept = min(kept, most)
        self._wants: deque[_Want] = deque()
        self._patient: deque[_Want] = deque()
        self._lately = 0.0
        self._used_at: float | None = None
        self._asked_at: float | None = None

    def want(self, now: float, length: int, *, urgent: bool = True) -> None:
        """Somebody is about to use the stream, which counts as use, and has so much to take.

        What is not `urgent` stands back for others.
        """
        wants = self._wants if urgent else self._patient
        if not wants or now - wants[-1].at > _ALIKE_S:
            wants.append(_Want(now, 0))
        wants[-1].length = min(self._most, wants[-1].length + length)
        self._lately, self._used_at = self._decayed(now), now

    def used(self, now: float, length: int) -> None:
        """So much was taken: by whoever has waited longest, of those that could not wait first."""
        if not length:
            return
        self._lately = self._decayed(now) + length
        self._used_at = now
        for wants in (self._wants, self._patient):
            while wants and length:
                taken = min(length, wants[0].length)
                wants[0].length -= taken
                length -= taken
                if not wants[0].length:
                    wants.popleft()

    def urgent(self, now: float) -> int:
        """Return how much somebody waits for who need not stand back for others."""
        return self._wanted(self._wants, now)

    def _wanted(self, wants: deque[_Want], now: float) -> int:
        while wants and now - wants[0].at > WAIT_S:
            wants.popleft()
        return min(self._most, sum(want.length for want in wants))

    def _all_wanted(self, now: float) -> int:
        return min(self._most, self.urgent(now) + self._wanted(self._patient, now))

    def target(self, now: float) -> int:
        """Return how much is to be there, in bytes."""
        if self._used_at is None or now - self._used_at > IDLE_S:
            return min(self._most, self._all_wanted(now) + self._kept)
        return min(self._most, self._all_wanted(now) + max(LEAST_BYTES, self._kept, math.ceil(self._decayed(now))))

    def asks(self, now: float, there: int) -> int:
        """Return how much the other end, if that fills the stream, is to be asked to hold ready now; 0: nothing.

        What it was asked for counts there for `WAIT_S`, and what is short by less than a quarter is not filled.
        """
        if there >= self._kept * 3 / 4 or (self._asked_at is not None and now - self._asked_at <= WAIT_S):
            return 0
        self._asked_at = now
        return self._kept

    def unused_s(self, now: float) -> float:
        """Return for how many seconds nobody has used it; 0 if somebody waits, or something is to be kept."""
        if self._kept or self._all_wanted(now) or self._used_at is None:
            return 0.0
        return now - self._used_at

    def is_idle(self, now: float) -> bool:
        """Whether nobody has used it for long, nobody waits, and nothing is to be kept."""
        return not self._kept and not self._all_wanted(now) and (self._used_at is None or now - self._used_at > IDLE_S)

    def _decayed(self, now: float) -> float:
        return 0.0 if self._used_at is None else self._lately * math.exp((self._used_at - now) / LATELY_S)
