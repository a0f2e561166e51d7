"""What a dishonest site can do to the others (Routing 11): nothing but to what it says of itself."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import msgspec
import pytest

from qss.core.routing.events import Reason, SaesAtHome
from qss.model.identifiers import QksId, SaeId
from qss.simulation.routing import Network, sign_as, state_home
from qss.simulation.routing_truth import Truth, settle
from qss.simulation.topologies import line, ring, site
from qss.wire import routing as wire
from support.routing_networks import TOPOLOGIES, at_rest, busiest, lsas_told

REAL = ("ring", "nsfnet", "geant")


def origin_of(carried: wire.Carried) -> str:
    return wire.decode_body(carried.body).source.qks


def update_of(carried: list[wire.Carried]) -> list[wire.Message]:
    return [wire.Update(tuple(run)) for run in itertools.batched(carried, wire.MAX_CARRIED)]


def forged(carried: wire.Carried, **changed: object) -> wire.Carried:
    body = msgspec.structs.replace(wire.decode_body(carried.body), **changed)
    return msgspec.structs.replace(carried, body=wire.encode_body(body))


LIES = {
    "another cost": lambda body: {"sequence": body.sequence + 5, "timestamp": 0},
    "the newest there can be": lambda body: {"generation": 2**63 - 1, "sequence": wire.MAX_SEQUENCE},
    "a withdrawal": lambda body: {"sequence": body.sequence + 5, "withdrawn": True, "links": (), "saes": ()},
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("shape", REAL)
def test_a_liar_changes_nothing_of_what_others_say(shape, lie):
    network = Network(TOPOLOGIES[shape])
    liar = busiest(network)

    def forge(sender: QksId, _: QksId, message: wire.Message) -> list[wire.Message]:
        if sender != liar or not isinstance(message, wire.Update):
            return [message]
        others = [each for each in message.carried if origin_of(each) != liar]
        return [message, *update_of([forged(each, **LIES[lie](wire.decode_body(each.body))) for each in others])]

    network.disturb = forge
    network.connect_all()
    settle(network, 3.0)
    network.set_saes(network.sites[0], {SaeId("sae:new"): None})
    settle(network, 3.0)
    dropped = Counter[tuple[QksId, Reason]]()
    for router in network.routers.values():
        dropped += router.dropped
    assert {peer for peer, reason in dropped if reason is Reason.SIGNATURE} == {liar}


@pytest.mark.parametrize("shape", REAL)
def test_whatever_was_said_and_is_said_again_changes_nothing(shape):
    """A site keeps all that it ever sent on, and sends twenty of that, as if new, along with whatever it sends."""
    network = Network(TOPOLOGIES[shape])
    liar, dice = busiest(network), random.Random(1)
    kept: list[wire.Carried] = []
    between_others: Counter[bool] = Counter()

    def replay(sender: QksId, peer: QksId, message: wire.Message) -> list[wire.Message]:
        if not isinstance(message, wire.Update):
            return [message]
        if sender != liar:
            between_others[peer != liar] += 1
            return [message]
        kept.extend(message.carried)
        return [message, *update_of([msgspec.structs.replace(each, age_ms=0) for each in dice.choices(kept, k=20)])]

    network.disturb = replay
    network.connect_all()
    settle(network, 3.0)
    network.run(5)
    between_others.clear()
    before = lsas_told(network)
    for number in range(5):
        for here in (network.sites[0], network.sites[-1]):
            network.set_saes(here, {SaeId(f"sae:{here}:{number}"): None})
        settle(network, 3.0)
    network.run(5)
    assert between_others[True] <= 2 * len(network.roads) * (lsas_told(network) - before)
    network.kill(network.sites[0])
    settle(network, 3.0)
    honest = [router for here, router in network.routers.items() if here != liar]
    assert all(SaeId(f"sae:{network.sites[0]}:0") not in router.table.homes for router in honest)


@pytest.mark.parametrize("shape", REAL)
def test_a_link_that_its_other_end_does_not_tell_leads_nowhere(shape):
    """A site says, and signs, that cheap links join it to all others: only those to its neighbours count."""
    network = at_rest(Network(TOPOLOGIES[shape]))
    liar = busiest(network)
    others = [each for each in network.sites if each != liar]
    told = {peer: network.routers[liar].told_of(peer).cost for peer in network.peers(liar)}
    links = [wire.LinkState(peer, told.get(peer, 1), 1 << 20) for peer in others]
    network.routers[liar]._origination.set_links(links)
    network.run(1.0)
    settle(network, 0.0)
    for here, router in network.routers.items():
        body = router.database.get(wire.Key(liar, wire.LsaType.LINKS, 0)).body
        assert len(body.links) == len(others), f"{here} has heard it"


@pytest.mark.parametrize("shape", REAL)
def test_saes_of_others_do_not_move(shape):
    """A site says that all SAEs are at home there: without statements, and with the statements of their homes."""
    network = at_rest(Network(TOPOLOGIES[shape]))
    liar = busiest(network)
    truth = Truth(network, frozenset({liar}))
    stolen = {sae: state_home(sae, here) for here, saes in network.saes.items() for sae in saes}
    for claimed in (dict.fromkeys(stolen), stolen):
        network.feed(liar, SaesAtHome(claimed))
        network.run(1.0)
        assert truth.wrong() == []
        for here, router in network.routers.items():
            if here != liar:
                homes = router.table.homes
                assert [sae for sae, home in homes.items() if home == liar] in ([], [SaeId(f"sae:{liar}")])
            assert len(router.database.get(wire.Key(liar, wire.LsaType.SAES, 0)).body.saes) == len(stolen)


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
