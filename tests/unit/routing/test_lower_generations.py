"""A site whose clock was ahead once: its next life has a lower generation than one that somebody still remembers."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from qss.core.routing.events import Reason
from qss.model.identifiers import QksId
from qss.simulation.routing import Network
from qss.simulation.routing_truth import settle
from qss.simulation.topologies import line, ring
from qss.wire import routing as wire
from support.one_router import B, C, OneRouter, carried, header_of, saes_of

LIFETIME_S = 6


def of(generation: int, sequence: int = 1) -> wire.Body:
    return replace(saes_of("C", sequence, "sae:c", lifetime_s=LIFETIME_S), generation=generation)


def test_what_has_passed_its_lifetime_is_sent_back_to_whoever_has_an_older_one():
    site = OneRouter()
    site.send(C, carried(of(7), by=C))
    site.run(LIFETIME_S + 1)
    site.sent[C].clear()
    site.send(C, carried(of(3), by=C))
    sent = [each for message in site.sent[C] if isinstance(message, wire.Update) for each in message.carried]
    assert [wire.decode_body(each.body).generation for each in sent] == [7]
    assert sent[0].age_ms == 1000 * LIFETIME_S
    acks = [header for message in site.sent[C] if isinstance(message, wire.Ack) for header in message.headers]
    assert header_of(of(3)) in acks


def test_it_is_sent_on_to_where_its_origin_may_be_and_forgotten():
    site = OneRouter()
    site.send(B, carried(of(3)))
    site.sent[C].clear()
    site.send(B, carried(of(7), age_ms=1000 * LIFETIME_S))
    sent = [each for message in site.sent[C] if isinstance(message, wire.Update) for each in message.carried]
    assert [wire.decode_body(each.body).generation for each in sent] == [7]
    site.run(1)
    assert site.router.database.get(header_of(of(7)).key) is None
    assert site.dropped == {}


@pytest.mark.parametrize(("known", "told"), [((3, 1), (3, 2)), ((7, 1), (3, 9)), (None, (3, 1))])
def test_within_one_life_what_has_passed_its_lifetime_changes_nothing(known, told):
    """Else who is faster than others could have an LSA forgotten each time that it is refreshed."""
    site = OneRouter()
    if known is not None:
        site.send(B, carried(of(*known)))
    before = site.router.database.get(header_of(of(1)).key)
    site.send(B, carried(of(*told), age_ms=1000 * LIFETIME_S))
    assert site.router.database.get(header_of(of(1)).key) == before
    if told > (known or (0, 0)):
        assert site.dropped == {(B, Reason.EXPIRED): 1}


@pytest.mark.parametrize("roads", [line(5), ring(6)], ids=["line", "ring"])
@pytest.mark.parametrize("forgetful", [False, True], ids=["neighbour knows", "neighbour was restarted"])
def test_a_site_that_comes_back_with_a_lower_generation_is_known_again(roads, forgetful):
    network = Network(roads, lifetime_s=LIFETIME_S)
    network.connect_all()
    network.run(5)
    here = roads[0][0]
    network.kill(here)
    network.start(here, generation=1000)
    network.connect_all()
    network.run(5)
    network.kill(here)
    network.run(2 * LIFETIME_S)
    if forgetful:
        neighbour = roads[0][1]
        network.kill(neighbour)
        network.start(neighbour, generation=1)
        network.connect_all()
    network.start(here, generation=5)
    network.connect_all()
    settle(network, 15.0)
    header = network.routers[QksId(roads[-1][1])].database.headers()
    assert max(each.generation for each in header if each.key.origin == here) >= 1000
