"""Network namespaces joined as a topology says: one for each router, a veth pair for each edge, addresses on both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack

from benchmarks.addressing import index, interface, neighbours, routers_of, set_up
from benchmarks.namespaces import Namespace
from benchmarks.shortest_paths import Edge


def wired(edges: Sequence[Edge], left: ExitStack | AsyncExitStack) -> dict[int, Namespace]:
    """Return a namespace for each router; they are let go when `left` is closed."""
    namespaces = {}
    for router in routers_of(edges):
        namespaces[router] = Namespace()
        left.callback(namespaces[router].close)
    for router, namespace in namespaces.items():
        links = [
            f"link add {interface(other)} index {index(other)} type veth"
            f" peer name {interface(router)} index {index(router)} netns {namespaces[other].path}"
            for other in neighbours(edges, router)
            if other > router
        ]
        namespace.ip(*links)
    for router, namespace in namespaces.items():
        namespace.ip(*set_up(edges, router))
    return namespaces
