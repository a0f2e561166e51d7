"""What every routing table promises (`qss.ports.routing_table`)."""

from __future__ import annotations

from dataclasses import replace

from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load, Route, SiteState
from support.module_runners import until
from support.routing_tables import NOWHERE

A, B, C = QksId("A"), QksId("B"), QksId("C")
ALICE, BOB, CAROL = SaeId("sae:alice"), SaeId("sae:bob"), SaeId("sae:carol")
LOAD = Load(1 << 20, 1 << 20)


NOTHING = SiteState()


def publish_link(tables, here=NOTHING, there=NOTHING):
    tables.here.publish(replace(here, links={B: LOAD}))
    tables.neighbour.publish(replace(there, links={A: LOAD}))


async def test_before_anything_is_said_nothing_is_known(tables):
    assert tables.here.route(ALICE) is None
    assert tables.here.graph.edges == {}


async def test_what_is_at_home_here_is_known_here(tables):
    tables.here.publish(SiteState({ALICE: None}))
    await until(lambda: tables.here.route(ALICE) == Route(ALICE, A, A, 0, 0))
    assert tables.here.route(BOB) is None


async def test_what_the_neighbour_tells_with_a_statement_is_known_with_its_way(tables):
    publish_link(tables, there=SiteState({BOB: tables.stated(BOB, B), CAROL: None}))
    await until(lambda: tables.here.route(BOB) and tables.here.route(BOB).next_hop == B)
    route = tables.here.route(BOB)
    assert (route.dest, route.length) == (B, 1)
    assert route.cost > 0
    assert tables.here.route(CAROL) is None
    assert tables.here.graph.edges[A][B] == tables.here.graph.edges[B][A]
    assert 0 < tables.here.graph.edges[A][B].available_bits <= LOAD.available_bits
    assert tables.here.graph.repeaters >= {A, B}
    assert tables.here.graph.externals == {A: NOWHERE, B: NOWHERE}


async def test_what_is_here_is_known_to_the_neighbour(tables):
    publish_link(tables, here=SiteState({ALICE: tables.stated(ALICE, A)}))
    await until(lambda: tables.neighbour.route(ALICE) and tables.neighbour.route(ALICE).next_hop == A)


async def test_a_home_that_is_configured_counts_whatever_is_told(tables):
    publish_link(tables, SiteState(homes={BOB: C, CAROL: B}), SiteState({BOB: tables.stated(BOB, B)}))
    await until(lambda: tables.here.route(CAROL) and tables.here.route(CAROL).next_hop == B)
    assert tables.here.route(BOB) == Route(BOB, None, C, 0, 0)


async def test_without_a_link_there_is_no_way_and_the_home_stays(tables):
    publish_link(tables, there=SiteState({BOB: tables.stated(BOB, B)}))
    await until(lambda: tables.here.route(BOB) and tables.here.route(BOB).next_hop == B)
    tables.here.publish(SiteState())
    await until(lambda: tables.here.route(BOB) == Route(BOB, None, B, 0, 0))
    await until(lambda: B not in tables.here.graph.edges.get(A, {}))


async def test_what_is_no_more_published_is_no_more_known(tables):
    tables.here.publish(SiteState({ALICE: None, BOB: None}, {CAROL: B}))
    await until(lambda: tables.here.route(BOB) and tables.here.route(CAROL))
    tables.here.publish(SiteState({BOB: None}))
    await until(lambda: tables.here.route(ALICE) is None and tables.here.route(CAROL) is None)
    assert tables.here.route(BOB) == Route(BOB, A, A, 0, 0)


async def test_of_several_states_the_last_counts(tables):
    for number in range(20):
        tables.here.publish(SiteState({SaeId(f"sae:{number}"): None}))
    await until(lambda: tables.here.route(SaeId("sae:19")) is not None)
    assert [number for number in range(19) if tables.here.route(SaeId(f"sae:{number}"))] == []


async def test_whoever_watches_hears_of_each_change_and_finds_it_made(tables):
    seen = []
    tables.here.watch(lambda: seen.append((tables.here.route(ALICE), tables.here.route(BOB))))
    tables.here.publish(SiteState({ALICE: None}))
    await until(lambda: (Route(ALICE, A, A, 0, 0), None) in seen)
    tables.here.publish(SiteState({BOB: None}))
    await until(lambda: (None, Route(BOB, A, A, 0, 0)) in seen)
