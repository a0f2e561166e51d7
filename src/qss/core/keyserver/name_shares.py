"""Shares of the answers that can be kept for repeats, so that one SAE's names do not use up everybody's.

A link keeps so many answers at once (KRP 4.14). One SAE may have a part of them: what it has asked for under a name
within the grace time counts, whether or not anything came of it. Counted since the process began: what an earlier one
has kept counts for nobody, and is bounded by the link.
"""

from __future__ import annotations

from collections import deque

from qss.model.errors import LimitReached
from qss.model.identifiers import QksId, SaeId

PART = 4
"""One SAE may have the answers of a link divided by this."""


class NameShares:
    """The names that each SAE has used lately. Times are in seconds of a clock that never steps."""

    def __init__(self) -> None:
        self._until: dict[tuple[QksId, SaeId], deque[float]] = {}

    def take(self, now: float, peer: QksId, sae: SaeId, answers: int, grace_s: float) -> None:
        """Count one more name with the link to `peer`, which keeps `answers` at most, or raise `LimitReached`."""
        most = max(1, answers // PART)
        until = self._until.setdefault((peer, sae), deque())
        while until and until[0] <= now:
            until.popleft()
        if len(until) >= most:
            raise LimitReached(
                f"{sae} has asked under {len(until)} names within {grace_s:g} s, and may under {most}; nothing was "
                f"consumed; try again in {until[0] - now:.3g} s, or ask without a name"
            )
        until.append(now + grace_s)
