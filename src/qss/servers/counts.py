"""How many requests were answered, by method and status. The labels come from closed sets, so the table is bounded.

Every pair that can occur is there from the start, at 0: a rate over a counter that only appears with its first event
misses that event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

from qss.wire.etsi014.paths import Method
from qss.wire.metrics import Metric, Sample

REQUESTS = Metric("qss_requests_total", "counter", "Requests answered at the northbound interface.")

NO_METHOD = "none"
"""The method of a request that names none of the standard's, or was refused before it was read."""


METHODS = (*map(str, Method), NO_METHOD)
"""Methods that are counted."""

STATUSES = (200, 400, 401, 503)
"""Statuses that leave a northbound interface (docs/reference/northbound.md, section 2)."""


class RequestCounts:
    """Counts since the process began."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter(dict.fromkeys(product(METHODS, STATUSES), 0))

    def add(self, method: str, status: int) -> None:
        """Count one answer. `method` comes from a closed set, never from a request."""
        self._counts[method, status] += 1

    def add_refusal(self, status: int) -> None:
        """Count one answer to something that never became a request."""
        self.add(NO_METHOD, status)

    def samples(self) -> Iterator[Sample]:
        """Yield the counts."""
        for (method, status), count in sorted(self._counts.items()):
            yield Sample(REQUESTS, (("method", method), ("status", str(status))), count)
