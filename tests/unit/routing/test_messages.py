"""How many messages an event costs a network: each road carries a change at most once in each direction."""

from __future__ import annotations

import pytest

from qss.model.identifiers import SaeId
from qss.model.network import Load
from qss.simulation.routing import FULL_LOAD, Network
from qss.simulation.routing_truth import settle
from support.routing_networks import TOPOLOGIES, at_rest, busiest, lsas_told


@pytest.fixture(params=TOPOLOGIES)
def network(request: pytest.FixtureRequest) -> Network:
    return at_rest(Network(TOPOLOGIES[request.param]))


def crossings(network: Network, lsas: int) -> int:
    """How often so many LSAs cross a road at most, if each does once in each direction."""
    return 2 * len(network.roads) * lsas


def test_one_change_crosses_each_road_once_in_each_direction_at_most(network):
    before = lsas_told(network)
    network.set_saes(busiest(network), {SaeId("sae:new"): None})
    network.run(2.5)
    settle(network, 0.0)
    assert lsas_told(network) - before == 1
    assert network.sent["Update"] <= crossings(network, 1)
    assert network.sent["Ack"] <= network.sent["Update"]
    assert set(network.sent) <= {"Update", "Ack", "Hello"}


def test_a_link_that_goes_down_is_told_by_its_ends_alone(network):
    before = lsas_told(network)
    here = busiest(network)
    network.cut(here, network.peers(here)[0])
    network.run(2.5)
    settle(network, 0.0)
    assert lsas_told(network) - before == 2
    assert network.sent["Update"] <= crossings(network, 2)
    assert network.sent["Ack"] <= network.sent["Update"]


def test_a_cost_that_rises_is_told_by_its_ends_alone(network):
    before = lsas_told(network)
    here = busiest(network)
    network.set_load(here, network.peers(here)[0], Load(FULL_LOAD.available_bits, FULL_LOAD.capacity_bits, 100))
    network.run(2.5)
    settle(network, 0.0)
    assert lsas_told(network) - before == 2
    assert network.sent["Update"] <= crossings(network, 2)


def test_a_link_that_flaps_is_told_less_and_less(network):
    """Five times a second for twenty seconds: each end tells it once a second, and eight times more at first."""
    before = lsas_told(network)
    here = busiest(network)
    peer = network.peers(here)[0]
    for _ in range(100):
        network.cut(here, peer)
        network.run(0.1)
        network.connect(here, peer)
        network.run(0.1)
    told = lsas_told(network) - before
    assert told <= 2 * 30
    exchanged = 100 * 2 * 2 * told  # at worst each of them anew, by both, at each connection
    assert network.sent["Update"] <= crossings(network, told) + exchanged
    settle(network, 6.0)


def test_a_site_that_restarts_costs_what_its_neighbours_and_itself_have_to_tell(network):
    before = lsas_told(network)
    here = busiest(network)
    neighbours = len(network.peers(here))
    own = sum(each.header.sequence for each in network.routers[here].database if each.header.key.origin == here)
    network.kill(here)
    network.run(2.5)
    network.start(here)
    network.connect_all()
    network.run(6.0)
    settle(network, 0.0)
    told = lsas_told(network) - (before - own)
    assert told <= own + 2 * neighbours + 2 * (neighbours + 2)
    fetched = 2 * len(network.sites) * neighbours
    assert network.sent["Update"] <= crossings(network, told) + fetched
