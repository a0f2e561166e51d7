"""How long a device is left alone after its bits failed a health test.

After the first failure the next stream may try it at once; if that fails too, after a pause, which doubles with every
further failure. A failure that comes long after the last one is a first one again.
"""

from __future__ import annotations

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0

FORGOTTEN_AFTER_S = 2 * LONGEST_PAUSE_S
"""A failure so long ago counts no more."""


class Rest:
    """The pauses of one device. Times are seconds of a clock that never steps."""

    def __init__(self) -> None:
        self._failures = 0
        self._failed_at = 0.0

    @property
    def failures(self) -> int:
        """How many failures came one after the other."""
        return self._failures

    def failed(self, now: float) -> None:
        """Count a failure."""
        if now - self._failed_at > FORGOTTEN_AFTER_S:
            self._failures = 0
        self._failures += 1
        self._failed_at = now

    def left(self, now: float) -> float:
        """Return for how many seconds the device is not to be used, 0 if it may be."""
        if self._failures < 2:
            return 0.0
        doublings = min(self._failures - 2, 16)  # beyond these the longest pause is reached by far
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**doublings)
        return max(0.0, self._failed_at + pause - now)
