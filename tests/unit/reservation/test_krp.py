"""The KRP between two cores: both roles, refusals, lost connections, crashes, restores."""

from __future__ import annotations

import pytest

from qss.core.reservation import events as ev
from qss.core.reservation.phases import LinkPhase
from qss.model.errors import (
    BadRequest,
    KeysNotFound,
    LimitReached,
    PeerUnavailable,
    Shortage,
    StoreUnavailable,
    Unauthorised,
)
from qss.model.identifiers import ReservationId
from qss.model.keys import Priority
from qss.model.ranges import Range
from qss.model.records import BurnReason
from qss.wire import external as wire
from support.link_pair import ALICE, BOB, CAROL, PAIRS, LinkPair

BOTH = pytest.mark.parametrize("master", ["a", "b"])


def burned(pair: LinkPair, end: str) -> dict[BurnReason, int]:
    link = getattr(pair, end).link
    total = link.peer.past
    for record in link.streams:
        total = total + record.tally
    return {reason: bits for reason, bits in total.burned.items() if bits}


@BOTH
def test_a_key_is_delivered_once_durable_at_both_ends(master: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, master)
    reservation = pair.reserve(end, count=3)
    assert reservation not in pair.master_got
    pair.settle()
    assert len(pair.master_got[reservation]) == 3
    for slave in pair.asked[reservation].slaves:
        pair.fetch(reservation, slave, (0, 1, 2))
    pair.rest()
    assert len(pair.slave_got) == 3 * len(pair.asked[reservation].slaves)
    assert not pair.a.disk.rows
    assert not pair.b.disk.rows
    pair.balanced()


@BOTH
def test_the_master_waits_for_both_commits(master: str) -> None:
    pair = LinkPair().ready()
    end, other = (pair.a, pair.b) if master == "a" else (pair.b, pair.a)
    reservation = pair.reserve(end)
    pair.receive(other)
    if master == "a":
        pair.sync(pair.b)
        pair.receive(pair.a)
        assert reservation not in pair.master_got
        pair.sync(pair.a)
    else:
        pair.receive(pair.b)
        pair.sync(pair.b)
        assert reservation not in pair.master_got
        pair.sync(pair.a)
        pair.receive(pair.b)
    assert reservation in pair.master_got


def test_masters_at_both_ends_do_not_get_into_each_others_way() -> None:
    """The owner's Reserve may not overtake a Grant: the range before it would be burned (KRP 4.4)."""
    pair = LinkPair().ready()
    first = pair.reserve(pair.b)
    pair.receive(pair.a)
    second = pair.reserve(pair.a)
    pair.settle()
    assert {first, second} <= pair.master_got.keys()
    assert all(record.tally.burned_total == 0 for end in (pair.a, pair.b) for record in end.link.streams)


@BOTH
def test_shortage_consumes_nothing(master: str) -> None:
    pair = LinkPair().ready(chunks=1)
    before = [record.head for record in pair.a.link.streams]
    reservation = pair.reserve(getattr(pair, master), count=5)
    pair.settle()
    assert isinstance(pair.refused[reservation], Shortage)
    assert [record.head for record in pair.a.link.streams] == before
    pair.reserve(getattr(pair, master), count=4)
    pair.settle()
    assert len(pair.master_got) == 1


def test_only_what_both_ends_hold_is_allocated() -> None:
    pair = LinkPair().ready(chunks=0)
    pair.key_arrives(pair.a)
    pair.settle()
    reservation = pair.reserve(pair.a)
    pair.settle()
    assert isinstance(pair.refused[reservation], Shortage)


def test_without_a_connection_a_reserve_is_refused() -> None:
    pair = LinkPair().ready()
    pair.disconnect()
    reservation = pair.reserve(pair.a)
    assert isinstance(pair.refused[reservation], PeerUnavailable)


@BOTH
def test_a_table_that_is_full_refuses(master: str) -> None:
    pair = LinkPair(max_reservations=1).ready()
    first = pair.reserve(getattr(pair, master))
    second = pair.reserve(getattr(pair, master))
    pair.settle()
    assert first in pair.master_got
    assert isinstance(pair.refused[second], LimitReached)


