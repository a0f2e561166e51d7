"""Addresses and interfaces of routers on a topology."""

from __future__ import annotations

from ipaddress import IPv4Interface

from benchmarks import addressing

from qss.simulation.topologies import line, numbered, ring, tangle

EDGES = numbered(tangle(50, 1))
RING = numbered(ring(5))


def test_the_ends_of_an_edge_share_a_network_that_no_other_edge_has() -> None:
    networks = set()
    for a, b in EDGES:
        at_a = IPv4Interface(addressing.addresses(EDGES, a)[addressing.interface(b)])
        at_b = IPv4Interface(addressing.addresses(EDGES, b)[addressing.interface(a)])
        assert at_a.network == at_b.network
        assert {at_a.ip, at_b.ip} == set(at_a.network.hosts())
        networks.add(at_a.network)
    assert len(networks) == len(EDGES)


def test_no_address_is_given_twice() -> None:
    given = [address for router in range(50) for address in addressing.addresses(EDGES, router).values()]
    assert len(set(given)) == len(given)
    assert not {addressing.announced(number) for number in range(300)} & {address.split("/")[0] for address in given}


def test_numbers_above_a_byte_have_addresses_too() -> None:
    assert addressing.loopback(300) == "10.254.1.44"
    assert addressing.announced(300) == "10.253.1.44"


def test_a_router_has_an_interface_for_each_neighbour() -> None:
    assert addressing.neighbours(RING, 0) == [1, 4]
    assert list(addressing.addresses(RING, 0)) == ["lo", "to1", "to4"]
    assert addressing.set_up(numbered(line(2)), 1) == [
        "address add 10.254.0.1/32 dev lo",
        "link set lo up",
        "address add 10.128.0.2/30 dev to0",
        "link set to0 up",
    ]


def test_names_fit_and_indices_stay_clear_of_lo() -> None:
    assert len(addressing.interface(9999)) <= 15
    assert addressing.index(0) > 1
