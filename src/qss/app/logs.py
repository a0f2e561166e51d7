"""Where the log goes: one line an event, on stderr, as text or JSON; what libraries log goes the same way.

Exceptions are logged by type and place: their texts may quote what came over a wire, and the values of variables may be
secret.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from qss.model.errors import place_of


def configure_logs(form: str) -> None:
    """Log to stderr in the form `text` or `json`, from level INFO on; of libraries, warnings and worse."""
    shared: list[Any] = [
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
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[_name_the_exception, structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _name_the_exception(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace a library's exception by its type and place."""
    info = event.pop("exc_info", None)
    if isinstance(info, tuple) and info[0] is not None:
        event["error"], event["place"] = info[0].__name__, place_of(info[1])
    return event
