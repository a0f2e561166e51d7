"""What the demo's first site knows of the network, as its Admin interface tells: its own configuration names no
application of another site.
"""

from __future__ import annotations

import asyncio

from qss.cli.demo.network import HOMES, SITES, Network
from qss.cli.demo.nodes import Nodes
from qss.client import AdminClient
from qss.model.errors import QssError
from qss.wire.routes import RouteView

PATIENCE_S = 60.0
"""How long it may take until the site knows all."""

_POLL_S = 0.1


class NoWay(QssError):
    """The network was not known in time."""


async def known_ways(network: Network, nodes: Nodes) -> tuple[RouteView, ...]:
    """Return the routing table of the first site, once it has a way to every application. Raises `NoWay`."""
    site = SITES[0]
    pair, url = network.pki.site(site), f"https://localhost:{network.ports[site].admin}"
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            AdminClient(url, pair.certificate, pair.key, network.pki.authority.certificate) as admin,
        ):
            while True:
                nodes.check()
                routes = (await admin.routing()).routes
                if {route.SAE_ID for route in routes if route.next_hop is not None} == set(HOMES):
                    return routes
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise NoWay(
            f"site {site} does not know all applications within {PATIENCE_S:g} s: try again when this machine is idle"
        ) from None
