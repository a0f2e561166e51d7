"""Routing tables at site A, whose neighbour B has a routing module, too: inside, and of a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from qss.app.connecting import ROUTING_PATH, dial, serve_neighbour
from qss.app.homes import read_statement, state_home
from qss.app.listener_tables import Admin
from qss.app.remote_routing import RemoteRouting
from qss.app.routing_process import RoutingProcess, running
from qss.app.routing_tables import Neighbours, RoutingConfiguration, RoutingLink, RoutingSite
from qss.app.site_routing import SiteRouting
from qss.app.site_tables import Routing, RoutingCosts, Tls
from qss.model.addresses import Address
from qss.model.identifiers import QksId, SaeId
from qss.ports.routing_table import RoutingTable
from qss.runtime.tasks import Tasks
from qss.transport.listening import Listener, Route
from qss.wire import routing as wire
from support.module_runners import raise_defect
from support.pki import Pki

A, B = QksId("A"), QksId("B")
NOWHERE = Address("localhost", 1)


@dataclass(frozen=True)
class Tables:
    """The table under test, at site A, and that of its neighbour B; and who states homes."""

    here: RoutingTable
    neighbour: RoutingTable
    pki: Pki

    def stated(self, sae: str, site: QksId) -> bytes:
        """The authority's statement that an SAE is at home at a site."""
        return read_statement(state_home(self.pki.folder, SaeId(sae), site, 5))


def tls(pki: Pki, site: str) -> Tls:
    pair = pki.site(site)
    return Tls(authority=pki.authority, certificate=pair.certificate, key=pair.key)


@asynccontextmanager
async def neighbour(pki: Pki) -> AsyncIterator[tuple[SiteRouting, Address]]:
    """B, which is called, since it has the higher ID."""
    routing = SiteRouting(B, tls(pki, "B"), RoutingCosts(), [A], raise_defect)
    route = Route((wire.SUBPROTOCOL,), partial(serve_neighbour, {A: routing.serve(A)}), wire.MAX_FRAME_BYTES)
    listener = Listener("127.0.0.1", 0, pki.server_context("B"), {ROUTING_PATH: route})
    await listener.start()
    address = Address(*listener.address)
    routing.start(NOWHERE, address, 1)
    yield routing, address
    await routing.stop()
    await listener.close()


@asynccontextmanager
async def inside(pki: Pki, peer: Address) -> AsyncIterator[RoutingTable]:
    """A's routing module in this process."""
    routing, tasks = SiteRouting(A, tls(pki, "A"), Routing(), [B], raise_defect), Tasks(raise_defect)
    routing.start(NOWHERE, NOWHERE, 1)
    dial(tasks, pki.client_context("A"), B, peer, ROUTING_PATH, wire, routing.serve(B))
    yield routing
    await routing.stop()
    await tasks.cancelled()


def module(pki: Pki, peer: Address, port: int = 0) -> AbstractAsyncContextManager[RoutingProcess]:
    """A's routing module as `qss routing` runs it, Admin at `port`."""
    configuration = RoutingConfiguration(
        site=RoutingSite(id=A, external=NOWHERE),
        tls=tls(pki, "A"),
        neighbours=Neighbours(listen=Address("127.0.0.1", 0)),
        admin=Admin(listen=Address("127.0.0.1", port)),
        links=(RoutingLink(peer=B, address=peer),),
    )
    return running(configuration)


@asynccontextmanager
async def asking(pki: Pki, port: int) -> AsyncIterator[RemoteRouting]:
    """A's node's end of that module."""
    node: Any = SimpleNamespace(site=SimpleNamespace(id=A), tls=tls(pki, "A"), routing=Routing())
    routing = RemoteRouting(node, Address("localhost", port), raise_defect)
    routing.start()
    yield routing
    await routing.stop()


@asynccontextmanager
async def in_its_own_process(pki: Pki, peer: Address) -> AsyncIterator[RoutingTable]:
    """A's routing module as `qss routing` runs it, asked as a node asks it, over loopback."""
    async with module(pki, peer) as process, asking(pki, process.addresses["admin"].port) as routing:
        yield routing
