"""A neighbour that sends without end: what it can have for that is bounded, and nobody else has less."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
from msgspec.structs import replace

from qss.core.routing import admission, hold, neighbour, request_list
from qss.core.routing.adjacency import Phase
from qss.core.routing.events import Disconnect, Reason, Received, Tick
from qss.model.errors import RemoteProtocolError, Unauthorised
from qss.model.identifiers import SaeId
from qss.wire import routing as wire
from support.one_router import UNSIGNED, A, B, C, OneRouter, acks, carried, header_of, lsas, saes_of

JUNK = wire.Authentication("simulated", (bytes(4096),) * wire.MAX_CHAIN, b"")


@pytest.fixture
def site():
    return OneRouter()


def header(number, sequence=1):
    return wire.Header(wire.Key(f"x{number}", wire.LsaType.SAES, 0), 0, sequence, bytes(8))


def of_type(kind, messages):
    return [message for message in messages if isinstance(message, kind)]


# --- signatures -----------------------------------------------------------------------------------------------------


def test_false_lsas_under_ever_other_names_cost_a_bounded_number_of_checks(site):
    for number in range(5000):
        site.send(B, carried(saes_of(f"x{number}"), said=UNSIGNED))
    assert site.checks == admission.FAILED_BURST
    assert site.dropped == {(B, Reason.SIGNATURE): 200, (B, Reason.UNCHECKED): 4800}
    honest = saes_of("D", 1, "sae:d")
    assert acks(site.send(C, carried(honest))) == [header_of(honest)], "other neighbours are not behind it"


def test_false_lsas_of_one_name_leave_room_for_the_others(site):
    """An origin whom the neighbour believes and this site does not: its LSAs come again and again."""
    honest = saes_of("E", 1, "sae:e")
    refused = [carried(saes_of("D", 1, part=part), said=UNSIGNED) for part in range(64)]
    for _ in range(20):
        site.now += 1
        site.send(B, *refused)
    assert site.checks <= admission.FAILED_OF_ORIGIN_BURST + admission.FAILED_OF_ORIGIN_PER_SECOND * 20
    assert acks(site.send(B, carried(honest))) == [header_of(honest)]


def test_honest_lsas_of_a_neighbour_that_also_sends_false_ones_come_through_by_being_sent_again(site):
    numbers = itertools.count()
    honest = saes_of("D", 1, "sae:d")

    def flood():
        site.send(B, *(carried(saes_of(f"x{next(numbers)}"), said=UNSIGNED) for _ in range(300)))

    flood()
    assert acks(site.send(B, carried(honest))) == []
    assert site.dropped[B, Reason.UNCHECKED] > 0
    site.now += 1  # Routing 6.3
    assert acks(site.send(B, carried(honest))) == [header_of(honest)]
    flood()


def test_false_lsas_in_a_sites_name_do_not_keep_its_own_out(site):
    """They count against whoever sent them, and not against the LSA that they pretend to be."""
    for number in range(100):
        site.now += 0.05
        site.send(B, *(carried(saes_of("D", 100 + number), said=UNSIGNED) for _ in range(10)))
        honest = saes_of("D", 1 + number // 5, f"sae:{number // 5}")
        if number % 5 == 0:
            assert acks(site.send(C, carried(honest))) == [header_of(honest)]


def test_instances_faster_than_the_limit_are_dropped_and_the_newest_comes_in_the_end(site):
    bodies = [saes_of("D", number, f"sae:{number}") for number in range(1, 101)]
    site.send(B, *map(carried, bodies))
    assert site.dropped == {(B, Reason.RATE): 100 - admission.LSA_BURST}
    assert site.checks == admission.LSA_BURST, "what is too much is not looked at"
    site.now += 1
    site.send(B, carried(bodies[-1]))
    assert site.knows("sae:100") == "D"


def test_an_origin_cannot_make_the_network_busy_with_all_its_parts(site):
    checks = site.checks
    for sequence in range(1, 11):
        site.send(B, *(carried(saes_of("D", sequence, part=part)) for part in range(64)))
    assert site.checks - checks == admission.ORIGIN_BURST
    assert acks(site.send(B, carried(saes_of("E")))) == [header_of(saes_of("E"))]


def test_an_origin_that_changes_all_the_time_has_one_table_a_second_calculated(site):
    site.tables, sequence = 0, 0
    for _ in range(800):
        site.now += 1 / 80
        sequence += 1
        site.send(B, carried(saes_of("D", sequence, f"sae:{sequence}", part=sequence % 16)))
        if sequence % 4 == 0:
            site.feed(Tick())
        if sequence % 80 == 0:
            site.hello(B)
            site.hello(C)
    assert sum(site.dropped.values()) < 10, "nothing of this is too often"
    assert hold.BURST < site.tables <= hold.BURST + 10 / hold.LONGEST_HOLD_S + 1
    site.run(2)
    assert site.router.table.homes[SaeId(f"sae:{sequence}")] == "D"


# --- what is asked for much -----------------------------------------------------------------------------------------


def big(origin, part=0):
    return saes_of(origin, 1, *(f"{origin}:{part}:{number}:{'x' * 200}" for number in range(100)), part=part)


def test_requests_for_everything_again_and_again_get_it_once(site):
    bodies = [saes_of(f"d{number}", 1, f"sae:{number}") for number in range(50)]
    site.send(C, *map(carried, bodies))
    site.sent[B].clear()
    request = wire.Request(tuple(body.key for body in bodies))
    assert lsas(site.tell(B, *[request] * 200)) == [], "it was sent them, and has not acknowledged"
    site.tell(B, wire.Ack(tuple(map(header_of, bodies))))
    assert len(lsas(site.tell(B, *[request] * 200))) == 50


def test_whoever_acknowledges_and_asks_again_gets_no_more_than_the_rate(site, monkeypatch):
    monkeypatch.setattr(neighbour, "SENT_BURST", 1 << 20)
    monkeypatch.setattr(neighbour, "SENT_PER_SECOND", 1 << 20)
    site.disconnect(B)
    site.connect(B)
    bodies = [big("D", part) for part in range(30)]
    site.send(C, *map(carried, bodies))
    site.hello(B)
    site.sent[B].clear()
    keys, headers = tuple(body.key for body in bodies), tuple(map(header_of, bodies))
    for _ in range(50):
        site.tell(B, wire.Request(keys), wire.Ack(headers))
    got = sum(len(wire.encode_body(body)) for body in lsas(site.sent[B]))
    assert got <= (1 << 20) + wire.MAX_BODY_BYTES
    site.now += 1
    site.feed(Tick())
    assert sum(len(wire.encode_body(body)) for body in lsas(site.sent[B])) > got


def test_what_waits_to_be_sent_is_the_newest_and_all_of_it_comes(site, monkeypatch):
    monkeypatch.setattr(neighbour, "SENT_BURST", 1 << 16)
    monkeypatch.setattr(neighbour, "SENT_PER_SECOND", 1 << 18)
    site.disconnect(B)
    bodies = [big("D", part) for part in range(10)]
    site.send(C, *map(carried, bodies))
    site.connect(B)
    site.hello(B)
    site.tell(B, wire.Summary((), more=False))
    assert 0 < len([body for body in lsas(site.sent[B]) if body.source.qks == "D"]) < 10
    newer = replace(bodies[9], sequence=2, timestamp=1)
    site.send(C, carried(newer))
    site.run(3)
    got = [body for body in lsas(site.sent[B]) if body.source.qks == "D"]
    assert {body.part for body in got} == set(range(10))
    assert next(body for body in got if body.part == 9) == newer


def test_summaries_again_and_again_are_passed_over(site):
    site.send(C, *(carried(saes_of(f"d{number}")) for number in range(50)))
    site.sent[B].clear()
    empty = wire.Summary((), more=False)
    told = site.tell(B, *[empty] * 100)
    assert [body.source.qks for body in lsas(told)] == [A, A], "the others that it lacks are on their way"
    assert site.dropped == {(B, Reason.SUMMARIES): 100 - request_list.RUNS_BURST}
    assert site.phase(B) is Phase.FULL


def test_summaries_that_do_not_end_end_the_connection_and_keep_nothing(site, monkeypatch):
    monkeypatch.setattr(request_list, "MAX_TOLD", 10 * wire.MAX_HEADERS)
    run = tuple(map(header, range(wire.MAX_HEADERS)))
    for _ in range(10):
        site.tell(B, wire.Summary(run, more=True))
    assert len(site.router._neighbours[B].requests._told) == 0, "of what is not known here, nothing"
    with pytest.raises(RemoteProtocolError, match="Summaries of more than"):
        site.feed(Received(B, wire.Summary(run, more=True)))


def test_what_a_lying_summary_makes_this_site_ask_for_is_bounded_and_given_up(site):
    lies = [tuple(header(number + 2048 * run) for number in range(2048)) for run in range(20)]
    told = site.tell(B, *(wire.Summary(run, more=run is not lies[-1]) for run in lies))
    asked = [key for message in of_type(wire.Request, told) for key in message.keys]
    assert len(asked) == request_list.MAX_ASKED
    site.run(20)
    assert not site.router._neighbours[B].requests.asked
    assert site.phase(B) is site.phase(C) is Phase.FULL


# --- the rest -------------------------------------------------------------------------------------------------------


def test_hellos_by_the_thousand_are_answered_at_most_once(site):
    said = wire.Hello(heard=True, full=True, dead_ms=100, digest=bytes(8))
    assert site.tell(B, *[said] * 1000) == []
    assert site.phase(B) is Phase.FULL
    site.run(4.9, alive=[C])
    assert of_type(wire.Summary, site.sent[B]) == []


def test_a_hello_that_is_never_content_is_told_the_summaries_once_in_five_seconds(site):
    for _ in range(600):
        site.tell(B, wire.Hello(heard=True, full=False, dead_ms=4000, digest=bytes(8)))
        site.now += 0.05
        site.feed(Tick())
    assert len(of_type(wire.Summary, site.sent[B])) <= 6


def test_whose_dead_time_is_short_is_given_up_alone(site):
    site.tell(B, wire.Hello(heard=True, full=True, dead_ms=100, digest=bytes(8)))
    site.now += 0.2
    effects = site.router.handle(Tick(), site.now, 0)
    assert [effect for effect in effects if isinstance(effect, Disconnect)] == [Disconnect(B, "nothing came for 0.1 s")]


def test_acknowledgements_of_what_was_never_sent_change_nothing(site):
    body = saes_of("D")
    site.send(C, carried(body))
    site.tell(B, wire.Ack(tuple(map(header, range(2048)))), wire.Ack((replace(header_of(body), sequence=0),)))
    site.sent[B].clear()
    site.run(1.1)
    assert body in lsas(site.sent[B]), "and what was sent is sent again"


def test_who_never_acknowledges_is_sent_the_same_more_and_more_rarely(site):
    body = saes_of("D", lifetime_s=1000)
    site.send(C, carried(body))
    site.run(60)
    assert len([each for each in lsas(site.sent[B]) if each == body]) <= 12


def test_certificates_that_nobody_needs_do_not_make_what_is_sent_on_too_large():
    """No signature is over them: B adds what fits to each LSA, and C's connection must stand it."""
    site = OneRouter(check=lambda *_: None)
    bodies = [saes_of(f"d{number}") for number in range(64)]
    site.disconnect(C)
    site.send(B, *(carried(body, said=JUNK) for body in bodies))
    site.connect(C)
    site.hello(C)
    site.tell(C, wire.Summary((), more=False))
    for message in of_type(wire.Update, site.sent[C]):
        assert len(wire.encode([message])) <= wire.MAX_FRAME_BYTES
    assert {body.source.qks for body in lsas(site.sent[C])} >= {body.source.qks for body in bodies}


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_the_ends_of_instances_that_are_no_more_are_not_kept():
    site = OneRouter()
    for sequence in range(1, 2001):
        site.now += 0.3
        site.send(B, carried(saes_of("D", sequence, lifetime_s=wire.MAX_LIFETIME_S)))
    assert len(site.router.database._ends) <= 2 * len(site.router.database) + 64


