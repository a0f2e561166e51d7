"""The end of the site's own certificate: said in the log before it comes, and again every day.

A certificate that has expired keeps a node from starting, but not one that runs: its connections end one after the
other, as each comes to be made anew. Refused here: reading certificates (`pki`) and making new ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

WARNED = timedelta(days=30)
"""How long before its end a certificate is spoken of."""

_DAY = timedelta(days=1)
_REMEDY = "renew it as docs/how-to/certificates.md says, and restart"

_log = structlog.get_logger(__name__)


def expiry_note(expires: datetime, now: datetime) -> str | None:
    """Return what an operator should know of a certificate that ends at `expires`, or None if that is far away."""
    if expires - now > WARNED:
        return None
    return f"the certificate ends on {expires:%Y-%m-%d %H:%M} UTC: {_REMEDY}"


async def watch_expiry(
    expires: datetime,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Log, for ever, that the certificate ends at `expires`: once a day from 30 days before on, and when it has ended.

    Times are aware. `pause` waits for so many seconds.
    """
    while True:
        left = expires - now()
        if left <= timedelta():
            _log.error("the certificate has expired", expired=f"{expires:%Y-%m-%d %H:%M} UTC", remedy=_REMEDY)
        elif left <= WARNED:
            _log.warning(
                "the certificate expires soon",
                expires=f"{expires:%Y-%m-%d %H:%M} UTC",
                days_left=left.days,
                remedy=_REMEDY,
            )
        await pause(_until_next(left).total_seconds())


def _until_next(left: timedelta) -> timedelta:
    """Return a day, or less if the 30 days begin, or the certificate ends, before that."""
    to_come = [moment for moment in (left - WARNED, left) if moment > timedelta()]
    return min((_DAY, *to_come))
