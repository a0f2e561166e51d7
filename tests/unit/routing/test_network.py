"""Whole networks of routing modules in virtual time: whatever happens, all tables become the right one."""

from __future__ import annotations

import random

import pytest

from qss.core.routing.events import Disconnect, Tick
from qss.model.identifiers import SaeId
from qss.model.network import Load
from qss.simulation.routing import FULL_LOAD, Network, Weather, road
from qss.simulation.routing_truth import settle
from qss.simulation.topologies import grid, line, ring, site, tangle
from qss.wire import routing as wire
from support.routing_networks import TOPOLOGIES, at_rest

HALF = Load(FULL_LOAD.capacity_bits // 2, FULL_LOAD.capacity_bits)


@pytest.mark.parametrize("shape", TOPOLOGIES)
def test_from_a_cold_start_all_tables_become_right(shape):
    network = Network(TOPOLOGIES[shape])
    network.connect_all()
    settle(network, 2.0)


@pytest.mark.parametrize("shape", TOPOLOGIES)
def test_costs_and_ways_are_those_of_the_key_that_links_have(shape):
    """Each link has another load, some have none, and through two sites no path may lead."""
    dice = random.Random(shape)
    loads = {
        road(*pair): Load(dice.choice((0, 1, dice.randrange(1 << 20))), 1 << 20, dice.choice((0, 7)))
        for pair in TOPOLOGIES[shape]
    }
    sites = sorted({one for pair in TOPOLOGIES[shape] for one in pair})
    network = Network(TOPOLOGIES[shape], loads=loads, no_transit=dice.sample(sites, 2))
    network.connect_all()
    settle(network, 3.0)
    assert len({edge for edges in network.routers[sites[0]].table.graph.edges.values() for edge in edges.values()}) > 3
    for pair in dice.sample(TOPOLOGIES[shape], 4):
        network.set_load(*pair, Load(dice.randrange(1 << 20), 1 << 20))
        network.run(2.5)
    settle(network, 1.0)


@pytest.mark.parametrize("shape", TOPOLOGIES)
def test_after_a_bad_day_all_tables_become_right(shape):
    """Messages are lost, links flap, sites restart, and half of the network is cut off from the other, again and again.

    When that ends, but for the loss, it takes at most the longest hold time, and a few times the resynchronisation.
    """
    network = Network(TOPOLOGIES[shape], seed=1, weather=Weather(loss=0.1), lifetime_s=20)
    dice = random.Random(1)
    network.connect_all()
    for _ in range(6):
        one, other = dice.choice(TOPOLOGIES[shape])
        for _ in range(3):
            network.cut(one, other)
            network.run(0.3 * dice.random())
            network.connect_all()
        network.kill(dice.choice(network.sites))
        part = set(dice.sample(network.sites, len(network.sites) // 2))
        for pair in TOPOLOGIES[shape]:
            if len(part & {*pair}) == 1:
                network.cut(*pair)
        network.run(2 * dice.random())
        for gone in sorted(set(network.sites) - network.routers.keys()):
            network.start(gone)
        network.connect_all()
        network.set_saes(one, {SaeId(f"sae:{dice.random()}"): None})
        network.run(0.5)
    settle(network, 30.0, every_s=0.1)


@pytest.mark.parametrize("shape", TOPOLOGIES)
def test_both_parts_of_a_network_are_right_and_so_is_the_whole_again(shape):
    network = at_rest(Network(TOPOLOGIES[shape], lifetime_s=15))
    part = set(network.sites[: len(network.sites) // 2])
    for pair in TOPOLOGIES[shape]:
        if len(part & {*pair}) == 1:
            network.cut(*pair)
    settle(network, 2.0)
    for here in (network.sites[0], network.sites[-1]):
        network.set_saes(here, {SaeId(f"sae:{here}:new"): None})
    settle(network, 2.0)
    network.run(20)  # what the other part says has passed its lifetime
    network.connect_all()
    settle(network, 3.0)


def test_one_change_is_known_along_a_line_as_fast_as_it_travels():
    network = Network(line(10))
    network.connect_all()
    settle(network, 2.0)
    network.run(20)
    network.set_load(site(0), site(1), HALF)
    network.run(3)  # the next ticks of the cost, with its trend and without
    before = network.sent["Update"]
    network.set_saes(site(0), {SaeId("sae:new"): None})
    assert settle(network, 1.0) <= 9 * network.weather.delay_s + 0.02
    assert network.sent["Update"] - before == 9, "each link carries a change once"


@pytest.mark.parametrize("seed", range(4))
def test_messages_may_be_lost(seed):
    network = Network(tangle(15, seed), seed=seed, weather=Weather(loss=0.2))
    network.connect_all()
    settle(network, 60.0)
    network.set_saes(site(3), {SaeId("sae:new"): None})
    settle(network, 30.0)


@pytest.mark.parametrize("seed", range(4))
def test_links_and_sites_may_come_and_go(seed):
    network = Network(tangle(15, seed), seed=seed, weather=Weather(loss=0.05), lifetime_s=20)
    dice = random.Random(seed)
    network.connect_all()
    for _ in range(30):
        one, other = dice.choice(sorted(tuple(sorted(each)) for each in network.roads))
        if dice.random() < 0.5:
            network.cut(one, other)
        elif one in network.routers:
            network.kill(one)
        network.run(dice.random())
        for gone in sorted({site(n) for n in range(15)} - network.routers.keys()):
            if dice.random() < 0.5:
                network.start(gone)
        network.connect_all()
    for gone in sorted({site(n) for n in range(15)} - network.routers.keys()):
        network.start(gone)
    network.connect_all()
    settle(network, 90.0)


def test_a_site_that_was_restarted_says_the_newest_of_itself():
    network = Network(ring(5))
    network.connect_all()
    settle(network, 2.0)
    network.kill(site(2))
    settle(network, 2.0)
    network.saes[site(2)] = {SaeId("sae:other"): None}
    network.start(site(2))
    network.connect_all()
    settle(network, 2.0)
    assert SaeId("sae:s02") not in network.routers[site(0)].table.homes


def test_what_a_dead_site_said_is_forgotten_after_its_lifetime():
    network = Network(line(3), lifetime_s=30)
    network.connect_all()
    settle(network, 2.0)
    network.kill(site(0))
    network.run(29)
    assert SaeId("sae:s00") in network.routers[site(2)].table.homes
    network.run(12)
    assert SaeId("sae:s00") not in network.routers[site(2)].table.homes
    assert len(network.routers[site(2)].database) == 4


def test_that_a_neighbour_is_silent_is_told_once_while_its_connection_ends():
    network = Network(line(2))
    network.connect_all()
    settle(network, 2.0)
    told = [
        effect
        for tick in range(20)
        for effect in network.routers[site(0)].handle(Tick(), network.now + 4.5 + 0.05 * tick, network.now)
        if isinstance(effect, Disconnect)
    ]
    assert told == [Disconnect(site(1), "nothing came for 4 s")]


def test_a_sequence_that_wraps_goes_on():
    network = Network(line(4))
    network.connect_all()
    settle(network, 2.0)
    origin = network.routers[site(0)]
    key = wire.Key(site(0), wire.LsaType.SAES, 0)
    origin._origination.heard_own(wire.Header(key, 0, wire.MAX_SEQUENCE - 1, bytes(8)))
    for number in range(3):
        network.set_saes(site(0), {SaeId(f"sae:{number}"): None})
        settle(network, 10.0)
    header = network.routers[site(3)].database.get(key).header
    assert (header.generation, header.sequence) == (1, 2)


def test_at_rest_there_are_hellos_and_few_refreshes():
    network = Network(grid(4), lifetime_s=90)
    network.connect_all()
    settle(network, 2.0)
    network.run(5)
    network.sent.clear()
    network.run(60)
    assert network.sent["Hello"] == pytest.approx(60 * 2 * 24, rel=0.1)
    refreshes = 2 * 2 * 16  # LSAs, times in a minute
    assert network.sent["Update"] <= refreshes * 24 * 2
    assert set(network.sent) <= {"Hello", "Update", "Ack"}
