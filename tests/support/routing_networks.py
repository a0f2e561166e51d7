"""Networks for tests of routing: shapes, and how one begins."""

from __future__ import annotations

from qss.model.identifiers import QksId
from qss.simulation.routing import Network
from qss.simulation.routing_start import warm
from qss.simulation.routing_truth import settle
from qss.simulation.topologies import Roads, geant, grid, line, nsfnet, ring, scattered, tangle

TOPOLOGIES: dict[str, Roads] = {
    "line": line(10),
    "ring": ring(9),
    "grid": grid(5),
    "random": tangle(30, 1),
    "nsfnet": nsfnet(),
    "geant": geant(),
    "scattered": scattered(30, 1),
}


def at_rest(network: Network) -> Network:
    """Begin with all connected and known, and wait until nobody holds anything back."""
    warm(network)
    network.run(5)
    settle(network, 0.0)
    network.sent.clear()
    return network


def lsas_told(network: Network) -> int:
    """Return how many LSAs the sites have told in their present lives."""
    return sum(
        instance.header.sequence
        for site, router in network.routers.items()
        for instance in router.database
        if instance.header.key.origin == site
    )


def busiest(network: Network) -> QksId:
    """Return the site with most neighbours."""
    return max(network.sites, key=lambda site: (len(network.peers(site)), site))
