"""Configuration of FRR on a topology: text only, nothing is started or written."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.addressing import interface, loopback, neighbours
from benchmarks.shortest_paths import Edge

AS_SHIPPED = "log stdout warnings\nno zebra nexthop kernel enable\n"
"""A configuration of zebra in which a route waits 10 ms, as without any. (Without nexthop objects the kernel tells of
each route what became of it.)"""

WITHOUT_ZEBRAS_WAIT = f"{AS_SHIPPED}zebra work-queue 0\n"
"""The same, but a route goes into the kernel as soon as it comes."""

_TIMERS = """\
 ip ospf area 0
 ip ospf network point-to-point
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ip ospf retransmit-interval 3
"""


def ospfd(edges: Sequence[Edge], router: int) -> str:
    """Return the configuration of a router's ospfd, tuned for speed."""
    blocks = [f"interface {interface(neighbour)}\n{_TIMERS}" for neighbour in neighbours(edges, router)]
    return "log stdout warnings\n" + "".join(blocks) + _instance(router)


def _instance(router: int) -> str:
    return f"""\
interface lo
 ip ospf area 0
router ospf
 ospf router-id {loopback(router)}
 timers throttle spf 0 10 100
 timers throttle lsa all 0
 timers lsa min-arrival 0
"""
