"""When the next of a run of changes may be acted on: the first at once, then gathered, then seldom (Routing 7.5, 9.6).

    state    what it means                                  leaves it
    ───────  ─────────────────────────────────────────────  ─────────────────────────────────────────────────────────
    quiet    what comes is acted on at once                 a change is acted on ▶ holding
    holding  changes gather until the hold time passes      it passes ▶ quiet; what has gathered is acted on
    busy     as holding, with the longest hold time         as many seconds pass as changes were too many ▶ holding

So one change costs no time, and a run of them, whoever causes it, costs one act a second. Held here: times, in seconds.
Not here: what is acted on.
"""

from __future__ import annotations

from qss.core.routing.buckets import Bucket

FIRST_HOLD_S = 0.05
LONGEST_HOLD_S = 1.0

BURST = 8
"""Changes that are acted on with the first hold time between them, after a quiet time; then it is the longest."""


class Hold:
    """When the next change may be acted on."""

    def __init__(self, at_once: int = 1) -> None:
        """So many changes after a quiet time are acted on with no hold between them."""
        self.until = 0.0
        self._few = Bucket(at_once - 1, (at_once - 1) / LONGEST_HOLD_S)
        self._lately = Bucket(BURST, 1 / LONGEST_HOLD_S)

    def may_act(self, now: float) -> bool:
        """Whether the hold time has passed."""
        return self._lately.has_room(now) and (now >= self.until or self._few.has_room(now))

    def acted(self, now: float) -> None:
        """A change is acted on: hold the next ones back."""
        if now < self.until:
            self._few.add(now)
        self.until = now + FIRST_HOLD_S
        self._lately.add(now)
