"""The composition root: one site in one process, from its configuration.

The catalogue says which adapters it takes. What is started first is stopped last: modules, store and links, the
neighbours' listener, calls to neighbours, Admin, Northbound. So a stop begins by draining Northbound, while all that
its requests need still works.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from qss.app import site_tables as tables
from qss.app.catalogue import anchor_of, device_of, identity_of
from qss.app.certificate_expiry import watch_expiry
from qss.app.data_key_file import read_data_key, watch_data_key
from qss.app.overview import Overview
from qss.app.preparation import prepare
from qss.app.reloading import Rules
from qss.core.keyserver.requests import RequestPlanner
from qss.core.reservation import LinkSettings
from qss.model.addresses import Address
from qss.model.certificates import site_of
from qss.model.errors import ListenError, Unauthorised
from qss.model.identifiers import PairId, QksId
from qss.ports.device import DeviceRole
from qss.runtime.connecting import call_site, keep_connected
from qss.runtime.key_server import KeyServer
from qss.runtime.module import QkdModule
from qss.runtime.site import LinkPlan, Site
from qss.runtime.tasks import Defect, Tasks
from qss.servers.admin import Admin
from qss.servers.counts import RequestCounts
from qss.servers.door import HttpsListener, Limits
from qss.servers.etsi014 import Etsi014
from qss.transport.connection import Connection
from qss.transport.listening import Listener, Route
from qss.wire import external, sync

EXTERNAL_PATH = "/external"
"""Where a neighbour's QKS connects."""

SYNC_PATH = "/sync"
"""Where a neighbour's module connects: followed by a slash and the device pair's UUID."""

DRAIN_S = 10.0
"""How long requests under way may take to finish when the site stops."""


class _Protocol(Protocol):
    """What `wire.external` and `wire.sync` have in common."""

    SUBPROTOCOL: str
    MAX_FRAME_BYTES: int


