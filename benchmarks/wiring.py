"""Network namespaces joined as a topology says: one for each node, a veth pair for each edge, addresses on both.

The addresses are those of `frr_plan`, whoever routes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack

from benchmarks import frr_plan as plan
from benchmarks.namespaces import Namespace
from benchmarks.topologies import Edge, nodes_of


def wired(edges: Sequence[Edge], left: ExitStack | AsyncExitStack) -> dict[int, Namespace]:
    """Return a namespace for each node; they are let go when `left` is closed."""
    namespaces = {}
    for node in nodes_of(edges):
        namespaces[node] = Namespace()
        left.callback(namespaces[node].close)
    for node, namespace in namespaces.items():
        links = [
            f"link add {plan.interface(other)} index {plan.index(other)} type veth"
            f" peer name {plan.interface(node)} index {plan.index(node)} netns {namespaces[other].path}"
            for other in plan.neighbours(edges, node)
            if other > node
        ]
        namespace.ip(*links)
    for node, namespace in namespaces.items():
        namespace.ip(*plan.set_up(edges, node))
    return namespaces
