"""The composition root: one site in one process, from its configuration.

The catalogue says which adapters it takes. What is started first is stopped last: audit log, modules, store and links,
the neighbours' listener, calls to neighbours, Admin, Northbound, key streams. So a stop begins by ending key streams
and draining Northbound, while all that its requests need still works. The audit log alone takes events from before the
store is opened, and writes them after that, so that a site that is refused the store writes nothing.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from qss.app import site_tables as tables
from qss.app.audit import tap
from qss.app.audit.anchor import SUFFIX, AuditAnchor
from qss.app.audit.log import AuditLog
from qss.app.audit.scribe import Scribe
from qss.app.catalogue import anchor_of, identity_of, store_was_started
from qss.app.certificate_expiry import watch_expiry
from qss.app.connecting import (
    EXTERNAL_PATH,
    QRP_PATH,
    RELAY_PATH,
    ROUTING_PATH,
    Serve,
    dial,
    dial_sync,
    listening_as,
    serve_neighbour,
    serve_site,
    sync_path,
    sync_route,
)
from qss.app.data_folder import LEDGER
from qss.app.data_key_file import read_data_key, watch_data_key
from qss.app.far_calls import FarCalls
from qss.app.overview import Overview
from qss.app.pair_watch import watch_pairs
from qss.app.preparation import prepare
from qss.app.publishing import Publisher
from qss.app.remote_routing import RemoteRouting
from qss.app.routing_generation import GENERATION, next_generation
from qss.app.rules import Rules
from qss.app.sae_register import SAES, SaeRegister
from qss.app.sae_registration import SaeRegistration
from qss.app.site_key_streams import SiteKeyStreams
from qss.app.site_modules import SiteModules
from qss.app.site_relay import SiteRelay
from qss.app.site_routing import SiteRouting
from qss.app.statement_watch import watch_statements
from qss.app.tag_settings import tag_settings
from qss.core.keyserver.requests import RequestPlanner
from qss.core.reservation import LinkSettings
from qss.core.routing import TagSetting
from qss.model.addresses import Address
from qss.model.identifiers import QksId
from qss.pki.statements import Signer
from qss.runtime.key_server import KeyServer
from qss.runtime.site import LinkPlan, Site
from qss.runtime.tag_ranges import TagRanges
from qss.runtime.tasks import Defect, Tasks
from qss.servers.admin import Admin
from qss.servers.counts import RequestCounts
from qss.servers.door import HttpsListener, Limits
from qss.servers.etsi014 import Etsi014
from qss.servers.saes import SAES_PATH, sae_actions
from qss.transport.listening import Listener, Route
from qss.wire import external, qrp
from qss.wire import relay as relay_protocol
from qss.wire import routing as routing_protocol
from qss.wire.routes import render_lsas, render_routing
from qss.wire.saes import render_saes

MAX_SITES_CONNECTIONS = 1024
"""Connections of other sites, and of the site's own modules: far sites take two and more each (`site.MAX_FAR`)."""

DRAIN_S = 10.0
"""How long requests under way may take to finish when the site stops."""


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Changing:
    """What follows a change of rules."""

    publisher: Publisher
    registration: SaeRegistration
    tasks: Tasks


