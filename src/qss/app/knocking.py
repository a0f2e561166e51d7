"""Having a far site dial that is to (Relay 2.2): knocking, by a connection that it ends at once, until it has dialled.

Not here: what is served over the connection that it opens (`far_streams`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from qss.model.errors import QssError
from qss.model.identifiers import QksId
from qss.runtime.causes import Causes
from qss.runtime.link import LinkRunner
from qss.transport.connection import Connection
from qss.transport.telling import LASTS_S

KNOCK_S = 0.5
"""How soon a site that is to dial is asked to again; each time that is in vain, it is twice as long."""

LONGEST_KNOCK_S = 5.0
"""But no longer."""

_log = structlog.get_logger(__name__)


_UNANSWERED = (
    "it was asked to connect to this site, and does not: perhaps it does not reach this site where the network is told "
    "that this is; see external.address here (`qss route lsdb` shows what is told), and the log there"
)


async def keep_knocking(peer: QksId, call: Callable[[], Awaitable[Connection]], runner: LinkRunner) -> None:
    """Knock, for ever, while the link is not up. Why that does not help is told once it lasts."""
    loop, causes = asyncio.get_running_loop(), Causes()
    pause = KNOCK_S
    away_since = loop.time()
    while True:
        if runner.core.up:
            await runner.until(lambda link: not link.up)
            away_since = loop.time()
        reason = await _knock(call)
        try:
            async with asyncio.timeout(pause):
                await runner.until(lambda link: link.up)
        except TimeoutError:
            pause = min(2 * pause, LONGEST_KNOCK_S)
            if loop.time() - away_since >= LASTS_S and causes.is_new(peer, reason):
                _log.warning("no connection", peer=peer, reason=reason)
        else:
            pause = KNOCK_S
            causes.over(peer)


async def _knock(call: Callable[[], Awaitable[Connection]]) -> str:
    """Knock once; return what is wrong if the other end does not dial then."""
    try:
        connection = await call()
        await connection.close()
    except QssError as error:
        return str(error)
    return _UNANSWERED