def test_counts_are_kept_of_what_was_busy_alone():
    site = OneRouter()
    site.send(B, *(carried(saes_of(f"x{number}"), said=UNSIGNED) for number in range(3000)))
    assert len(site.router._admission) <= 2 + admission.FAILED_BURST + 10
    site.run(5)
    assert len(site.router._admission) == 0


def test_what_was_judged_is_remembered_beyond_a_connection():
    """Whoever connects anew begins no new count."""
    site = OneRouter()
    flood = partial(site.send, B, *(carried(saes_of(f"x{number}"), said=UNSIGNED) for number in range(300)))
    flood()
    site.disconnect(B)
    site.connect(B)
    site.hello(B)
    flood()
    assert site.checks == admission.FAILED_BURST


def test_further_origins_than_there_is_room_for_need_no_signature_to_be_dropped(site, monkeypatch):
    monkeypatch.setattr("qss.core.routing.database.MAX_ORIGINS", 2)

    def never(*_):
        raise Unauthorised("not looked at")

    site.send(B, carried(saes_of("D")))
    monkeypatch.setattr(site.router._admission, "_verify", never)
    site.send(B, carried(saes_of("E")))
    assert site.dropped == {(B, Reason.ORIGINS): 1}
    assert A in {each.header.key.origin for each in site.router.database}
