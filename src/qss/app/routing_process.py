"""The composition root of `qss routing`: one site's routing module in a process of its own, from its configuration.

Its key server publishes at its Admin what is so at the site, and asks there for the table (`adapters.tables.remote`).
One that is silent for `SILENT_S` counts as gone, and its links as down. What is started first is stopped last: the
neighbours' listener, the module, calls to neighbours, Admin.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from qss.app.catalogue import identity_of
from qss.app.certificate_expiry import watch_expiry
from qss.app.connecting import ROUTING_PATH, Serve, dial, listening_as, serve_neighbour
from qss.app.routing_tables import RoutingConfiguration
from qss.app.site_routing import SiteRouting
from qss.model.addresses import Address
from qss.model.errors import ConfigurationError
from qss.model.identifiers import QksId
from qss.model.network import SiteState
from qss.pki.contexts import check_site, client_context, probe_context, server_context
from qss.pki.own_call import check_own_call
from qss.runtime.tasks import Tasks
from qss.servers.admin_door import AdminDoor, Views
from qss.servers.administrators import SiteAdministrators
from qss.servers.door import HttpsListener, Limits
from qss.servers.messages import JSON, Response
from qss.transport.listening import Listener, Route
from qss.wire import routing as wire
from qss.wire.routes import render_lsas, render_routing
from qss.wire.site_state import parse_state, parse_wait, render_taken

SILENT_S = 5.0
"""After so long without a word of the key server its links are taken to be down."""

LIMITS = Limits(max_body_bytes=1 << 24)
"""A site with thousands of SAEs says much."""


@dataclass(frozen=True, slots=True)
class PreparedRouting:
    """What a start goes on with."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    probe: ssl.SSLContext
    certificate_expires: datetime


def prepare_routing(configuration: RoutingConfiguration) -> PreparedRouting:
    """Look at everything that a start needs. Raises `PkiError`."""
    table = configuration.tls
    own = (table.certificate, table.key, table.authority)
    server, client = server_context(*own), client_context(*own)
    expires = check_site(table.certificate, configuration.site.id)
    check_own_call(server, client, table.certificate, table.authority)
    return PreparedRouting(server, client, probe_context(*own), expires)


class RoutingProcess:
    """A routing module in operation: where it listens, and what ends it."""

    def __init__(self, configuration: RoutingConfiguration, failed: asyncio.Future[None]) -> None:
        self._configuration = configuration
        self.failed = failed
        """Gets an exception when the module cannot go on at all."""
        self.addresses: dict[str, Address] = {}

    def listening(self) -> dict[str, str]:
        """Return where it listens, by the interface's name."""
        return {name: str(address) for name, address in self.addresses.items()}

    def take_over(self, changed: RoutingConfiguration, file: Path) -> dict[str, int]:
        """Take over nothing. Raises `ConfigurationError` if something has changed."""
        for name in changed.__struct_fields__:
            if getattr(changed, name) != getattr(self._configuration, name):
                raise ConfigurationError(
                    str(file), name, "another value than this module runs with", "that value, or a restart"
                )
        return {}


class KeyServerSide:
    """What the key server of the site says to the module, and asks of it, by way of Admin."""

    def __init__(self, routing: SiteRouting) -> None:
        self._routing = routing
        self._state = SiteState()
        self._heard_at: float | None = None

    @property
    def heard(self) -> bool:
        """Whether the key server has said lately how the site is."""
        return self._heard_at is not None

    async def publish(self, _who: str, _rest: str, body: bytes) -> Response:
        """Take in how the site is."""
        state = parse_state(body)
        self._heard_at = time.monotonic()
        self._state = state
        self._routing.publish(state)
        return Response(200, JSON, render_taken(self._routing.version))

    async def wait(self, _who: str, _rest: str, body: bytes) -> Response:
        """Return the table once it has changed."""
        after, wait_s = parse_wait(body)
        await self._routing.changed(after, wait_s)
        return Response(200, JSON, render_routing(self._routing.status()))

    async def watch(self) -> None:
        """Take the site's links to be down when its key server has been silent for long; otherwise say it again."""
        while True:
            await asyncio.sleep(1.0)
            if self._heard_at is not None and time.monotonic() - self._heard_at > SILENT_S:
                self._heard_at = None
                self._state = replace(self._state, links={})
            self._routing.publish(self._state)


@asynccontextmanager
async def running(configuration: RoutingConfiguration) -> AsyncIterator[RoutingProcess]:
    """Run a routing module for as long as the context lasts. Raises what keeps it from starting.

    That is `PkiError` or `ListenError`.
    """
    prepared = prepare_routing(configuration)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(error: BaseException) -> None:
        if not failed.done():
            failed.set_exception(error)

    here = configuration.site.id
    async with AsyncExitStack() as stack:
        stack.callback(failed.cancel)
        process = RoutingProcess(configuration, failed)
        peers = [link.peer for link in configuration.links]
        routing = SiteRouting(here, configuration.tls, configuration.routing, peers, fail)
        callers: dict[QksId, Serve] = {peer: routing.serve(peer) for peer in peers if peer < here}
        table = configuration.neighbours
        route = Route((wire.SUBPROTOCOL,), partial(serve_neighbour, callers), wire.MAX_FRAME_BYTES)
        listener = Listener(table.listen.host, table.listen.port, prepared.server, {ROUTING_PATH: route})
        stack.push_async_callback(listener.close)
        with listening_as("neighbours.listen"):
            await listener.start()
        process.addresses["routing"] = Address(*listener.address)
        tasks = Tasks(fail)
        stack.push_async_callback(tasks.cancelled)
        routing.start(configuration.site.external, table.address or process.addresses["routing"])
        stack.push_async_callback(routing.stop)
        for link in configuration.links:
            if here < link.peer:  # Routing 1.1
                dial(tasks, prepared.client, link.peer, link.address, ROUTING_PATH, wire, routing.serve(link.peer))
        side = KeyServerSide(routing)
        tasks.start(side.watch(), "key server")
        tasks.start(watch_expiry(prepared.certificate_expires), "own certificate")
        door = _door(configuration, routing, side, failed)
        admin = HttpsListener(
            configuration.admin.listen.host,
            configuration.admin.listen.port,
            prepared.probe,
            door.answer,
            limits=LIMITS,
        )
        stack.push_async_callback(admin.close)
        with listening_as("admin.listen"):
            await admin.start()
        process.addresses["admin"] = Address(*admin.address)
        yield process


def _door(
    configuration: RoutingConfiguration, routing: SiteRouting, side: KeyServerSide, failed: asyncio.Future[None]
) -> AdminDoor:
    def show() -> bytes:
        return render_routing(routing.status())

    return AdminDoor(
        SiteAdministrators(configuration.site.id, configuration.admin.administrators, identity_of(("uri", "cn"))).name,
        "this certificate is not the site's own, nor a listed administrator's",
        Views(
            lambda: not failed.done(),
            lambda: not failed.done() and side.heard,
            show,
            routing.samples,
            {"/routing/publish": side.publish, "/routing/wait": side.wait},
            {"/routing": show, "/routing/lsas": lambda: render_lsas(routing.lsas())},
        ),
    )
