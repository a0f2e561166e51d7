"""Keeping a connection to a neighbour: dial, serve, and dial again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from qss.model.errors import ConnectionLost, PkiError, ProtocolError, Unauthorised
from qss.transport.connection import Connection

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)


async def keep_connected(
    peer: str, dial: Callable[[], Awaitable[Connection]], serve: Callable[[Connection], Awaitable[None]]
) -> None:
    """Dial and serve for ever; pauses between attempts double up to five seconds, and are reset by a success."""
    pause = _FIRST_PAUSE_S
    reported = ""
    while True:
        try:
            connection = await dial()
            pause, reported = _FIRST_PAUSE_S, ""
            await serve(connection)
        except (ConnectionLost, PkiError, ProtocolError, Unauthorised) as error:
            if str(error) != reported:  # once for each cause, not once for each attempt
                _log.warning("no connection", peer=peer, reason=str(error))
                reported = str(error)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        pause = min(2 * pause, _LONGEST_PAUSE_S)
