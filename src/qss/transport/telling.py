"""What others can make happen again and again is logged a few times a minute for each cause, not each time; and what
passes by itself as a rule is told as trouble once it has lasted.

The budget of an event (`app.log_budget`) keeps all of it from filling the disk; this keeps one that repeats itself from
using up that budget, in which others have their lines too. Not here: what is counted, which is all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

TOLD_S = 60.0
"""After so long each cause may be told again."""

LASTS_S = 10.0
"""What has gone on for so long does not pass by itself: longer than sites that start together take to know each other,
and than two of the pauses between calls."""

MAX_CAUSES = 1000
"""Causes that are known at one time; the one that came first is forgotten for another."""


@dataclass(slots=True)
class _Told:
    began: float
    lines: int = 0
    unsaid: int = 0


class Telling:
    """Says of each cause whether it is to be told now. `clock` gives the seconds of a clock that never steps."""

    def __init__(self, lines: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        """Let each cause have so many lines in `TOLD_S`."""
        self._lines = lines
        self._clock = clock
        self._causes: dict[Hashable, _Told] = {}

    def unsaid(self, cause: Hashable) -> int | None:
        """Return how often it was not told since it was told last; None: it is not to be told now either."""
        now, told = self._clock(), self._causes.get(cause)
        if told is None:
            if len(self._causes) >= MAX_CAUSES:
                del self._causes[next(iter(self._causes))]
            told = self._causes[cause] = _Told(now)
        elif now - told.began >= TOLD_S:
            told.began, told.lines = now, 0
        if told.lines >= self._lines:
            told.unsaid += 1
            return None
        told.lines += 1
        unsaid, told.unsaid = told.unsaid, 0
        return unsaid


class Lasting:
    """Says of each cause whether it lasts, whose calls go on and on. `clock` gives the seconds of a clock as above."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._causes: dict[Hashable, tuple[float, float]] = {}
        """When each came up, and when it was noted last."""

    def lasts(self, cause: Hashable) -> bool:
        """Note it; return whether it has been noted for `LASTS_S`, never with a pause of `TOLD_S`."""
        now = self._clock()
        began, noted = self._causes.pop(cause, (now, now))
        if now - noted >= TOLD_S:
            began = now
        if len(self._causes) >= MAX_CAUSES:
            del self._causes[next(iter(self._causes))]
        self._causes[cause] = began, now
        return now - began >= LASTS_S
