"""How many requests and calls were answered, by method and status. Labels come from closed sets: tables are bounded.

Every pair that can occur is there from the start, at 0: a rate over a counter that only appears with its first event
misses that event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

from qss.wire.etsi004.status import Status
from qss.wire.etsi014.paths import Method
from qss.wire.metrics import Metric, Sample

REQUESTS = Metric("qss_requests_total", "counter", "Requests answered at the northbound interface.")
RULE_UNMET = Metric(
    "qss_rule_unmet_total", "counter", "Requests refused because no way was as the site's own rules demand."
)
CALLS = Metric("qss_southbound_calls_total", "counter", "Calls answered at a module's southbound interface.")

STREAM_CALLS = Metric("qss_key_stream_calls_total", "counter", "Calls answered of applications that open key streams.")

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
        self.rule_unmet = 0
        """Requests that the site's own rules, and nothing that they ask, had refused; counted by status as well."""

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
        yield Sample(RULE_UNMET, (), self.rule_unmet)


CALL_METHODS = ("open_connect", "get_key", "close")
"""Calls of ETSI GS QKD 004 that are counted."""

REFUSED = "refused"
"""The status of what never became a call: it could not be read, or its caller may not call at all."""


class CallCounts:
    """Calls of ETSI GS QKD 004 since the process began, by method and status."""

    def __init__(self, module: str | None = None) -> None:
        """`module` is the label that tells one module of a site from another; None: the key server's key streams."""
        self._metric = STREAM_CALLS if module is None else CALLS
        self._labels = () if module is None else (("module", module),)
        self._counts: Counter[tuple[str, str]] = Counter(dict.fromkeys(product(CALL_METHODS, map(str, Status)), 0))
        self._counts[NO_METHOD, REFUSED] = 0

    def add(self, method: str, status: Status) -> None:
        """Count one answer. `method` is one of `CALL_METHODS`."""
        self._counts[method, status.value] += 1

    def add_refusal(self) -> None:
        """Count one connection on which something could not be served at all."""
        self._counts[NO_METHOD, REFUSED] += 1

    def samples(self) -> Iterator[Sample]:
        """Yield the counts."""
        for (method, status), count in sorted(self._counts.items()):
            yield Sample(self._metric, (*self._labels, ("method", method), ("status", status)), count)
