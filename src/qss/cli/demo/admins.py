"""Clients of the sites' Admin interfaces: each is asked with the site's own certificate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from qss.cli.demo.network import Network
from qss.client import AdminClient
from qss.model.identifiers import QksId

Admins = Mapping[QksId, AdminClient]
"""By the site that each asks."""


@asynccontextmanager
async def administrators(network: Network) -> AsyncIterator[Admins]:
    """Open the clients of all sites."""
    async with AsyncExitStack() as stack:
        admins = {}
        for site in network.sites:
            pair, authority = network.pki.site(site), network.pki.authority.certificate
            url = f"https://localhost:{network.ports[site].admin}"
            admins[site] = await stack.enter_async_context(AdminClient(url, pair.certificate, pair.key, authority))
        yield admins
