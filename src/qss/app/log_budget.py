"""How many lines of each event may be logged in a minute, so that nobody can fill the disk or bury what matters.

Whoever can reach a port can make events happen. What is above an event's budget is dropped and counted, and its next
line carries the number: a flood shows, and takes a few lines. Refused here: dropping one event for another's sake.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import structlog
from structlog.typing import EventDict

INFO_LINES = 60
"""Lines of one event in a minute, of level INFO."""

WARNING_LINES = 120
"""Lines of one event in a minute, of level WARNING and above."""

MAX_EVENTS = 1000
"""Events that are counted at one time; the one that came first is forgotten for another."""

MAX_CHARACTERS = 500
"""Characters of one value; what is longer is cut, and ends in an ellipsis."""

_MINUTE_S = 60.0


class LogBudget:
    """The budgets of all events. Any thread may ask. `clock` gives the seconds of a clock that never steps."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._spent: dict[str, _Spent] = {}

    def admit(self, event: str, level: int) -> int | None:
        """Return how many lines of `event` were dropped since its last one, or None if this one is to be dropped.

        `event` is a constant text of the code, `level` a number of `logging`.
        """
        with self._turn:
            now = self._clock()
            spent = self._spent.get(event)
            if spent is None:
                if len(self._spent) >= MAX_EVENTS:
                    del self._spent[next(iter(self._spent))]
                spent = self._spent[event] = _Spent(now)
            return spent.admit(now, WARNING_LINES if level >= logging.WARNING else INFO_LINES)

    def of_ours(self, _logger: object, method: str, event: EventDict) -> EventDict:
        """Drop our own event, or say how many were dropped before it: a processor of structlog."""
        dropped = self.admit(str(event["event"]), structlog.processors.NAME_TO_LEVEL.get(method, logging.INFO))
        if dropped is None:
            raise structlog.DropEvent
        return {**event, "suppressed": dropped} if dropped else event

    def of_libraries(self, record: logging.LogRecord) -> bool:
        """Drop a library's event, or note in it how many were dropped before it: a filter of `logging`.

        What names it is the place in the code that logged it: the texts of some libraries are not constant.
        """
        dropped = self.admit(f"{record.pathname}:{record.lineno}", record.levelno)
        record.suppressed = dropped
        return dropped is not None


class _Spent:
    """What one event has had of its budget in the minute that began at `began`."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._lines = 0
        self._dropped = 0

    def admit(self, now: float, budget: int) -> int | None:
        if now - self._began >= _MINUTE_S:
            self._began, self._lines = now, 0
        if self._lines >= budget:
            self._dropped += 1
            return None
        self._lines += 1
        dropped, self._dropped = self._dropped, 0
        return dropped


def say_suppressed(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Show what `of_libraries` noted."""
    dropped = getattr(event["_record"], "suppressed", 0)
    return {**event, "suppressed": dropped} if dropped else event


def cut_long_values(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Cut every text to `MAX_CHARACTERS`."""
    return {name: cut(value) if isinstance(value, str) else value for name, value in event.items()}


def cut(text: str) -> str:
    """Return `text` with at most `MAX_CHARACTERS`."""
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
