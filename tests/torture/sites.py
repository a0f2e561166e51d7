"""The demo's network made fit for torture: its sites call each other over roads, and give up sooner."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from qss.cli.demo.network import HOMES, SITES, Network
from qss.model.identifiers import QksId, SaeId
from torture.naming import NamingClient
from torture.road import Road

TIMEOUT_S = 5.0
"""How long an application waits for an answer."""

_HOST = "127.0.0.1"
_RATE_BPS = 1_000_000
_CAPACITY_BITS = 10_000_000


def road_between(network: Network, ends: tuple[QksId, QksId]) -> Road:
    """Return the road between two sites of a network that was built."""
    return Road(ends, {end: (_HOST, network.ports[end].external) for end in ends})


def rewire(network: Network, roads: Sequence[Road]) -> None:
    """Have the sites call each other over the roads; more key than the demo has, and less patience."""
    for site in SITES:
        path = network.configuration(site)
        toml = path.read_text(encoding="utf-8")
        for road in roads:
            for end in road.ends:
                direct = f'address = "{_HOST}:{network.ports[end].external}"'
                toml = toml.replace(direct, f'address = "{road.door(end)}"')
        toml = re.sub("rate_bps = [0-9]+", f"rate_bps = {_RATE_BPS}", toml)
        toml = re.sub("capacity_bits = [0-9]+", f"capacity_bits = {_CAPACITY_BITS}", toml)
        toml = toml.replace("[external]\n", "[external]\nreply_timeout_s = 1\n")
        path.write_text(toml, encoding="utf-8")


@asynccontextmanager
async def clients_of(network: Network) -> AsyncIterator[dict[SaeId, NamingClient]]:
    """Open the clients of all applications, each of its home site."""
    async with AsyncExitStack() as stack:
        clients = {}
        for sae, home in HOMES.items():
            pair, authority = network.pki.sae(sae), network.pki.authority.certificate
            client = NamingClient(network.url(home), pair.certificate, pair.key, authority, TIMEOUT_S)
            clients[sae] = await stack.enter_async_context(client)
        yield clients
