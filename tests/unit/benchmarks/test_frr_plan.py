"""Addresses and configuration of FRR on a topology."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest
from benchmarks import frr_plan as plan
from benchmarks.topologies import line, random_connected, ring

EDGES = random_connected(50, 1)


def test_the_ends_of_an_edge_share_a_network_that_no_other_edge_has() -> None:
    networks = set()
    for a, b in EDGES:
        at_a = IPv4Interface(plan.addresses(EDGES, a)[plan.interface(b)])
        at_b = IPv4Interface(plan.addresses(EDGES, b)[plan.interface(a)])
        assert at_a.network == at_b.network
        assert {at_a.ip, at_b.ip} == set(at_a.network.hosts())
        networks.add(at_a.network)
    assert len(networks) == len(EDGES)


def test_no_address_is_given_twice() -> None:
    given = [address for router in range(50) for address in plan.addresses(EDGES, router).values()]
    assert len(set(given)) == len(given)
    assert not {plan.announced(number) for number in range(300)} & {address.split("/")[0] for address in given}


def test_numbers_above_a_byte_have_addresses_too() -> None:
    assert plan.loopback(300) == "10.254.1.44"
    assert plan.announced(300) == "10.253.1.44"


def test_a_router_has_an_interface_for_each_neighbour() -> None:
    assert plan.neighbours(ring(5), 0) == [1, 4]
    assert list(plan.addresses(ring(5), 0)) == ["lo", "to1", "to4"]
    assert plan.set_up(line(2), 1) == [
        "address add 10.254.0.1/32 dev lo",
        "link set lo up",
        "address add 10.128.0.2/30 dev to0",
        "link set to0 up",
    ]


def test_names_fit_and_indices_stay_clear_of_lo() -> None:
    assert len(plan.interface(9999)) <= 15
    assert plan.index(0) > 1


@pytest.mark.parametrize("router", [0, 1, 49])
def test_every_interface_speaks_ospf_point_to_point(router: int) -> None:
    text = plan.ospfd(EDGES, router)
    for neighbour in plan.neighbours(EDGES, router):
        assert f"interface to{neighbour}\n ip ospf area 0\n ip ospf network point-to-point\n" in text
    assert text.count("point-to-point") == len(plan.neighbours(EDGES, router))
    assert f"router ospf\n ospf router-id {plan.loopback(router)}\n" in text
