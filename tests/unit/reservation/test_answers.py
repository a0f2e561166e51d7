"""Asks under a name: the same answer to the same ask until its grace time ends, whatever breaks in between."""

from __future__ import annotations

from hashlib import sha256

import pytest

from qss.core.reservation import events as ev
from qss.model.answers import AskName
from qss.model.errors import BadRequest, LimitReached, PeerUnavailable
from qss.model.records import BurnReason
from support.link_pair import ALICE, BOB, CAROL, End, LinkPair

BOTH = pytest.mark.parametrize("master", ["a", "b"])


def name(word: str, request: str = "the same") -> AskName:
    return AskName(sha256(word.encode()).digest(), sha256(request.encode()).digest())


def erased(end: End) -> list[ev.Erase]:
    return [effect for effect in end.effects if isinstance(effect, ev.Erase)]


def answered(end: End, request: object) -> ev.Deliver:
    (deliver,) = [e for e in end.effects if isinstance(e, ev.Deliver) and e.request == request]
    return deliver


def pass_time(pair: LinkPair, seconds: float) -> None:
    pair.tick(seconds)
    for _ in range(3):
        pair.settle()
        pair.tick()


@BOTH
def test_a_master_that_asks_again_gets_the_same_keys(master: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, master)
    first = pair.reserve(end, 3, name=name("n"))
    pair.settle()
    again = pair.reserve(end, 3, name=name("n"))
    assert answered(end, again).keys == answered(end, first).keys
    other = pair.reserve(end, 3, name=name("m"))
    pair.settle()
    assert answered(end, other).keys != answered(end, first).keys


@BOTH
def test_a_repeat_joins_the_first_that_is_under_way(master: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, master)
    first, again = pair.reserve(end, name=name("n")), pair.reserve(end, name=name("n"))
    heads = [record.head for record in pair.a.link.streams]
    pair.settle()
    assert answered(end, again).keys == answered(end, first).keys
    assert sum(heads) <= 16  # one key was set aside, not two


@BOTH
def test_another_request_under_a_name_is_refused_also_meanwhile(master: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, master)
    first = pair.reserve(end, name=name("n"))
    early = pair.reserve(end, name=name("n", "another"))
    assert isinstance(pair.refused[early], BadRequest)
    pair.settle()
    late = pair.reserve(end, 2, name=name("n", "another"))
    assert "give each request a name of its own" in str(pair.refused[late])
    assert first in pair.master_got


def test_the_grace_time_ends_and_the_bytes_go() -> None:
    pair = LinkPair(grace_s=10.0).ready()
    first = pair.reserve(pair.a, name=name("n"))
    pair.settle()
    pass_time(pair, 5.0)
    ((stream, part),) = pair.master_got[first]
    assert not any(part.intersection(gone) for effect in erased(pair.a) for gone in effect.parts)
    pair.reserve(pair.a, name=name("n"))
    pass_time(pair, 6.0)
    assert any(stream == effect.stream and part in gone for effect in erased(pair.a) for gone in effect.parts)
    assert not pair.a.disk.answers
    fresh = pair.reserve(pair.a, name=name("n"))
    pair.settle()
    assert pair.master_got[fresh] != pair.master_got[first]


@BOTH
def test_a_name_outlives_a_crash_of_its_end(master: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, master)
    first = pair.reserve(end, name=name("n"))
    pair.settle()
    pair.tick()  # that both ends hold it is noted with the next commit
    pair.settle()
    pair.crash(end)
    again = pair.reserve(end, name=name("n"))  # also before the neighbour is back: it is durable here
    assert answered(end, again).keys[0].reservation == first


def test_what_may_yet_be_burned_is_not_given_again() -> None:
    """A's commit is durable, B's is not known to be: only the next exchange tells."""
    for held_there in (True, False):
        pair = LinkPair().ready()
        first = pair.reserve(pair.a, name=name("n"))
        pair.sync(pair.a)
        if held_there:
            pair.receive(pair.b)
            pair.sync(pair.b)
        pair.crash(pair.a)
        early = pair.reserve(pair.a, name=name("n"))
        assert isinstance(pair.refused[early], PeerUnavailable)
        pair.connect()
        pair.settle()
        pair.key_arrives(pair.a)
        late = pair.reserve(pair.a, name=name("n"))
        pair.settle()
        got = pair.master_got
        assert (first in got, late in got) == (held_there, not held_there or late in got)
        pair.balanced()


