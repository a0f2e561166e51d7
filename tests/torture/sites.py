"""The demo's network made fit for torture: its sites call each other over roads, and give up sooner."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from qss.cli.demo.modules import SplitModule
from qss.cli.demo.network import Network
from qss.cli.demo.nodes import Name
from qss.model.identifiers import QksId, SaeId
from torture.naming import NamingClient
from torture.road import Road

TIMEOUT_S = 5.0
"""How long an application waits for an answer."""

_HOST = "127.0.0.1"
_RATE_BPS = 1_000_000
CAPACITY_BITS = 10_000_000


def road_between(network: Network, ends: tuple[QksId, QksId]) -> Road:
    """Return the road between two sites of a network that was built, and between their modules."""
    listeners: dict[Name, tuple[str, int]] = {end: (_HOST, network.ports[end].external) for end in ends}
    listeners |= {module.name: (_HOST, module.sync) for module in _called(network, ends)}
    return Road(ends, listeners)


def far_road_to(network: Network, site: QksId) -> Road:
    """Return the road by which a site of such a network is called that shares no link with who calls."""
    return Road((site,), {site: (_HOST, network.ports[site].external)})


def _called(network: Network, ends: tuple[QksId, ...]) -> list[SplitModule]:
    """Return the module that the other one calls for Sync, if modules are processes of their own."""
    lower, higher = sorted(ends)
    return [module for module in network.modules if (module.site, module.peer) == (higher, lower)]


def rewire(network: Network, roads: Sequence[Road], afar: Sequence[Road] = ()) -> None:
    """Have sites and modules call each other over the roads, those of links and those to far sites; more key than the
    demo has, and less patience.
    """
    for module in network.modules:
        path = network.configuration(module.name)
        toml = re.sub("rate_bps = [0-9]+", f"rate_bps = {_RATE_BPS}", path.read_text(encoding="utf-8"))
        for road in roads:
            for called in _called(network, road.ends):
                direct = f'[sync]\naddress = "{_HOST}:{called.sync}"'
                toml = toml.replace(direct, f'[sync]\naddress = "{road.door(called.name)}"')
        path.write_text(toml, encoding="utf-8")
    for site in network.sites:
        path = network.configuration(site)
        toml = path.read_text(encoding="utf-8")
        for road in roads:
            for end in set(road.ends) - {site} if site in road.ends else ():
                direct = f'address = "{_HOST}:{network.ports[end].external}"'
                toml = toml.replace(direct, f'address = "{road.door(end)}"')
        toml = re.sub("rate_bps = [0-9]+", f"rate_bps = {_RATE_BPS}", toml)
        toml = re.sub("capacity_bits = [0-9]+", f"capacity_bits = {CAPACITY_BITS}", toml)
        told = "".join(f'address = "{road.door(site)}"\n' for road in afar if road.ends == (site,))
        toml = toml.replace("[external]\n", f"[external]\nreply_timeout_s = 1\n{told}")
        toml += f"\n[relay]\nwait_s = {TIMEOUT_S - 2:g}\n"
        path.write_text(toml, encoding="utf-8")


@asynccontextmanager
async def clients_of(network: Network) -> AsyncIterator[dict[SaeId, NamingClient]]:
    """Open the clients of all applications, each of its home site."""
    async with AsyncExitStack() as stack:
        clients = {}
        for sae, home in network.homes.items():
            pair, authority = network.pki.sae(sae), network.pki.authority.certificate
            client = NamingClient(network.url(home), pair.certificate, pair.key, authority, TIMEOUT_S)
            clients[sae] = await stack.enter_async_context(client)
        yield clients
