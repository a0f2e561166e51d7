"""What was not acknowledged is sent again after 1 s, 2 s, 4 s, 8 s, and every 8 s (Routing 6.3)."""

from __future__ import annotations

from qss.core.routing.retransmission import Unacknowledged
from qss.wire import routing as wire
from support.one_router import B, C, OneRouter, carried, header_of, lsas, saes_of

KEY = wire.Key("D", wire.LsaType.SAES, 0)


def header(sequence=1):
    return wire.Header(KEY, 0, sequence, bytes(8))


def sent_again(waiting, until, step_s=0.25):
    """Return when the LSA is sent again, if each is done at once."""
    at, now = [], 0.0
    while now < until:
        now += step_s
        for _ in list(waiting.due(now)):
            waiting.sent(header(), now)
            at.append(now)
    return at


def test_the_pauses_double_up_to_the_longest():
    waiting = Unacknowledged()
    waiting.sent(header(), 0.0)
    assert sent_again(waiting, 45) == [1.0, 3.0, 7.0, 15.0, 23.0, 31.0, 39.0]


def test_a_newer_instance_begins_anew():
    waiting = Unacknowledged()
    waiting.sent(header(), 0.0)
    assert sent_again(waiting, 8) == [1.0, 3.0, 7.0]
    waiting.sent(header(2), 8.0)
    assert list(waiting.due(8.9)) == []
    assert list(waiting.due(9.0)) == [KEY]


def test_an_ack_of_it_or_of_a_newer_one_ends_it_and_of_an_older_one_does_not():
    for acknowledged, waits in ((1, True), (2, False), (3, False)):
        waiting = Unacknowledged()
        waiting.sent(header(2), 0.0)
        waiting.acknowledged(header(acknowledged))
        assert bool(waiting) is waits
        assert (header(2) in waiting) is waits


def test_a_neighbour_that_never_acknowledges_is_sent_the_same_at_these_times():
    site = OneRouter()
    body = saes_of("D", lifetime_s=1000)
    site.send(C, carried(body))
    began, at = site.now, []
    site.sent[B].clear()
    while site.now < began + 33:
        site.run(0.05)
        if round((site.now - began) / 0.05) % 20 == 0:
            site.hello(B)
            site.hello(C)
        if body in lsas(site.sent[B]):
            at.append(site.now - began)
        site.sent[B].clear()
    assert [round(time) for time in at] == [1, 3, 7, 15, 23, 31]
    site.send(B, carried(body))
    site.run(20)
    assert body not in lsas(site.sent[B]), "the same instance from that neighbour is as good as its Ack"
    assert header_of(body) not in site.router._neighbours[B].unacknowledged
