"""The composition root of `qss routing`: one site's routing module in a process of its own, from its configuration.

Its key server publishes at its Admin what is so at the site, and asks there for the table (`adapters.tables.remote`).
One that is silent counts as gone, and its links as down (`runtime.published`). What is started first is stopped last:
the neighbours' listener, the module, calls to neighbours, Admin.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from qss.app.catalogue import identity_of
from qss.app.certificate_expiry import watch_expiry
from qss.app.connecting import ROUTING_PATH, Serve, dial, listening_as, serve_neighbour
from qss.app.routing_tables import RoutingConfiguration
from qss.app.site_routing import SiteRouting
from qss.model.addresses import Address
from qss.model.errors import ConfigurationError
from qss.pki.contexts import check_site, client_context, probe_context, server_context
from qss.pki.own_call import check_own_call
from qss.runtime.published import Published
from qss.runtime.tasks import Tasks
from qss.servers.admin_door import AdminDoor, Views
from qss.servers.administrators import Administrators
from qss.servers.door import HttpsListener, Limits
from qss.servers.routing import MAX_STATE_BYTES, PUBLISH_PATH, routing_actions
from qss.transport.connection import Connection
from qss.transport.listening import Listener, Route
from qss.wire import routing as wire
from qss.wire.routes import RoutingStatus, render_lsas, render_routing
from qss.wire.site_state import Publication

LIMITS = Limits(max_bodies_bytes=4 * MAX_STATE_BYTES)
"""A site with thousands of SAEs says much, but there is one of it."""


@dataclass(frozen=True, slots=True)
class PreparedRouting:
    """What a start goes on with."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    probe: ssl.SSLContext
    certificate_expires: datetime
    notes: tuple[str, ...] = ()
    """What is usable and yet odd: nothing, so far."""


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


class _ForItsKeyServer:
    """What the site's key server asks of the module (`servers.routing`), and what is shown to administrators."""

    def __init__(self, routing: SiteRouting, published: Published) -> None:
        self._routing = routing
        self._published = published

    def publish(self, publication: Publication) -> bool:
        """Take in how the site is."""
        return self._published.take(publication)

    @property
    def version(self) -> int:
        """The table's version."""
        return self._routing.version

    async def changed(self, after: int, wait_s: float) -> None:
        """Wait for another version."""
        await self._routing.changed(after, wait_s)

    def status(self) -> RoutingStatus:
        """Return what is known of the network: not all of it before the key server has said what is so at the site."""
        found = self._routing.status()
        return replace(found, settled=found.settled and self._published.heard)


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
        published = Published(routing)
        callers = {peer: _once_begun(published, routing.serve(peer)) for peer in peers if peer < here}
        table = configuration.neighbours
        route = Route((wire.SUBPROTOCOL,), partial(serve_neighbour, callers), wire.MAX_FRAME_BYTES)
        listener = Listener(table.listen.host, table.listen.port, prepared.server, {ROUTING_PATH: route})
        stack.push_async_callback(listener.close)
        with listening_as("neighbours.listen"):
            await listener.start()
        process.addresses["routing"] = Address(*listener.address)
        tasks = Tasks(fail)
        stack.push_async_callback(tasks.cancelled)
        routing.start(configuration.site.external, table.address or process.addresses["routing"], int(time.time()))
        stack.push_async_callback(routing.stop)
        tasks.start(_call_neighbours(configuration, prepared, routing, published, tasks), "neighbours")
        tasks.start(published.keep_watching(), "key server")
        tasks.start(watch_expiry(prepared.certificate_expires), "own certificate")
        admin = HttpsListener(
            configuration.admin.listen.host,
            configuration.admin.listen.port,
            prepared.probe,
            _door(configuration, routing, published, failed),
            limits=LIMITS,
        )
        stack.push_async_callback(admin.close)
        with listening_as("admin.listen"):
            await admin.start()
        process.addresses["admin"] = Address(*admin.address)
        yield process


async def _call_neighbours(
    configuration: RoutingConfiguration,
    prepared: PreparedRouting,
    routing: SiteRouting,
    published: Published,
    tasks: Tasks,
) -> None:
    """Call the neighbours that this site calls (Routing 1.1), once the key server has said how the site is.

    A module that nobody has told anything would say that the site has nothing, beside one that knows better.
    """
    await published.begun.wait()
    for link in configuration.links:
        if configuration.site.id < link.peer:
            dial(tasks, prepared.client, link.peer, link.address, ROUTING_PATH, wire, routing.serve(link.peer))


def _once_begun(published: Published, serve: Serve) -> Serve:
    async def serve_once_begun(connection: Connection) -> None:
        if published.begun.is_set():
            await serve(connection)
        else:
            await connection.close()

    return serve_once_begun


def _door(
    configuration: RoutingConfiguration, routing: SiteRouting, published: Published, failed: asyncio.Future[None]
) -> AdminDoor:
    service = _ForItsKeyServer(routing, published)

    def show() -> bytes:
        return render_routing(service.status())

    return AdminDoor(
        Administrators(configuration.site.id, configuration.admin.administrators, identity_of(("uri", "cn"))),
        Views(
            lambda: not failed.done(),
            lambda: not failed.done() and published.heard,
            show,
            routing.samples,
            routing_actions(service),
            {"/routing": show, "/routing/lsas": lambda: render_lsas(routing.lsas())},
            {PUBLISH_PATH: MAX_STATE_BYTES},
        ),
    )
