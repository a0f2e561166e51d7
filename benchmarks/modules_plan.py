"""Names and configuration of `qss routing` on a topology: text only, nothing is started or written."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.addressing import addresses, interface, loopback, neighbours
from benchmarks.shortest_paths import Edge

from qss.model.identifiers import SaeId
from qss.simulation.topologies import site

ADMIN_PORT = 8448
_NEIGHBOURS_PORT = 8447
_EXTERNAL_PORT = 8444


def sae(router: int, number: int = 0) -> SaeId:
    """Return the ID of an SAE that is at home at a router's site: number zero is from the beginning."""
    return SaeId(f"sae:{router}.{number}")


def configuration(edges: Sequence[Edge], router: int) -> str:
    """Return the `routing.toml` of a router's site; certificates lie in `pki` beside it."""
    own = site(router)
    links = "".join(
        f'[[links]]\npeer = "{site(other)}"\naddress = "{_address(edges, other, router)}:{_NEIGHBOURS_PORT}"\n'
        for other in neighbours(edges, router)
    )
    return (
        f'[site]\nid = "{own}"\nexternal = "{loopback(router)}:{_EXTERNAL_PORT}"\n'
        f'[tls]\nauthority = "pki/ca.pem"\ncertificate = "pki/sites/{own}.pem"\nkey = "pki/sites/{own}.key"\n'
        f'[neighbours]\nlisten = "0.0.0.0:{_NEIGHBOURS_PORT}"\n[admin]\nlisten = "127.0.0.1:{ADMIN_PORT}"\n{links}'
    )


def _address(edges: Sequence[Edge], router: int, towards: int) -> str:
    """Return the address of a router on its link to another."""
    return addresses(edges, router)[interface(towards)].partition("/")[0]
