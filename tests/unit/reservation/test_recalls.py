"""Recalled, aged and damaged key: burned at both ends, with its reason, and never delivered afterwards."""

from __future__ import annotations

from hashlib import sha256

import pytest

from qss.core.reservation import events as ev
from qss.core.reservation import recalls
from qss.model.answers import AskName
from qss.model.errors import KeysNotFound, LimitReached, PeerUnavailable, Shortage
from qss.model.identifiers import ReservationId
from qss.model.ranges import Range
from qss.model.records import BurnReason, Scope
from support.link_pair import ALICE, BOB, CAROL, End, LinkPair

EITHER = pytest.mark.parametrize("where", ["a", "b"])


def burned(end: End, reason: BurnReason) -> int:
    tallies = [end.link.peer.past, *(record.tally for record in end.link.streams)]
    return sum(tally.burned.get(reason, 0) for tally in tallies)


@EITHER
@pytest.mark.parametrize("sae", [ALICE, BOB, None])
def test_unfetched_keys_are_burned_and_both_ends_forget_them(where: str, sae) -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.a, 2)
    pair.settle()
    request = pair.recall(getattr(pair, where), Scope(sae=sae))
    pair.rest()
    assert burned(pair.b, BurnReason.VOIDED) == 2 * 128
    assert pair.recalls[request] == (2 * 128 if where == "b" else 0)
    assert not pair.a.disk.rows
    assert not pair.b.disk.rows
    assert not pair.a.disk.recalls
    assert not pair.b.disk.recalls
    assert isinstance(pair.refused[pair.fetch(reservation, BOB)], KeysNotFound)
    pair.balanced()


def test_another_saes_keys_are_left_alone() -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.b)
    pair.settle()
    pair.recall(pair.a, Scope(sae=CAROL))
    pair.settle()
    pair.fetch(reservation, ALICE)
    pair.settle()
    assert (reservation.key_id(0), ALICE) in pair.slave_got


@EITHER
def test_single_keys_are_recalled_by_their_ids(where: str) -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.a, 3)
    pair.settle()
    pair.recall(getattr(pair, where), Scope((reservation.key_id(1), reservation.key_id(60_000))))
    pair.settle()
    pair.fetch(reservation, BOB, (0, 2))
    pair.settle()
    assert len(pair.slave_got) == 2
    assert isinstance(pair.refused[pair.fetch(reservation, CAROL, (1,))], KeysNotFound)
    pair.balanced()


def test_what_one_slave_has_fetched_is_still_kept_from_the_other() -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.a)
    pair.settle()
    pair.fetch(reservation, BOB)
    pair.settle()
    pair.recall(pair.a, Scope((reservation.key_id(0),)))
    pair.settle()
    assert isinstance(pair.refused[pair.fetch(reservation, CAROL)], KeysNotFound)
    assert burned(pair.b, BurnReason.VOIDED) == 128
    pair.balanced()


@EITHER
def test_a_recall_reaches_a_neighbour_that_was_away(where: str) -> None:
    pair = LinkPair().ready()
    end, other = (pair.a, pair.b) if where == "a" else (pair.b, pair.a)
    first, second = pair.reserve(pair.a), pair.reserve(pair.b)
    pair.settle()
    pair.disconnect()
    request = pair.recall(end, Scope())
    pair.sync(end)
    assert request in pair.recalls
    pair.crash(end)
    pair.crash(other)
    pair.connect()
    pair.settle()
    assert isinstance(pair.refused[pair.fetch(first, BOB)], KeysNotFound)
    assert isinstance(pair.refused[pair.fetch(second, ALICE)], KeysNotFound)
    pair.tick()
    pair.settle()
    assert not end.disk.recalls


def test_a_recall_that_is_heard_twice_is_carried_out_once() -> None:
    pair = LinkPair().ready()
    pair.reserve(pair.a)
    pair.settle()
    pair.recall(pair.a, Scope())
    pair.sync(pair.a)
    pair.receive(pair.b)
    pair.sync(pair.b)
    pair.disconnect()  # Recalled is lost
    pair.connect()
    while not pair.b.link.up or pair.b.unsynced or pair.a.unsynced:
        for end in (pair.a, pair.b):
            pair.sync(end)
            pair.receive(end)
    later = pair.reserve(pair.a)
    pair.settle()
    pair.fetch(later, BOB)
    pair.settle()
    assert (later.key_id(0), BOB) in pair.slave_got
    pair.tick()
    pair.settle()
    assert not pair.a.disk.recalls


