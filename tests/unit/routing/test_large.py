"""A network of two hundred sites: where it begins is where the protocol leads, and a change is known in a second."""

from __future__ import annotations

import pytest

from qss.model.identifiers import QksId
from qss.model.network import Load
from qss.simulation.routing import FULL_LOAD, Network
from qss.simulation.routing_start import warm
from qss.simulation.routing_truth import Truth, settle
from qss.simulation.topologies import scattered, tangle
from support.routing_networks import TOPOLOGIES

LARGE = {"random": tangle(200, 2), "scattered": scattered(200, 2)}


def known(network: Network, here: QksId) -> dict[object, object]:
    """Return what a site knows but for what depends on how often it was said before: sequences and times."""
    bodies = [instance.body for instance in network.routers[here].database]
    return {body.key: (body.withdrawn, body.transit, body.links, body.saes) for body in bodies}


@pytest.mark.parametrize("shape", TOPOLOGIES)
def test_a_warm_start_is_where_a_cold_one_leads(shape):
    cold, warmed = Network(TOPOLOGIES[shape]), Network(TOPOLOGIES[shape])
    cold.connect_all()
    settle(cold, 3.0)
    cold.run(5)
    warm(warmed)
    warmed.run(0.01)
    assert Truth(warmed).wrong() == []
    for here in cold.sites:
        assert known(cold, here) == known(warmed, here)
        assert cold.routers[here].table == warmed.routers[here].table
        for network in (cold, warmed):
            assert all(network.routers[here].adjacency(peer).full for peer in network.peers(here))
            assert all(neighbour.up_to_date for neighbour in network.routers[here]._neighbours.values())
    for network in (cold, warmed):
        assert len({router.database.digest for router in network.routers.values()}) == 1
        network.sent.clear()
        network.run(10)
        assert set(network.sent) == {"Hello"}, "nobody has anything to tell or to ask"


def test_who_starts_at_different_times_refreshes_at_different_times():
    network = Network(LARGE["random"], lifetime_s=30)
    warm(network, spread_s=10)
    network.run(1)
    assert Truth(network).wrong() == []
    assert network.changed_at == {}, "a refresh changes no table"
    refreshed = network.sent["Update"] / (2 * len(network.roads))
    assert 0.05 * 2 * 200 <= refreshed <= 0.15 * 2 * 200


@pytest.mark.parametrize("shape", LARGE)
def test_a_change_is_known_everywhere_within_a_second(shape):
    network = Network(LARGE[shape])
    warm(network)
    truth = Truth(network)
    network.run(1)
    (one, other), (this, that) = LARGE[shape][10], LARGE[shape][-10]
    network.cut(one, other)
    network.run(1)
    assert truth.wrong() == []
    before = network.routers[this].told_of(that)
    network.set_load(this, that, Load(FULL_LOAD.available_bits, FULL_LOAD.capacity_bits, 100))
    ends = (network.routers[this], that), (network.routers[that], this)
    network.run(1.2, lambda: all(router.told_of(peer) != before for router, peer in ends))  # a tick of the cost
    network.run(1)
    assert truth.wrong() == []
