"""What the demo's sites know of the network, as their Admin interfaces tell: the configuration of each names no
application of another site.
"""

from __future__ import annotations

import asyncio

from qss.cli.demo.admins import Admins
from qss.cli.demo.network import HOMES, LINKS, SITES
from qss.cli.demo.nodes import Nodes
from qss.client import AdminClient
from qss.model.errors import QssError
from qss.wire.routes import RouteView, RoutingStatus

PATIENCE_S = 60.0
"""How long it may take until the sites know all."""

_POLL_S = 0.1


class NoWay(QssError):
    """The network was not known in time."""


async def known_ways(nodes: Nodes, admins: Admins) -> tuple[RouteView, ...]:
    """Return the routing table of the first site, once all have a way to every application over links with key.

    Raises `NoWay`.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            tables = [await _known(nodes, admin) for admin in admins.values()]
    except TimeoutError:
        raise NoWay(
            f"a site does not know the whole network within {PATIENCE_S:g} s: try again when this machine is idle"
        ) from None
    return tables[list(admins).index(SITES[0])]


async def _known(nodes: Nodes, admin: AdminClient) -> tuple[RouteView, ...]:
    while True:
        nodes.check()
        told = await admin.routing()
        if _is_all(told):
            return told.routes
        await asyncio.sleep(_POLL_S)


def _is_all(told: RoutingStatus) -> bool:
    reached = {route.SAE_ID for route in told.routes if route.next_hop is not None}
    return reached == set(HOMES) and {link.ends for link in told.links if link.available_bits} == set(LINKS)