def test_a_request_that_is_given_up_frees_its_name() -> None:
    pair = LinkPair().ready()
    first = pair.reserve(pair.a, name=name("n"))
    pair.sync(pair.a)
    pair.disconnect()
    assert isinstance(pair.refused[first], PeerUnavailable)
    pair.connect()
    pair.settle()
    again = pair.reserve(pair.a, name=name("n"))
    pair.settle()
    assert pair.master_got[again]
    assert first not in pair.master_got
    pair.balanced()


def test_a_slave_that_asks_again_gets_the_same_keys_and_without_a_name_none() -> None:
    pair = LinkPair(grace_s=10.0).ready()
    reservation = pair.reserve(pair.a, 3)
    pair.settle()
    first = pair.fetch(reservation, BOB, (2, 0), name("n"))
    joined = pair.fetch(reservation, BOB, (2, 0), name("n"))
    pair.settle()
    again = pair.fetch(reservation, BOB, (2, 0), name("n"))
    for request in (joined, again):
        assert answered(pair.b, request).keys == answered(pair.b, first).keys
    assert [run.position for run in answered(pair.b, first).keys] == [2, 0]
    unnamed = pair.fetch(reservation, BOB, (2,))
    assert str(pair.refused[unnamed]) == "one or more keys specified are not found on KME"
    differing = pair.fetch(reservation, BOB, (1,), name("n", "another"))
    assert "another request" in str(pair.refused[differing])
    pass_time(pair, 11.0)
    late = pair.fetch(reservation, BOB, (2, 0), name("n"))
    assert str(pair.refused[late]) == "one or more keys specified are not found on KME"


def test_bytes_stay_while_anybody_needs_them() -> None:
    """Bob's answer keeps a key that Carol has yet to fetch, and her fetch does not take it from him."""
    pair = LinkPair(grace_s=10.0).ready()
    reservation = pair.reserve(pair.a)
    pair.settle()
    ((_, part),) = pair.master_got[reservation]
    pair.fetch(reservation, BOB, (0,), name("bob"))
    pair.settle()
    pass_time(pair, 8.0)
    pair.fetch(reservation, CAROL, (0,), name("carol"))
    pair.settle()
    pass_time(pair, 8.0)  # Bob's grace has ended, Carol's has not
    assert not any(part.intersection(gone) for effect in erased(pair.b) for gone in effect.parts)
    again = pair.fetch(reservation, CAROL, (0,), name("carol"))
    assert answered(pair.b, again)
    pass_time(pair, 3.0)
    assert any(part in gone for effect in erased(pair.b) for gone in effect.parts)


def test_a_repeat_is_served_without_the_neighbour() -> None:
    pair = LinkPair().ready()
    pair.reserve(pair.a, name=name("n"))
    pair.settle()
    pair.disconnect()
    assert answered(pair.a, pair.reserve(pair.a, name=name("n")))


def test_no_more_answers_are_kept_than_may_be() -> None:
    pair = LinkPair(max_reservations=3).ready()
    for number in range(3):
        reservation = pair.reserve(pair.a, name=name(str(number)))
        pair.settle()
        for slave in (BOB, CAROL):
            pair.fetch(reservation, slave)
        pair.settle()
    refused = pair.reserve(pair.a, name=name("one more"))
    assert isinstance(pair.refused[refused], LimitReached)
    pair.reserve(pair.a)
    pair.settle()
    assert len(pair.master_got) == 4


def test_a_restore_forgets_what_only_one_end_may_hold() -> None:
    pair = LinkPair().ready()
    first = pair.reserve(pair.a, name=name("n"))
    pair.sync(pair.a)
    backup = pair.b.disk.copy()
    pair.reserve(pair.b)
    pair.crash(pair.a)
    pair.restore(pair.b, backup)
    pair.connect()
    pair.settle()
    pair.tick(2.0)
    pair.settle()
    pair.key_arrives(pair.a)
    pair.key_arrives(pair.b)
    pair.settle()
    again = pair.reserve(pair.a, name=name("n"))
    pair.settle()
    assert first not in pair.master_got
    assert again in pair.master_got
    pair.balanced()


def test_kept_bytes_count_as_delivered() -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.b, name=name("n"))
    pair.settle()
    (record,) = [record for record in pair.b.link.streams if record.stream == pair.master_got[reservation][0][0]]
    assert record.tally.delivered == 128
    assert not record.tally.burned.get(BurnReason.EXPIRED)
    assert pair.asked[reservation].slaves == (ALICE,)
