"""Addresses and interfaces of routers on a topology, whoever routes: text only, nothing is made.

Router n has the loopback 10.254.x.y/32, where x.y is n. Edge i has the four addresses from 10.128.0.0 + 4 i, and its
ends the two in the middle. What is announced later is 10.253.x.y/32. An interface is called after the neighbour it
leads to, and its index says it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address

from benchmarks.shortest_paths import Edge

_LOOPBACKS = IPv4Address("10.254.0.0")
_ANNOUNCED = IPv4Address("10.253.0.0")
_LINKS = IPv4Address("10.128.0.0")
_FIRST_INDEX = 100


def routers_of(edges: Iterable[Edge]) -> list[int]:
    """Return the routers at the ends of edges, in order."""
    return sorted({router for edge in edges for router in edge})


def neighbours(edges: Sequence[Edge], router: int) -> list[int]:
    """Return the neighbours of a router, in the order of the edges."""
    return [a + b - router for a, b in edges if router in (a, b)]


def loopback(router: int) -> str:
    """Return the address that a router is reached at."""
    return str(_LOOPBACKS + router)


def announced(number: int) -> str:
    """Return an address that no router has from the beginning."""
    return str(_ANNOUNCED + number)


def interface(neighbour: int) -> str:
    """Return the name of the interface that leads to a neighbour."""
    return f"to{neighbour}"


def index(neighbour: int) -> int:
    """Return the index of the interface that leads to a neighbour."""
    return _FIRST_INDEX + neighbour


def addresses(edges: Sequence[Edge], router: int) -> dict[str, str]:
    """Return for each interface of a router its address with its prefix length."""
    found = {"lo": f"{loopback(router)}/32"}
    for number, (a, b) in enumerate(edges):
        if router in (a, b):
            found[interface(a + b - router)] = f"{_LINKS + 4 * number + 1 + (router == b)}/30"
    return found


def set_up(edges: Sequence[Edge], router: int) -> list[str]:
    """Return the commands for `ip` that make a router's interfaces ready."""
    commands = []
    for name, address in addresses(edges, router).items():
        commands += [f"address add {address} dev {name}", f"link set {name} up"]
    return commands
