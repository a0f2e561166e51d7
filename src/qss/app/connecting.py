"""Where the processes of a network find each other, and what takes and keeps their connections.

Held here: what site and module processes share. Not here: which connections there are (`node`, `module_process`).
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from qss.model.addresses import Address
from qss.model.certificates import name_in, site_of, titled
from qss.model.errors import ListenError, Unauthorised
from qss.model.identifiers import PairId, QkdmId, QksId
from qss.runtime.connecting import call_peer, keep_connected
from qss.runtime.module import QkdModule
from qss.runtime.tasks import Tasks
from qss.transport.connection import Connection
from qss.transport.listening import Route
from qss.wire import sync

EXTERNAL_PATH = "/external"
"""Where a neighbour's QKS connects."""

ROUTING_PATH = "/routing"
"""Where a neighbour's RM connects."""

RELAY_PATH = "/relay"
"""Where a neighbour's relay connects."""

KEY_STREAMS_PATH = "/key-streams"
"""Where another site brings key streams of its applications."""

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
    peer: QksId | QkdmId,
    address: Address,
    path: str,
    protocol: Spoken,
    serve: Serve,
) -> None:
    """Keep a connection to `peer`."""
    url = f"wss://{address}{path}"
    call = partial(call_peer, peer, url, context, protocol.SUBPROTOCOL, protocol.MAX_FRAME_BYTES)
    tasks.start(keep_connected(peer, call, serve), f"connection to {peer}{path}")


def dial_sync(
    tasks: Tasks, context: ssl.SSLContext, peer: QksId | QkdmId, address: Address, pair: PairId, module: QkdModule
) -> None:
    """Keep a Sync connection to `peer`: the module at the other end, or the neighbour if that has it in its process."""
    dial(tasks, context, peer, address, sync_path(pair), sync, module.serve)


def sync_route(peer: QksId | QkdmId, module: QkdModule) -> Route:
    """Return the route that takes Sync of `peer`, as `dial_sync` has it, and of nobody else."""
    return Route((sync.SUBPROTOCOL,), partial(_serve_sync, peer, module), sync.MAX_FRAME_BYTES)


async def _serve_sync(peer: QksId | QkdmId, module: QkdModule, connection: Connection) -> None:
    found = name_in(connection.peer)
    if found != peer:
        raise Unauthorised(
            f"{titled(found)} called, but the other end of this device pair is {titled(peer)}'s; "
            "if that is not so, correct peer_module, or the pair's UUID"
        )
    await module.serve(connection)


async def serve_neighbour(serving: dict[QksId, Serve], connection: Connection) -> None:
    """Hand a connection to whoever serves the site that its certificate names."""
    peer = site_of(connection.peer)
    if peer not in serving:
        raise Unauthorised(
            f"site {peer} is no neighbour that calls this site: either there is no link to it, or it has the higher ID "
            "and is the one that is called"
        )
    await serving[peer](connection)


async def serve_site(
    serving: dict[QksId, Serve], neighbours: AbstractSet[QksId], far: Serve, connection: Connection
) -> None:
    """As `serve_neighbour`; what comes from a site that is no neighbour goes to whoever serves far ones."""
    if site_of(connection.peer) in neighbours:
        await serve_neighbour(serving, connection)
    else:
        await far(connection)


@contextmanager
def listening_as(key: str) -> Iterator[None]:
    """Name the key of the configuration that names an address which cannot be had."""
    try:
        yield
    except ListenError as error:
        raise ListenError(f"{key}: {error}") from error
