"""Where every byte that a device yielded went, at one end, over all streams of the module's life."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from qss.model.health import HealthTest


@dataclass(slots=True)
class Counts:
    """Bytes, but for blocks, streams and times.

    ``read = check + accepted + unequal + unfinished`` + what is in check now;
    ``accepted = delivered + unused + waiting``.
    """

    streams: int = 0
    """Streams that ran."""
    read: int = 0
    check: int = 0
    """Cut off for the block check, and burned."""
    accepted: int = 0
    delivered: int = 0
    """Pulled by the QKS."""
    unused: int = 0
    """Burned: accepted, and never pulled before the stream was closed."""
    unequal: int = 0
    """Burned: the ends differed."""
    unfinished: int = 0
    """Burned: the stream ended before both verdicts were there."""
    accepted_blocks: int = 0
    unequal_blocks: int = 0
    unfinished_blocks: int = 0
    stalls: int = 0
    """Times that a limit was reached and the device had to wait."""
    unhealthy: Counter[HealthTest] = field(default_factory=Counter)
    """Streams that a health test ended. The block that failed is not counted as read."""

    def copy(self) -> Counts:
        """Return what is counted up to now."""
        return replace(self, unhealthy=Counter(self.unhealthy))

    @property
    def waiting(self) -> int:
        """Accepted and not yet pulled."""
        return self.accepted - self.delivered - self.unused
