"""The ends of the statements that this site shows of its SAEs' homes: said in the log before they come, once a day.

When a statement has ended, other sites serve the SAE no more, unless they have it configured. Refused here: making new
ones, and judging those of others (`homes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import structlog

from qss.app.certificate_expiry import WARNED
from qss.model.identifiers import SaeId
from qss.wire.home_statement import decode_statement

PAUSE_S = 24 * 3600.0

NAMED = 10
"""SAEs that are named in one line; of more, their number is told."""

_log = structlog.get_logger(__name__)


async def watch_statements(
    at_home: Callable[[], Mapping[SaeId, bytes | None]],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Log, for ever, whose statements end within 30 days, the next one first. `pause` waits for so many seconds."""
    while True:
        ends = sorted(
            (datetime.fromtimestamp(decode_statement(statement)[1].expires, UTC), sae)
            for sae, statement in at_home().items()
            if statement is not None
        )
        soon = [(end, sae) for end, sae in ends if end - now() <= WARNED]
        if soon:
            _log.warning(
                "statements of homes have expired, or do so soon",
                next=f"{soon[0][0]:%Y-%m-%d %H:%M} UTC",
                count=len(soon),
                saes=[sae for _, sae in soon[:NAMED]],
                remedy="have the authority make new ones (qss pki home), and show them (qss sae add, or reload)",
            )
        await pause(PAUSE_S)