@BOTH
def test_a_silent_peer_times_out_and_the_range_is_burned(master: str) -> None:
    pair = LinkPair(reply_timeout_s=5.0).ready()
    end = getattr(pair, master)
    reservation = pair.reserve(end)
    pair.sync(end)
    pair.tick(6.0)
    assert isinstance(pair.refused[reservation], PeerUnavailable)
    pair.rest()
    assert not pair.master_got
    assert BurnReason.UNCONFIRMED in burned(pair, "a")
    assert not pair.a.disk.rows
    assert not pair.b.disk.rows
    later = pair.reserve(end)
    pair.settle()
    assert later in pair.master_got
    pair.balanced()


@pytest.mark.parametrize("lost", ["before", "after"])
@BOTH
def test_a_lost_connection_gives_up_at_both_ends(master: str, lost: str) -> None:
    pair = LinkPair().ready()
    end, other = (pair.a, pair.b) if master == "a" else (pair.b, pair.a)
    reservation = pair.reserve(end)
    if lost == "after":
        pair.receive(other)
        pair.sync(other)
    pair.disconnect()
    assert isinstance(pair.refused[reservation], PeerUnavailable)
    pair.connect()
    pair.rest()
    assert [r.head for r in pair.a.link.streams] == [r.head for r in pair.b.link.streams]
    assert not pair.a.disk.rows
    assert not pair.b.disk.rows
    pair.balanced()


@pytest.mark.parametrize("crashed", ["a", "b"])
@BOTH
def test_a_crash_after_delivery_keeps_the_reservation(master: str, crashed: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, master)
    reservation = pair.reserve(end, count=2)
    pair.settle()
    slave = pair.asked[reservation].slaves[0]
    pair.fetch(reservation, slave, (0,))
    pair.settle()
    pair.crash(getattr(pair, crashed))
    pair.connect()
    pair.settle()
    again = pair.fetch(reservation, slave, (0,))
    pair.fetch(reservation, slave, (1,))
    pair.settle()
    assert isinstance(pair.refused[again], BadRequest)
    assert len(pair.slave_got) == 2
    pair.balanced()


def test_nothing_is_delivered_after_a_start_before_the_exchange() -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.a)
    pair.settle()
    pair.crash(pair.b)
    early = pair.fetch(reservation, BOB)
    assert isinstance(pair.refused[early], PeerUnavailable)
    pair.connect()
    pair.settle()
    pair.fetch(reservation, BOB)
    pair.settle()
    assert len(pair.slave_got) == 1


def test_an_unconfirmed_reservation_that_both_hold_survives_a_crash_of_both() -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.a)
    pair.receive(pair.b)
    pair.sync(pair.b)
    pair.sync(pair.a)
    pair.crash(pair.a)
    pair.crash(pair.b)
    pair.connect()
    pair.settle()
    pair.fetch(reservation, BOB)
    pair.settle()
    assert len(pair.slave_got) == 1
    pair.balanced()


def test_fetching_is_one_transaction_and_for_named_slaves_alone() -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.a, count=3)
    pair.settle()
    pair.fetch(reservation, BOB, (1,))
    pair.settle()
    for positions in [(0, 1), (0, 0), (0, 3), (0, 9)]:
        request = pair.fetch(reservation, BOB, positions)
        assert isinstance(pair.refused[request], KeysNotFound)
    pair.fetch(reservation, BOB, (0, 2))
    pair.fetch(reservation, CAROL, (0, 1, 2))
    pair.settle()
    assert len(pair.slave_got) == 6
    from_b = pair.reserve(pair.b)
    pair.settle()
    pair.a.waiting.add(99)
    pair.handle(pair.a, ev.Fetch(99, CAROL, BOB, (from_b.key_id(0),)))
    assert isinstance(pair.refused[99], Unauthorised)
    pair.a.waiting.add(100)
    pair.handle(pair.a, ev.Fetch(100, ALICE, CAROL, (from_b.key_id(0),)))
    assert isinstance(pair.refused[100], KeysNotFound)


def test_two_fetches_at_once_deliver_once() -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.a)
    pair.settle()
    pair.fetch(reservation, BOB)
    second = pair.fetch(reservation, BOB)
    pair.settle()
    assert isinstance(pair.refused[second], KeysNotFound)
    assert len(pair.slave_got) == 1


