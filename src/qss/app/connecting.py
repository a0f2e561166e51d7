"""Where the processes of a network find each other, and what takes and keeps their connections.

Held here: what site and module processes share. Not here: which connections there are (`node`, `module_process`).
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from qss.model.addresses import Address
from qss.model.certificates import PeerCertificate, site_behind, site_of
from qss.model.errors import ListenError, Unauthorised
from qss.model.identifiers import PairId, QksId
from qss.runtime.connecting import call_site, keep_connected
from qss.runtime.module import QkdModule
from qss.runtime.tasks import Tasks
from qss.transport.connection import Connection
from qss.transport.listening import Route
from qss.wire import sync

EXTERNAL_PATH = "/external"
"""Where a neighbour's QKS connects."""

QRP_PATH = "/qrp"
"""Where the site's own modules register."""

Serve = Callable[[Connection], Awaitable[None]]


class Spoken(Protocol):
    """What the protocols between sites have in common."""

    SUBPROTOCOL: str
    MAX_FRAME_BYTES: int


def sync_path(pair: PairId) -> str:
    """Return where the module of the neighbour's end of a device pair connects."""
    return f"/sync/{pair}"


def dial(
    tasks: Tasks,
    context: ssl.SSLContext,
    site: QksId,
    address: Address,
    path: str,
    protocol: Spoken,
    serve: Serve,
    whose: Callable[[PeerCertificate], QksId] = site_of,
) -> None:
    """Keep a connection to `site`, or to a module of it if `whose` is `site_behind`."""
    url = f"wss://{address}{path}"
    call = partial(call_site, site, url, context, protocol.SUBPROTOCOL, protocol.MAX_FRAME_BYTES, whose)
    tasks.start(keep_connected(site, call, serve), f"connection to {site}{path}")


def dial_sync(
    tasks: Tasks, context: ssl.SSLContext, peer: QksId, address: Address, pair: PairId, module: QkdModule
) -> None:
    """Keep a Sync connection to the module at the other end, in the neighbour's process or one of its own."""
    dial(tasks, context, peer, address, sync_path(pair), sync, module.serve, site_behind)


def sync_route(peer: QksId, module: QkdModule) -> Route:
    """Return the route that takes Sync of the module at the other end, in the neighbour's process or one of its own."""
    return Route((sync.SUBPROTOCOL,), partial(serve_peer, {peer: module.serve}, site_behind), sync.MAX_FRAME_BYTES)


async def serve_peer(
    serving: dict[QksId, Serve], whose: Callable[[PeerCertificate], QksId], connection: Connection
) -> None:
    """Hand a connection to whoever serves the site that its certificate stands for."""
    peer = whose(connection.peer)
    if peer not in serving:
        raise Unauthorised(
            f"site {peer} is no neighbour on this path; configure a link to it, with its device pairs' UUIDs"
        )
    await serving[peer](connection)


@contextmanager
def listening_as(key: str) -> Iterator[None]:
    """Name the key of the configuration that names an address which cannot be had."""
    try:
        yield
    except ListenError as error:
        raise ListenError(f"{key}: {error}") from error