@dataclass(frozen=True, slots=True)
class Node:
    """A site in operation: where it listens, and what ends it."""

    northbound: Address
    external: Address
    admin: Address
    key_streams: Address | None
    rules: Rules
    """Who may share keys with whom, and how many: can be changed."""
    changing: Changing
    failed: asyncio.Future[None]
    """Gets an exception when the site cannot go on at all."""

    def listening(self) -> dict[str, str]:
        """Return where it listens, by the interface's name."""
        addresses = {"northbound": self.northbound, "external": self.external, "admin": self.admin}
        if self.key_streams is not None:
            addresses["key_streams"] = self.key_streams
        return {name: str(address) for name, address in addresses.items()}

    def take_over(self, changed: tables.SiteConfiguration, file: Path) -> dict[str, int]:
        """Take over the rules of a changed configuration (`rules`)."""
        changes = self.rules.take_over(changed, file)
        self.changing.publisher.publish()
        self.changing.tasks.start(self.changing.registration.follow_configuration(), "keys of removed SAEs")
        return changes


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

        audit = _audit_log(configuration, defect)
        stack.push_async_callback(audit.stop)
        stack.enter_context(tap.attached(audit))
        modules = SiteModules(configuration, contexts.client, defect)
        stack.push_async_callback(modules.stop)
        tags = tag_settings(configuration)
        ranges = TagRanges(prepared.store, tags, os.urandom, defect)
        routing = _routing(configuration, defect, tags, ranges)
        register = SaeRegister(configuration.site.data / SAES)
        rules = Rules(configuration, register, routing, lambda: routing.hears_all)
        plans = [
            LinkPlan(
                _settings(configuration, link, rules.planner),
                {pair.pair: modules.here[pair.pair] for pair in link.pairs if pair.pair in modules.here},
            )
            for link in configuration.links
        ]
        relay = SiteRelay(configuration, prepared.store, defect)
        far = partial(_far_plan, configuration, rules.planner)
        site = Site(prepared.store, anchor_of(configuration.site), plans, _clocks, far, relay, ranges)
        await site.start()
        stack.push_async_callback(site.stop)
        ranges.start(site.links)
        stack.push_async_callback(ranges.stop)
        relay.relay_over(site)
        stack.push_async_callback(relay.stop)
        audit.start()
        modules.start(site.links)
        stack.push_async_callback(modules.registrations.stop)
        await asyncio.to_thread(read_data_key, configuration.site.data)  # somebody may have destroyed it meanwhile

        neighbours = Listener(
            configuration.external.listen.host,
            configuration.external.listen.port,
            contexts.server,
            _routes(configuration, site, modules, routing, relay),
            max_connections=MAX_SITES_CONNECTIONS,
        )
        stack.push_async_callback(neighbours.close)
        with listening_as("external.listen"):
            await neighbours.start()
        tasks = Tasks(site.fail)
        stack.push_async_callback(tasks.cancelled)
        if isinstance(routing, SiteRouting):
            reached = configuration.external.address or Address(*neighbours.address)
            generation = await asyncio.to_thread(next_generation, configuration.site.data / GENERATION, time.time())
            routing.start(reached, reached, generation)
        else:
            routing.start()
        stack.push_async_callback(routing.stop)  # before its connections end: it has something to say
        relay.start(site, routing, contexts.client, neighbours)
        stack.push_async_callback(relay.stop)  # early, as long as neighbours can be told
        publisher = Publisher(configuration, rules, site.links, routing)
        tasks.start(publisher.keep_publishing(), "routing")
        tasks.start(watch_expiry(prepared.certificate_expires), "own certificate")
        tasks.start(watch_data_key(configuration.site.data), "data key")
        for link in configuration.links:
            if here < link.peer:  # KRP 1.1, Sync 1.1
                serve = site.links[link.peer].serve
                dial(tasks, contexts.client, link.peer, link.address, EXTERNAL_PATH, external, serve)
                dial(
                    tasks, contexts.client, link.peer, link.address, RELAY_PATH, relay_protocol, relay.serve(link.peer)
                )
                if isinstance(routing, SiteRouting):
                    found, address = routing.serve(link.peer), link.routing or link.address
                    dial(tasks, contexts.client, link.peer, address, ROUTING_PATH, routing_protocol, found)
                for pair in link.pairs:
                    if pair.pair in modules.here:
                        address, module = pair.sync or link.address, modules.here[pair.pair]
                        dial_sync(tasks, contexts.client, link.far_end(pair), address, pair.pair, module)

        counts = RequestCounts()
        identity = identity_of(configuration.northbound.identity)
        overview = Overview(configuration, site, modules, prepared.certificate_expires, audit, relay.status, routing)
        tasks.start(watch_pairs(overview.status), "device pairs")
        registration = SaeRegistration(
            here,
            rules,
            register,
            lambda: list(site.links),
            overview.recall,
            publisher.publish,
        )
        tasks.start(registration.keep_burning(), "keys of removed SAEs")
        tasks.start(watch_statements(rules.saes_at_home), "statements of homes")
        admin = HttpsListener(
            configuration.admin.listen.host,
            configuration.admin.listen.port,
            contexts.probe,
            Admin(
                here,
                configuration.admin.administrators,
                identity,
                overview,
                counts,
                {**_views(routing), SAES_PATH: lambda: render_saes(registration.saes())},
                sae_actions(registration),
            ),
        )
        stack.push_async_callback(admin.close)
        with listening_as("admin.listen"):
            await admin.start()

        limits = configuration.northbound.key_limits()
        key_server = KeyServer(
            here, limits, rules.planner, rules.quotas, site.links, relay.streams, os.urandom, time.monotonic
        )
        northbound = _northbound(
            configuration.northbound, contexts.northbound, Etsi014(key_server, identity, counts), counts
        )
        stack.push_async_callback(northbound.close, DRAIN_S)
        with listening_as("northbound.listen"):
            await northbound.start()

        streams = None
        if configuration.key_streams is not None:
            calls = FarCalls(routing, contexts.client, neighbours)
            streams = SiteKeyStreams(
                configuration, configuration.key_streams, contexts.northbound, rules.planner, key_server, site, calls
            )
            stack.push_async_callback(streams.stop)
            await streams.start(neighbours)
            overview.key_streams = streams

        overview.serving = True
        stack.callback(overview.stop_serving)
        addresses = Address(*northbound.address), Address(*neighbours.address), Address(*admin.address)
        served = None if streams is None else streams.address
        yield Node(*addresses, served, rules, Changing(publisher, registration, tasks), site.failed)