def test_unfetched_keys_expire_and_are_burned() -> None:
    pair = LinkPair(reserved_s=10.0).ready()
    reservation = pair.reserve(pair.a)
    pair.settle()
    pair.fetch(reservation, BOB)
    pair.settle()
    pair.tick(11.0)
    late = pair.fetch(reservation, CAROL)
    pair.rest()
    assert isinstance(pair.refused[late], KeysNotFound)
    assert burned(pair, "b") == {BurnReason.EXPIRED: 128}
    assert not pair.b.disk.rows
    pair.balanced()


def test_a_failed_commit_refuses_and_rebuilds() -> None:
    pair = LinkPair().ready()
    reservation = pair.reserve(pair.a)
    commit = pair.a.unsynced.popleft()
    pair.handle(pair.a, ev.CommitFailed(commit.token, "disk is full"))
    assert isinstance(pair.refused[reservation], StoreUnavailable)
    assert any(isinstance(effect, ev.Rebuild) for effect in pair.a.effects)
    while_failed = pair.reserve(pair.a)
    assert isinstance(pair.refused[while_failed], StoreUnavailable)
    pair.a.begin()  # from what is durable
    pair.end_session(pair.b)
    pair.a.modules.clear()
    pair.connect()
    pair.settle()
    pair.tick(2.0)
    pair.settle()
    later = pair.reserve(pair.a)
    pair.settle()
    assert later in pair.master_got
    pair.balanced()


@pytest.mark.parametrize("restored", ["a", "b"])
def test_a_restored_store_burns_everything_at_both_ends(restored: str) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, restored)
    backup = end.disk.copy()
    reservation = pair.reserve(pair.a)
    pair.rest()
    pair.restore(end, backup)
    pair.connect()
    pair.settle()
    again = pair.fetch(reservation, BOB)
    pair.settle()
    assert isinstance(pair.refused[again], BadRequest)
    for name in ("a", "b"):
        assert all(record.head == record.mark for record in getattr(pair, name).link.streams if record.closed)
        assert burned(pair, name)[BurnReason.RESTORED]
    notices = [effect for effect in end.effects if isinstance(effect, ev.RestoreNoticed)]
    assert len(notices) == 1
    pair.tick(2.0)
    pair.settle()
    for each in (pair.a, pair.b):
        pair.key_arrives(each)
    pair.settle()
    pair.reserve(pair.a)
    pair.settle()
    assert len(pair.master_got) == 2
    pair.balanced()


def test_used_key_is_erased_and_reserved_key_is_not() -> None:
    pair = LinkPair().ready()
    first, second = pair.reserve(pair.a), pair.reserve(pair.a)
    pair.settle()
    for slave in (BOB, CAROL):
        pair.fetch(first, slave)
    pair.settle()
    for _ in range(2):  # what is freed is erased once the commit that frees it is durable
        pair.tick()
        pair.settle()
    ((stream, used),) = pair.master_got[first]
    ((_, kept),) = pair.master_got[second]

    def erased(end: str) -> list[object]:
        return [e for e in getattr(pair, end).effects if isinstance(e, ev.Erase) and e.stream == stream]

    assert any(used in part for effect in erased("b") for part in effect.parts)
    assert not any(part.intersection(kept) for effect in erased("b") for part in effect.parts)
    assert any(kept in part for effect in erased("a") for part in effect.parts)


@pytest.mark.parametrize(
    "message",
    [
        wire.Grant(b"\0" * 16, b"\0" * 16, 0, 16),
        wire.Reserve(b"\0" * 16, b"\0" * 16, 0, 1, 16, "sae:bob", ("sae:alice",), cover=False),
        wire.Open(b"\0" * 16, PAIRS[0].value, 64),
        wire.Hello("B", 1, 1, 1, 1, b"", False, (), ()),
        wire.Held(()),
        wire.Ask(b"\0" * 16, 1, 16, "sae:bob", ("sae:alice",), "", cover=False, priority=Priority.NORMAL),
    ],
)
def test_a_message_out_of_place_ends_the_connection(message: wire.Message) -> None:
    pair = LinkPair().ready()
    frame = wire.Frame(pair.b.link.incarnation, pair.a.link.incarnation, 0, b"", (message,))
    before = pair.a.link.streams
    pair.handle(pair.a, ev.Received(frame))
    assert not pair.a.connected
    assert [record.head for record in pair.a.link.streams] == [record.head for record in before]
    pair.connect()
    pair.settle()
    assert pair.a.link.up


