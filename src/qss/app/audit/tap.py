"""Where the log's events meet the audit log of the site that runs in this process; without one they pass by.

A process runs one site (decision 0012), so there is one place for its log. Refused here: which events those are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from structlog.typing import EventDict


class Keeper(Protocol):
    """A site's audit log (`log.AuditLog`), as events meet it."""

    def keep(self, event: str, level: str, fields: Mapping[str, object]) -> bool:
        """Have an event written, or counted as lost; return False after the end."""
        ...


_UNTOLD = {"event", "audit", "exc_info", "stack_info"}

_running: Keeper | None = None


@contextmanager
def attached(log: Keeper) -> Iterator[None]:
    """Have `log` get this process's events for as long as the context lasts."""
    global _running
    before, _running = _running, log
    try:
        yield
    finally:
        _running = before


def keep(level: str, event: EventDict) -> bool:
    """Have an event put into the audit log; return whether there is one, which answers for it then."""
    if _running is None:
        return False
    fields = {name: value for name, value in event.items() if name not in _UNTOLD}
    return _running.keep(str(event["event"]), level, fields)
