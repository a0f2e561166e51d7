"""Messages of the kernel, as bytes."""

from __future__ import annotations

import socket
import struct

import pytest
from benchmarks.netlink import LinkDown, Route, changes

NEWLINK, NEWADDR, NEWROUTE, DELROUTE = 16, 20, 24, 25


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def route(kind: int, *attributes: bytes, bits: int = 32, table: int = 254) -> bytes:
    head = struct.pack("=8BI", socket.AF_INET, bits, 0, 0, table, 188, 0, 1, 0)
    return message(kind, head + attribute(1, socket.inet_aton("10.254.0.7")) + b"".join(attributes))


def out_of(interface: int) -> bytes:
    return attribute(4, struct.pack("=i", interface))


def hop(interface: int, flags: int = 0) -> bytes:
    return struct.pack("=HBBi", 16, flags, 0, interface) + attribute(5, bytes(4))


def link(flags: int) -> bytes:
    return message(NEWLINK, struct.pack("=BxHiII", 0, 1, 103, flags, 0))


def test_a_route_says_its_interface() -> None:
    assert list(changes(route(NEWROUTE, out_of(101)))) == [Route("10.254.0.7", frozenset({101}))]


def test_a_route_over_many_says_those_that_live() -> None:
    hops = attribute(9, hop(101) + hop(102, flags=1) + hop(103))
    assert list(changes(route(NEWROUTE, hops))) == [Route("10.254.0.7", frozenset({101, 103}))]


def test_a_route_that_is_gone_has_no_interface() -> None:
    assert list(changes(route(DELROUTE, out_of(101)))) == [Route("10.254.0.7", frozenset())]


def test_a_link_that_was_taken_down_is_told_and_one_without_carrier_is_not() -> None:
    assert list(changes(link(0))) == [LinkDown(103)]
    assert list(changes(link(1))) == []


@pytest.mark.parametrize(
    "other",
    [
        route(NEWROUTE, out_of(1), bits=30),
        route(NEWROUTE, out_of(1), table=255),
        message(NEWADDR, bytes(8)),
        message(NEWROUTE, struct.pack("=8BI", socket.AF_INET6, *[0] * 8)),
    ],
    ids=["a network", "another table", "an address", "IPv6"],
)
def test_all_else_is_passed_over(other: bytes) -> None:
    told = list(changes(other + route(NEWROUTE, out_of(101))))
    assert told == [Route("10.254.0.7", frozenset({101}))]