def test_a_lying_owner_gets_refusals_not_key() -> None:
    pair = LinkPair().ready()
    first = pair.reserve(pair.a)
    pair.settle()
    ((stream, part),) = pair.master_got[first]
    pair.b.effects.clear()
    lies = [
        wire.Reserve(
            b"\1" * 6 + b"\x8f\xff\x8f" + b"\0" * 7, stream.value, start, count, 16, master, slaves, cover=False
        )
        for start, count, master, slaves in [
            (part.start, 1, ALICE, (BOB,)),  # below the head
            (64, 60_000, ALICE, (BOB,)),  # beyond the mark
            (64, 1, BOB, (BOB,)),  # a master that is not the owner's
            (64, 1, ALICE, (ALICE,)),  # a slave that is not ours
        ]
    ]
    for lie in lies:
        frame = wire.Frame(pair.a.link.incarnation, pair.b.link.incarnation, 0, b"", (lie,))
        pair.handle(pair.b, ev.Received(frame))
    sent = [m for e in pair.b.effects if isinstance(e, ev.Send) for m in e.messages]
    assert [message.reason for message in sent if isinstance(message, wire.Refuse)] == [
        "below-head",
        "beyond-mark",
        "unauthorised",
        "unauthorised",
    ]
    assert pair.b.connected


def test_a_frame_of_another_incarnation_is_refused() -> None:
    pair = LinkPair().ready()
    frame = wire.Frame(pair.b.link.incarnation - 1, pair.a.link.incarnation, 0, b"", ())
    pair.handle(pair.a, ev.Received(frame))
    assert not pair.a.connected


@pytest.mark.parametrize("where", ["a", "b"])
def test_what_is_given_up_during_the_greeting_is_told_once_the_link_is_up(where: str) -> None:
    """Its Hello had told of key that is gone when the link comes up."""
    pair = LinkPair(stream_s=100.0).ready(4)
    end, other = (pair.a, pair.b) if where == "a" else (pair.b, pair.a)
    pair.disconnect()
    pair.settle()
    pair.connect()
    (stream,) = end.link.streams
    assert end.link.phase is LinkPhase.GREETING
    pair.handle(end, ev.KeyUnreadable(stream.stream, Range(0, stream.mark), stream.mark))
    pair.rest()
    assert end.link.up
    for master in (end, other):
        reservation = pair.reserve(master)
        pair.settle()
        assert isinstance(pair.refused[reservation], Shortage)
    pair.balanced()


def _interrupted_after_the_answer() -> tuple[LinkPair, ReservationId]:
    """Bob at B has his key, and B is killed before its own note of that is durable; A holds the key for Alice."""
    pair = LinkPair(reserved_s=60.0).ready()
    reservation = pair.reserve(pair.b)
    pair.settle()
    assert reservation in pair.master_got
    pair.crash(pair.b)
    assert not pair.b.disk.rows[reservation].confirmed
    return pair, reservation


def test_the_slaves_site_remembers_until_the_masters_site_does() -> None:
    """B is killed a second time while the states are exchanged: A has B's Held, and B nothing durable of A's."""
    pair, reservation = _interrupted_after_the_answer()
    pair.fetch(reservation, ALICE)
    pair.settle()
    assert (reservation.key_id(0), ALICE) in pair.slave_got
    pair.connect()
    for end in (pair.a, pair.b):
        pair.receive(end)  # Hello
        pair.sync(end)
    pair.receive(pair.a)  # Held; the other one never arrives
    assert pair.a.link.up
    pair.tick()
    while pair.a.unsynced:
        pair.sync(pair.a)
    pair.crash(pair.b)
    assert not pair.b.disk.rows[reservation].confirmed
    pair.connect()
    pair.rest()
    pair.kept_its_books()
    assert not pair.a.disk.rows
    assert not pair.b.disk.rows


def test_keys_that_expire_while_the_masters_site_is_away_stay_delivered_there() -> None:
    pair, reservation = _interrupted_after_the_answer()
    pair.now += 59.0
    pair.clock_step = 2.0  # A's time is over while B does not run
    pair.handle(pair.a, ev.Tick())
    pair.settle()
    pair.clock_step = 0.0
    assert sum(record.tally.burned.get(BurnReason.EXPIRED, 0) for record in pair.a.disk.streams.values()) == 128
    pair.connect()
    pair.rest()
    pair.kept_its_books()
    assert not pair.a.disk.rows
    assert not pair.b.disk.rows
    assert reservation in pair.master_got