def test_a_recalled_answer_is_not_given_again() -> None:
    pair = LinkPair().ready()
    name = AskName(sha256(b"n").digest(), sha256(b"r").digest())
    first = pair.reserve(pair.a, name=name)
    pair.settle()
    pair.recall(pair.b, Scope(sae=ALICE))
    pair.settle()
    again = pair.reserve(pair.a, name=name)
    pair.settle()
    assert pair.master_got[again] != pair.master_got[first]


def test_no_more_recalls_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalls, "MAX_WAITING", 1)
    pair = LinkPair().ready()
    pair.disconnect()
    pair.recall(pair.a, Scope())
    refused = pair.recall(pair.a, Scope())
    assert isinstance(pair.refused[refused], LimitReached)


def test_a_store_that_refuses_refuses_the_recall() -> None:
    pair = LinkPair().ready()
    request = pair.recall(pair.a, Scope())
    pair.fail(pair.a)
    assert request in pair.refused
    assert request not in pair.recalls


def test_after_a_restore_recalls_are_heard_again() -> None:
    pair = LinkPair().ready()
    backup = pair.a.disk.copy()
    pair.recall(pair.a, Scope())
    pair.settle()
    pair.reserve(pair.a)
    pair.settle()
    pair.restore(pair.a, backup)
    pair.connect()
    pair.settle()
    pair.tick(2.0)
    pair.settle()
    for end in (pair.a, pair.b):
        pair.key_arrives(end)
    pair.settle()
    reservation = pair.reserve(pair.a)
    pair.settle()
    pair.recall(pair.a, Scope())
    pair.settle()
    assert isinstance(pair.refused[pair.fetch(reservation, BOB)], KeysNotFound)


# --- outstanding keys ---------------------------------------------------------------------------------------------


@EITHER
def test_keys_are_outstanding_until_the_last_is_fetched(where: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, where)
    reservation = pair.reserve(end, 2)
    master, slaves = pair.asked[reservation].master, pair.asked[reservation].slaves
    assert end.link.outstanding(master) == 2
    pair.settle()
    for slave in slaves:
        assert end.link.outstanding((master, slave)) == 2
        pair.fetch(reservation, slave, (0, 1))
    pair.rest()
    assert end.link.outstanding(master) == 0
    assert not end.disk.rows


@EITHER
def test_a_gone_that_was_lost_is_made_up_for(where: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, where)
    reservation = pair.reserve(end)
    pair.settle()
    pair.disconnect()
    pair.connect()
    pair.settle()
    for slave in pair.asked[reservation].slaves:
        pair.fetch(reservation, slave)
    while pair.other(end).unsynced:
        pair.sync(pair.other(end))
    pair.disconnect()
    assert end.link.outstanding(pair.asked[reservation].master) == 1
    pair.connect()
    pair.rest()
    assert end.link.outstanding(pair.asked[reservation].master) == 0


def test_refused_and_abandoned_requests_are_not_outstanding() -> None:
    pair = LinkPair().ready(chunks=1)
    pair.reserve(pair.b, 100)
    pair.settle()
    pair.reserve(pair.b)
    pair.disconnect()
    assert pair.b.link.outstanding(BOB) == 0
    assert len(pair.refused) == 2


# --- ages, damage, relaying ---------------------------------------------------------------------------------------


@EITHER
def test_a_stream_that_has_lasted_is_burned_at_both_ends_and_followed_by_another(where: str) -> None:
    pair = LinkPair().ready()
    end, other = (pair.a, pair.b) if where == "a" else (pair.b, pair.a)
    for each, stream_s in ((end, 100.0), (other, 1e9)):
        object.__setattr__(each.link.settings, "stream_s", stream_s)
    (old,) = pair.a.link.streams
    pair.tick(99.0)
    assert burned(end, BurnReason.AGED) == 0
    pair.tick(2.0)
    for _ in range(4):
        pair.settle()
        pair.tick(1.0)
    assert burned(end, BurnReason.AGED) == 8 * old.available
    assert burned(other, BurnReason.SKIPPED) == 8 * old.available
    assert old.stream not in [record.stream for each in (pair.a, pair.b) for record in each.link.streams]
    for each in (pair.a, pair.b):
        pair.key_arrives(each)
    pair.settle()
    pair.reserve(pair.b)
    pair.settle()
    assert len(pair.master_got) == 1
    pair.balanced()