def _audit_log(configuration: tables.SiteConfiguration, defect: Defect) -> AuditLog:
    site, signer = configuration.site, Signer(configuration.tls.certificate, configuration.tls.key)
    file = site.anchor_file.with_name(site.anchor_file.name + SUFFIX)
    anchor = AuditAnchor(file, has_run=store_was_started(site.data / LEDGER))
    return AuditLog(Scribe(site.data, site.id, signer, site.audit_bytes, _clocks, anchor), _clocks, defect)


def _routing(
    configuration: tables.SiteConfiguration, defect: Defect, tags: dict[QksId, TagSetting], ranges: TagRanges
) -> SiteRouting | RemoteRouting:
    """Return the site's routing module: this process's own, or one in a process of its own."""
    table, here = configuration.routing, configuration.site.id
    if table.process is not None:
        return RemoteRouting(configuration, table.process, defect)
    peers = [link.peer for link in configuration.links]
    return SiteRouting(here, configuration.tls, table, peers, defect, tags, ranges)


def _views(routing: SiteRouting | RemoteRouting) -> dict[str, Callable[[], bytes]]:
    """Return what Admin shows of routing."""
    views: dict[str, Callable[[], bytes]] = {"/routing": lambda: render_routing(routing.status())}
    if isinstance(routing, SiteRouting):
        views["/routing/lsas"] = lambda: render_lsas(routing.lsas())
    return views


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _settings(configuration: tables.SiteConfiguration, link: tables.Link, planner: RequestPlanner) -> LinkSettings:
    return LinkSettings(
        configuration.site.id,
        link.peer,
        partial(planner.objection, link.peer),
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
        high_priority_bytes=-(-link.high_priority_bits // 8),
        relay_floor_bytes=-(-link.floor_bits // 8),
    )


def _far_plan(configuration: tables.SiteConfiguration, planner: RequestPlanner, peer: QksId) -> LinkPlan:
    """Return the plan for the link with a site that is no neighbour: all its key is relayed."""
    return LinkPlan(
        LinkSettings(
            configuration.site.id,
            peer,
            partial(planner.objection, peer),
            reserved_s=configuration.lifetimes.reserved_s,
            grace_s=configuration.lifetimes.grace_s,
            stream_s=configuration.lifetimes.stream_s,
            reply_timeout_s=configuration.external.reply_timeout_s,
            min_key_bytes=configuration.northbound.min_key_size // 8,
            max_key_bytes=configuration.northbound.max_key_size // 8,
            max_keys=configuration.northbound.max_key_per_request,
            capacity_bytes=configuration.relay.capacity_bits // 8,
        ),
        {},
    )


def _routes(
    configuration: tables.SiteConfiguration,
    site: Site,
    modules: SiteModules,
    routing: SiteRouting | RemoteRouting,
    relay: SiteRelay,
) -> dict[str, Route]:
    """Return what other sites, and the site's own modules, find at its listener.

    Neighbours with the lower ID call (KRP 1.1, Sync 1.1); of far sites, those with the higher one knock (Relay 2.2).
    """
    callers = [link for link in configuration.links if link.peer < configuration.site.id]
    routes = {
        sync_path(pair.pair): sync_route(link.far_end(pair), modules.here[pair.pair])
        for link in callers
        for pair in link.pairs
        if pair.pair in modules.here
    }
    links: dict[QksId, Serve] = {link.peer: site.links[link.peer].serve for link in callers}
    serve = partial(serve_site, links, {link.peer for link in configuration.links}, relay.take)
    routes[EXTERNAL_PATH] = Route((external.SUBPROTOCOL,), serve, external.MAX_FRAME_BYTES)
    relays: dict[QksId, Serve] = {link.peer: relay.serve(link.peer) for link in callers}
    routes[RELAY_PATH] = Route(
        (relay_protocol.SUBPROTOCOL,), partial(serve_neighbour, relays), relay_protocol.MAX_FRAME_BYTES
    )
    if isinstance(routing, SiteRouting):
        found: dict[QksId, Serve] = {link.peer: routing.serve(link.peer) for link in callers}
        routes[ROUTING_PATH] = Route(
            (routing_protocol.SUBPROTOCOL,), partial(serve_neighbour, found), routing_protocol.MAX_FRAME_BYTES
        )
    routes[QRP_PATH] = Route((qrp.SUBPROTOCOL,), modules.registrations.serve, qrp.MAX_FRAME_BYTES)
    return routes


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