_Serve = Callable[[Connection], Awaitable[None]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Node:
    """A site in operation: where it listens, and what ends it."""

    northbound: Address
    external: Address
    admin: Address
    rules: Rules
    """Who may share keys with whom, and how many: can be changed."""
    failed: asyncio.Future[None]
    """Gets an exception when the site cannot go on at all."""


@asynccontextmanager
async def running(configuration: tables.SiteConfiguration) -> AsyncIterator[Node]:
    """Run a site for as long as the context lasts.

    Raises what keeps it from starting: `PkiError`, `KeyRingError`, `StoreError`, `StoreUnavailable`, `ListenError`.
    """
    here = configuration.site.id
    prepared = await prepare(configuration)
    for note in prepared.notes:
        _log.warning("found before the start", note=note)
    contexts = prepared.contexts
    async with AsyncExitStack() as stack:

        def defect(error: BaseException) -> None:
            site.fail(error)

        modules = {
            pair.pair: _module(here, link.peer, pair.device, defect)
            for link in configuration.links
            for pair in link.pairs
            if pair.device is not None
        }
        for module in modules.values():
            stack.push_async_callback(module.stop)
        rules = Rules(configuration)
        plans = [
            LinkPlan(
                _settings(configuration, link, rules.planner),
                {pair.pair: modules[pair.pair] for pair in link.pairs if pair.pair in modules},
            )
            for link in configuration.links
        ]
        site = Site(prepared.store, anchor_of(configuration.site), plans, _clocks)
        await site.start()
        stack.push_async_callback(site.stop)
        await asyncio.to_thread(read_data_key, configuration.site.data)  # somebody may have destroyed it meanwhile

        neighbours = Listener(
            configuration.external.listen.host,
            configuration.external.listen.port,
            contexts.server,
            _routes(configuration, site, modules),
        )
        stack.push_async_callback(neighbours.close)
        with _listening_as("external.listen"):
            await neighbours.start()
        tasks = Tasks(site.fail)
        stack.push_async_callback(tasks.cancelled)
        tasks.start(watch_expiry(prepared.certificate_expires), "own certificate")
        tasks.start(watch_data_key(configuration.site.data), "data key")
        for link in configuration.links:
            if here < link.peer:  # KRP 1.1, Sync 1.1
                _dial(tasks, contexts.client, link, EXTERNAL_PATH, external, site.links[link.peer].serve)
                for pair in link.pairs:
                    if pair.pair in modules:
                        _dial(tasks, contexts.client, link, _sync_path(pair.pair), sync, modules[pair.pair].serve)

        counts = RequestCounts()
        identity = identity_of(configuration.northbound)
        overview = Overview(configuration, site, modules, prepared.certificate_expires)
        admin = HttpsListener(
            configuration.admin.listen.host,
            configuration.admin.listen.port,
            contexts.probe,
            Admin(here, configuration.admin.administrators, identity, overview, counts),
        )
        stack.push_async_callback(admin.close)
        with _listening_as("admin.listen"):
            await admin.start()

        limits = configuration.northbound.key_limits()
        key_server = KeyServer(here, limits, rules.planner, rules.quotas, site.links, os.urandom, time.monotonic)
        northbound = _northbound(
            configuration.northbound, contexts.northbound, Etsi014(key_server, identity, counts), counts
        )
        stack.push_async_callback(northbound.close, DRAIN_S)
        with _listening_as("northbound.listen"):
            await northbound.start()

        overview.serving = True
        stack.callback(overview.stop_serving)
        listening = Address(*northbound.address), Address(*neighbours.address), Address(*admin.address)
        yield Node(*listening, rules, site.failed)


@contextmanager
def _listening_as(key: str) -> Iterator[None]:
    """Name the key of the configuration that names an address which cannot be had."""
    try:
        yield
    except ListenError as error:
        raise ListenError(f"{key}: {error}") from error


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _settings(configuration: tables.SiteConfiguration, link: tables.Link, planner: RequestPlanner) -> LinkSettings:
    return LinkSettings(
        configuration.site.id,
        link.peer,
        partial(planner.admits, link.peer),
        max_reservations=link.max_reservations,
        reserved_s=configuration.lifetimes.reserved_s,
        grace_s=configuration.lifetimes.grace_s,
        stream_s=configuration.lifetimes.stream_s,
        reply_timeout_s=configuration.external.reply_timeout_s,
        min_key_bytes=configuration.northbound.min_key_size // 8,
        max_key_bytes=configuration.northbound.max_key_size // 8,
        max_keys=configuration.northbound.max_key_per_request,
        capacity_bytes=link.capacity_bits // 8,
        relay_reserve_bytes=-(-link.relay_reserve_bits // 8),
    )


def _module(here: QksId, peer: QksId, device: tables.DeviceTable, defect: Defect) -> QkdModule:
    role = DeviceRole.INITIATOR if here < peer else DeviceRole.RESPONDER
    return QkdModule(device_of(device), role, peer, defect)


def _sync_path(pair: PairId) -> str:
    return f"{SYNC_PATH}/{pair}"


def _routes(configuration: tables.SiteConfiguration, site: Site, modules: dict[PairId, QkdModule]) -> dict[str, Route]:
    """Return what neighbours find at this site's listener. Those with the lower ID call (KRP 1.1, Sync 1.1)."""
    callers = [link for link in configuration.links if link.peer < configuration.site.id]
    routes = {
        _sync_path(pair.pair): Route(
            (sync.SUBPROTOCOL,), partial(_serve_peer, {link.peer: modules[pair.pair].serve}), sync.MAX_FRAME_BYTES
        )
        for link in callers
        for pair in link.pairs
        if pair.pair in modules
    }
    links: dict[QksId, _Serve] = {link.peer: site.links[link.peer].serve for link in callers}
    routes[EXTERNAL_PATH] = Route((external.SUBPROTOCOL,), partial(_serve_peer, links), external.MAX_FRAME_BYTES)
    return routes


async def _serve_peer(serving: dict[QksId, _Serve], connection: Connection) -> None:
    """Hand a connection to whoever serves the site that its certificate names."""
    peer = site_of(connection.peer)
    if peer not in serving:
        raise Unauthorised(
            f"site {peer} is no neighbour on this path; configure a link to it, with its device pairs' UUIDs"
        )
    await serving[peer](connection)


def _dial(
    tasks: Tasks, context: ssl.SSLContext, link: tables.Link, path: str, protocol: _Protocol, serve: _Serve
) -> None:
    """Keep a connection to the neighbour."""
    call = partial(
        call_site, link.peer, f"wss://{link.address}{path}", context, protocol.SUBPROTOCOL, protocol.MAX_FRAME_BYTES
    )
    tasks.start(keep_connected(link.peer, call, serve), f"connection to {link.peer}{path}")


def _northbound(
    table: tables.Northbound, context: ssl.SSLContext, handler: Etsi014, counts: RequestCounts
) -> HttpsListener:
    limits = Limits(
        max_body_bytes=table.max_body_bytes, max_connections=table.max_connections, request_s=table.request_timeout_s
    )
    return HttpsListener(
        table.listen.host,
        table.listen.port,
        context,
        handler,
        limits=limits,
        on_refusal=counts.add_refusal,
    )