@EITHER
def test_damaged_key_is_burned_at_both_ends_and_the_link_works_on(where: str) -> None:
    pair = LinkPair().ready()
    end, other = (pair.a, pair.b) if where == "a" else (pair.b, pair.a)
    early = pair.reserve(other, 2)
    pair.settle()
    (stream,) = end.link.streams
    pair.handle(end, ev.KeyUnreadable(stream.stream, Range(16, 128), 128))
    pair.settle()
    assert burned(end, BurnReason.UNREADABLE) == 8 * (128 - stream.head) + 128  # one key of the reservation too
    assert burned(other, BurnReason.SKIPPED) == 8 * (128 - stream.head)
    slave = pair.asked[early].slaves[0]
    assert isinstance(pair.refused[pair.fetch(early, slave, (1,))], KeysNotFound)
    pair.fetch(early, slave, (0,))
    pair.settle()
    assert (early.key_id(0), slave) in pair.slave_got
    late = pair.reserve(pair.b)
    pair.settle()
    ((_, part),) = pair.master_got[late]
    assert part.start == 128
    pair.balanced()


@EITHER
def test_what_the_other_end_has_given_up_is_burned_also_if_it_is_stored_later(where: str) -> None:
    """Or the owner would allocate what the other end cannot hold, and be refused, or be taken for a liar."""
    pair = LinkPair().ready(2)
    ahead, behind = (pair.a, pair.b) if where == "a" else (pair.b, pair.a)
    for _ in range(4):
        pair.key_arrives(ahead)
    pair.settle()
    (stream,) = ahead.link.streams
    pair.handle(ahead, ev.KeyUnreadable(stream.stream, Range(stream.head, stream.mark), stream.mark))
    pair.settle()
    for _ in range(4):
        pair.key_arrives(behind)
    pair.settle()
    assert burned(behind, BurnReason.SKIPPED) == burned(ahead, BurnReason.UNREADABLE) == 8 * stream.mark
    for master in (pair.a, pair.b):
        assert isinstance(pair.refused[reserved(pair, master)], Shortage)
    for end in (pair.a, pair.b):
        pair.key_arrives(end)
    pair.settle()
    for master in (pair.a, pair.b):
        assert reserved(pair, master) in pair.master_got
    assert pair.disconnect_reasons == []
    pair.balanced()


def reserved(pair: LinkPair, master: End) -> ReservationId:
    reservation = pair.reserve(master)
    pair.settle()
    return reservation


@EITHER
def test_what_relaying_needs_is_left(where: str) -> None:
    pair = LinkPair(relay_reserve_bytes=8 * 64 - 32).ready(chunks=8)
    end = getattr(pair, where)
    assert end.link.key_count(16) == 2
    refused = pair.reserve(end, 3)
    pair.settle()
    assert isinstance(pair.refused[refused], Shortage)
    pair.reserve(end, 2)
    pair.settle()
    assert len(pair.master_got) == 1
    assert end.link.key_count(16) == 0


def test_a_grant_of_what_was_given_up_meanwhile_costs_the_ask_and_not_the_connection() -> None:
    """The owner allocated before it heard that the key is damaged at the other end."""
    pair = LinkPair().ready(4)
    pair.settle()
    (stream,) = pair.b.link.streams
    reservation = pair.reserve(pair.b)
    pair.receive(pair.a)  # the Ask; its Grant is on the way
    pair.handle(pair.b, ev.KeyUnreadable(stream.stream, Range(0, 128), 128))
    pair.rest()
    assert isinstance(pair.refused[reservation], PeerUnavailable)
    assert pair.disconnect_reasons == []
    assert reserved(pair, pair.b) in pair.master_got
    pair.balanced()
