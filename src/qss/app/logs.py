"""Where the log goes: one line an event, on stderr, as text or JSON; what libraries log goes the same way.

Exceptions are logged by type and place: their texts may quote what came over a wire, and the values of variables may be
secret. Values are cut and floods dropped (`log_budget`). The events of a logger that is bound with `subject` begin with
that word: `sync connected`. An event with `audit` goes to the audit log of the site that runs here as well, whatever
is dropped; one with `audit="alone"` goes nowhere else.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from qss.app.audit import tap
from qss.app.log_budget import LogBudget, cut_long_values, say_suppressed
from qss.model.errors import place_of


def configure_logs(form: str, clock: Callable[[], float] = time.monotonic) -> None:
    """Log to stderr in the form `text` or `json`, from level INFO on; of libraries, warnings and worse.

    `clock` gives the seconds of a clock that never steps.
    """
    budget = LogBudget(clock)
    shared: list[Any] = [
        cut_long_values,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[_begin_with_the_subject, _audited_and_within(budget), *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[say_suppressed, *shared],
            processors=[_name_the_exception, structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(budget.of_libraries)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _begin_with_the_subject(_logger: object, _method: str, event: EventDict) -> EventDict:
    subject = event.pop("subject", None)
    if subject is not None:
        event["event"] = f"{subject} {event['event']}"
    return event


def _audited_and_within(budget: LogBudget) -> Processor:
    """Hand what is for the audit log on, and drop what is above the budget, unless no audit log answers for it."""

    def process(logger: object, method: str, event: EventDict) -> EventDict:
        audit = event.get("audit")
        if audit and not tap.keep(method, event):
            return event
        if audit == "alone":
            raise structlog.DropEvent
        return budget.of_ours(logger, method, event)

    return process


def _name_the_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace a library's exception by its type and place."""
    info = event.pop("exc_info", None)
    if isinstance(info, tuple) and info[0] is not None:
        event["error"], event["place"] = info[0].__name__, place_of(info[1])
    return event
