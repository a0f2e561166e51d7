"""Whole networks of routing modules in virtual time: whatever happens, all tables become the right one."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from qss.core.routing.events import Disconnect, Reason, Tick
from qss.core.routing.paths import shortest_paths
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Graph, Load
from qss.simulation.routing import FULL_LOAD, Network, Weather, road, sign_as
from qss.wire import routing as wire

HALF = Load(FULL_LOAD.capacity_bits // 2, FULL_LOAD.capacity_bits)


def site(number: int) -> QksId:
    return QksId(f"s{number:02}")


def line(size: int) -> list[tuple[QksId, QksId]]:
    return [(site(n), site(n + 1)) for n in range(size - 1)]


def ring(size: int) -> list[tuple[QksId, QksId]]:
    return [*line(size), (site(0), site(size - 1))]


def grid(side: int) -> list[tuple[QksId, QksId]]:
    places = list(itertools.product(range(side), repeat=2))
    steps = [((x, y), (x + dx, y + dy)) for x, y in places for dx, dy in ((0, 1), (1, 0))]
    return [(site(side * a + b), site(side * c + d)) for (a, b), (c, d) in steps if max(c, d) < side]


def tangle(size: int, seed: int) -> list[tuple[QksId, QksId]]:
    dice = random.Random(seed)
    roads = {road(site(n), site(dice.randrange(n))) for n in range(1, size)}
    while len(roads) < 2 * size:
        roads.add(road(*dice.sample([site(n) for n in range(size)], 2)))
    return [tuple(sorted(each)) for each in roads]  # type: ignore[misc]


def expected(network: Network) -> Graph:
    """The graph of what runs and is connected, computed from outside."""
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for each in network.roads:
        one, other = each
        if network.is_connected(one, other):
            told = [network.routers[a].told_of(b) for a, b in ((one, other), (other, one))]
            edge = Edge(max(cost.cost for cost in told), min(cost.available_bits for cost in told))
            edges.setdefault(one, {})[other] = edges.setdefault(other, {})[one] = edge
    return Graph(edges, frozenset(edges))


def is_right(network: Network) -> bool:
    """Whether every table is what it should be: graph, best paths, and the homes of SAEs that can be known."""
    graph = expected(network)
    for here, router in network.routers.items():
        table = router.table
        reached = shortest_paths(graph, here)
        if table.paths != reached:
            return False
        for there in reached:
            if any(table.homes.get(sae) != there for sae in network.saes[there]):
                return False
    return True


def settle(network: Network, within_s: float) -> float:
    """Let it run until all tables are right; return how long it took."""
    took = network.run(within_s, lambda: is_right(network))
    assert is_right(network), f"not all tables are right after {within_s} s"
    assert network.breaches == []
    return took


@pytest.mark.parametrize("roads", [line(10), ring(9), grid(5), tangle(30, 1)], ids=["line", "ring", "grid", "tangle"])
def test_from_a_cold_start_all_tables_become_right(roads):
    network = Network(roads)
    network.connect_all()
    settle(network, 2.0)


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


def test_a_partition_that_heals_becomes_one_network_again():
    network = Network([*ring(4), (site(3), site(4)), *[(site(n), site(n + 1)) for n in range(4, 8)]])
    network.connect_all()
    settle(network, 2.0)
    network.cut(site(3), site(4))
    settle(network, 2.0)
    network.set_saes(site(0), {SaeId("sae:zero"): None})
    network.set_saes(site(8), {SaeId("sae:eight"): None})
    network.run(200)  # what the other side says has passed its lifetime
    network.connect_all()
    settle(network, 2.0)


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


# --- dishonest ones -------------------------------------------------------------------------------------------------


def forged(carried: wire.Carried, **changed: object) -> wire.Carried:
    body = msgspec.structs.replace(wire.decode_body(carried.body), **changed)
    return msgspec.structs.replace(carried, body=wire.encode_body(body))


LIES = {
    "another cost": lambda body: {"sequence": body.sequence + 5, "timestamp": 0},
    "the newest there can be": lambda body: {"generation": 2**63 - 1, "sequence": wire.MAX_SEQUENCE},
    "a withdrawal": lambda body: {"sequence": body.sequence + 5, "withdrawn": True, "links": (), "saes": ()},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_liar_changes_nothing_of_what_others_say(lie):
    network = Network(ring(6))
    liar = site(2)

    def disturb(sender: QksId, _: QksId, message: wire.Message) -> list[wire.Message]:
        if sender != liar or not isinstance(message, wire.Update):
            return [message]
        false = [
            forged(each, **LIES[lie](wire.decode_body(each.body)))
            for each in message.carried
            if wire.decode_body(each.body).source.qks != liar
        ]
        return [message, *([wire.Update(tuple(false))] if false else [])]

    network.disturb = disturb
    network.connect_all()
    settle(network, 3.0)
    network.set_saes(site(5), {SaeId("sae:new"): None})
    settle(network, 3.0)
    dropped = sum((router.dropped for router in network.routers.values()), start=type(network.routers[liar].dropped)())
    assert {peer for peer, reason in dropped if reason is Reason.SIGNATURE} == {liar}


def test_who_withholds_is_gone_round():
    network = Network(ring(6))
    withholder = site(2)
    network.disturb = lambda sender, _, message: (
        [] if sender == withholder and isinstance(message, wire.Update) else [message]
    )
    network.connect_all()
    network.run(5)
    network.set_saes(site(5), {SaeId("sae:new"): None})
    network.run(5)
    assert all(
        router.table.homes.get(SaeId("sae:new")) == site(5)
        for here, router in network.routers.items()
        if here != withholder
    )


def test_an_old_instance_does_not_come_back():
    """Who kept the first LSA of a site sends it for ever."""
    network = Network(line(4))
    kept: list[wire.Carried] = []

    def disturb(sender: QksId, _: QksId, message: wire.Message) -> list[wire.Message]:
        if sender != site(1) or not isinstance(message, wire.Update):
            return [message]
        kept.extend(each for each in message.carried if wire.decode_body(each.body).source.qks == site(0))
        old = [msgspec.structs.replace(each, age_ms=0) for each in kept[:2]]
        return [message, wire.Update(tuple(old))] if old else [message]

    network.disturb = disturb
    network.connect_all()
    settle(network, 3.0)
    for number in range(4):
        network.set_saes(site(0), {SaeId(f"sae:{number}"): None})
        settle(network, 3.0)
    network.kill(site(0))
    network.run(120)
    network.set_saes(site(1), {SaeId("sae:more"): None})
    network.run(5)
    assert SaeId("sae:3") not in network.routers[site(3)].table.homes


def test_who_speaks_in_anothers_name_is_cut_off():
    network = Network(line(3))
    network.connect_all()
    settle(network, 2.0)
    network.disturb = lambda sender, _, message: (
        [wire.Update(tuple(msgspec.structs.replace(each, forwarder=site(2)) for each in message.carried))]
        if sender == site(0) and isinstance(message, wire.Update)
        else [message]
    )
    network.set_saes(site(0), {SaeId("sae:new"): None})
    network.run(0.5)
    assert network.breaches == ["s01 of s00: s00 sent an LSA on in the name of s02"]


def test_two_of_one_name_disturb_their_own_lsas_alone():
    network = Network(ring(6))
    network.connect_all()
    settle(network, 2.0)
    body = network.routers[site(0)].database.get(wire.Key(site(3), wire.LsaType.SAES, 0)).body
    encoded = wire.encode_body(msgspec.structs.replace(body, sequence=900))
    twin = wire.Carried(site(1), 0, encoded, sign_as(site(3))(encoded))
    network.disturb = lambda sender, _, message: (
        [message, wire.Update((twin,))] if sender == site(1) and isinstance(message, wire.Hello) else [message]
    )
    network.run(3)
    network.disturb = None
    settle(network, 10.0)
    header = network.routers[site(5)].database.get(wire.Key(site(3), wire.LsaType.SAES, 0)).header
    assert header.sequence > 900
