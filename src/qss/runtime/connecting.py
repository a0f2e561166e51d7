"""Keeping a connection to a neighbour, or to a module: call, serve, and call again."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable

import structlog

from qss.model.certificates import name_in, titled
from qss.model.errors import ConnectionLost, RemoteProtocolError, Unauthorised
from qss.model.identifiers import QkdmId, QksId
from qss.runtime.causes import Causes
from qss.transport.connection import Connection
from qss.transport.dialling import connect

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_LASTING_S = 10.0

_log = structlog.get_logger(__name__)


async def call_peer(
    peer: QksId | QkdmId, url: str, context: ssl.SSLContext, subprotocol: str, max_frame: int
) -> Connection:
    """Return a connection to `peer`, whatever address it has. Raises `ConnectionLost`, `Unauthorised`."""
    connection = await connect(url, context, subprotocols=(subprotocol,), max_frame=max_frame)
    try:
        _check_name(name_in(connection.peer), peer, url)
    except Unauthorised:
        await connection.close()
        raise
    return connection


def _check_name(found: QksId | QkdmId, peer: QksId | QkdmId, url: str) -> None:
    if found != peer:
        raise Unauthorised(
            f"{url} is {titled(found)}, not {titled(peer)}: correct that address, or who is said to be there"
        )


async def keep_connected(
    peer: QksId | QkdmId,
    call: Callable[[], Awaitable[Connection]],
    serve: Callable[[Connection], Awaitable[None]],
    *,
    told_after_s: float = 0.0,
) -> None:
    """Call and serve for ever; pauses double up to five seconds, and are reset by a connection that lasted.

    Why there is none is told once there has been none that lasted for `told_after_s`.
    """
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE_S
    causes = Causes()
    without_since = loop.time()
    while True:
        began = loop.time()
        try:
            connection = await call()
            try:
                await serve(connection)
            finally:
                await connection.close()
        except (ConnectionLost, RemoteProtocolError, Unauthorised) as error:
            if loop.time() - without_since >= told_after_s and causes.is_new(peer, str(error)):
                _log.warning("no connection", peer=peer, reason=str(error))
        if loop.time() - began > _LASTING_S:
            pause = _FIRST_PAUSE_S
            causes.over(peer)
            without_since = loop.time()
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        pause = min(2 * pause, _LONGEST_PAUSE_S)
