"""One link's part in a request for slaves at several sites (KRP 4.15 to 4.20), at both ends."""

from __future__ import annotations

import pytest

from qss.core.reservation import events as ev
from qss.model.answers import AskName
from qss.model.errors import KeysNotFound, LocalProtocolError, PeerUnavailable
from qss.model.identifiers import ReservationId
from qss.model.ranges import Range
from qss.model.records import COVERED_FROM, BurnReason, Part, Scope, Side
from qss.wire import external as wire
from support.link_pair import ALICE, BOB, CAROL, End, LinkPair

NAME = AskName(b"n" * 32, b"r" * 32)
ENDS = pytest.mark.parametrize("master", ["a", "b"], ids=["owner", "not owner"])


def begun(master: str, part: Part, name: AskName | None = None) -> tuple[LinkPair, End, End, ReservationId]:
    """Two keys of 16 bytes, durable at both ends."""
    pair = LinkPair().ready()
    here = getattr(pair, master)
    reservation = pair.reserve(here, 2, part=part, name=name)
    pair.settle()
    return pair, here, pair.other(here), reservation


def covered(master: str) -> tuple[LinkPair, End, End, ReservationId]:
    """The same, and the keys are stored at the slaves' site."""
    pair, here, there, reservation = begun(master, Part.FURTHER)
    pair.cover(here, reservation)
    pair.settle()
    pair.open_cover(there, reservation)
    pair.settle()
    return pair, here, there, reservation


def slaves(pair: LinkPair, reservation: ReservationId) -> tuple[str, ...]:
    return pair.asked[reservation].slaves


def burned(end: End, reason: BurnReason) -> int:
    return sum(record.tally.burned.get(reason, 0) for record in end.disk.streams.values())


# --- all goes well --------------------------------------------------------------------------------------------------


@ENDS
def test_the_first_part_waits_for_the_others_and_is_answered_when_it_is_concluded(master: str) -> None:
    pair, here, there, reservation = begun(master, Part.FIRST)
    assert reservation not in pair.master_got
    assert not there.link.reservations[0].confirmed
    assert there.link.reservations[0].part is Part.WHOLE
    assert pair.conclude(here, reservation)
    assert reservation not in pair.master_got, "answered before that was durable"
    pair.rest()
    assert len(pair.master_got[reservation]) == 2
    assert there.link.reservations[0].confirmed


@ENDS
def test_a_further_part_has_its_tag_behind_the_pad_and_its_keys_where_nothing_else_lies(master: str) -> None:
    pair, here, there, reservation = covered(master)
    (row,) = there.link.reservations
    assert row.range == Range(0, 64)
    assert row.keys == Range(COVERED_FROM, COVERED_FROM + 32)
    assert here.link.streams[0].tally.delivered == 8 * 64
    assert (there.link.streams[0].tally.reserved, there.link.streams[0].tally.delivered) == (8 * 32, 8 * 32)
    assert pair.conclude(here, reservation)
    pair.rest()
    erased = [effect for effect in there.effects if isinstance(effect, ev.Erase)]
    assert erased[0].parts == (Range(0, 64),), "what covered the keys is erased at once"
    for slave in slaves(pair, reservation):
        pair.fetch(reservation, slave, (0, 1))
    pair.rest()
    assert not here.link.reservations
    assert not there.link.reservations
    assert there.link.streams[0].tally.delivered == 8 * 64
    erased = [effect for effect in there.effects if isinstance(effect, ev.Erase)]
    assert erased[-1].parts == (Range(COVERED_FROM, COVERED_FROM + 32),)
    pair.balanced()
    pair.kept_its_books()


@ENDS
def test_a_further_part_serves_nobody_before_its_keys_came(master: str) -> None:
    pair, _, _, reservation = begun(master, Part.FURTHER)
    request = pair.fetch(reservation, slaves(pair, reservation)[0])
    assert isinstance(pair.refused[request], KeysNotFound)


def test_a_repeat_joins_the_first_and_a_later_one_gets_the_same() -> None:
    pair, here, _, reservation = begun("a", Part.FIRST, NAME)
    early = pair.reserve(here, 2, part=Part.FIRST, name=NAME)
    assert NAME.digest not in here.disk.answers
    pair.conclude(here, reservation)
    pair.settle()
    assert early not in here.waiting
    assert reservation not in here.waiting
    pair.crash(here)
    pair.connect()
    pair.settle()
    late = pair.reserve(here, 2, part=Part.FIRST, name=NAME)
    assert late not in here.waiting
    assert late not in pair.refused


# --- all, or none ---------------------------------------------------------------------------------------------------


@ENDS
@pytest.mark.parametrize("part", [Part.FIRST, Part.FURTHER])
def test_what_is_abandoned_is_burned_at_both_ends_and_its_name_is_free(master: str, part: Part) -> None:
    name = NAME if part is Part.FIRST else None
    pair, here, there, reservation = begun(master, part, name)
    pair.abandon(here, reservation)
    pair.abandon(here, reservation)
    pair.rest()
    assert str(pair.refused[reservation]) == "another site"
    for end in (here, there):
        assert not end.link.reservations
        assert burned(end, BurnReason.UNCONFIRMED) == 8 * (32 if part is Part.FIRST else 64)
    assert name is None or not here.link.knows(name)
    pair.balanced()


@ENDS
def test_keys_that_were_stored_already_are_burned_with_the_others(master: str) -> None:
    pair, here, there, reservation = covered(master)
    pair.abandon(here, reservation)
    pair.rest()
    assert not there.link.reservations
    assert burned(there, BurnReason.UNCONFIRMED) == 8 * 32
    pair.balanced()


@ENDS
def test_what_does_not_open_is_burned_and_refused(master: str) -> None:
    pair, here, there, reservation = begun(master, Part.FURTHER)
    pair.cover(here, reservation)
    pair.settle()
    pair.open_cover(there, reservation, opens=False)
    pair.rest()
    assert isinstance(pair.refused[reservation], PeerUnavailable)
    assert not here.link.concludes(reservation)
    assert (burned(here, BurnReason.REFUSED), burned(there, BurnReason.UNCONFIRMED)) == (8 * 64, 8 * 64)
    assert not here.link.reservations
    assert not there.link.reservations


@ENDS
@pytest.mark.parametrize("which", [begun, covered])
def test_a_part_that_waits_too_long_is_given_up(master: str, which: object) -> None:
    pair, here, there, reservation = begun(master, Part.FURTHER) if which is begun else covered(master)
    pair.tick(15.0 - 0.1)
    assert reservation not in pair.refused
    pair.tick(0.2)
    pair.rest()
    assert reservation in pair.refused
    assert not there.link.reservations
    assert not here.link.concludes(reservation)


@ENDS
def test_a_lost_connection_burns_what_waits_for_its_keys_at_both_ends(master: str) -> None:
    pair, here, there, reservation = begun(master, Part.FURTHER)
    pair.cover(here, reservation)
    pair.settle()
    pair.disconnect()
    pair.open_cover(there, reservation)  # too late: the master's site has given it up
    pair.connect()
    pair.rest()
    assert reservation in pair.refused
    assert not there.link.reservations
    assert burned(there, BurnReason.UNCONFIRMED) == 8 * 64
    pair.balanced()


@ENDS
def test_what_is_concluded_outlives_the_connection(master: str) -> None:
    pair, here, there, reservation = covered(master)
    pair.conclude(here, reservation)
    pair.disconnect()
    pair.connect()
    pair.rest()
    assert there.link.reservations[0].confirmed
    for slave in slaves(pair, reservation):
        pair.fetch(reservation, slave, (0, 1))
    pair.rest()
    assert not pair.a.waiting | pair.b.waiting


@ENDS
@pytest.mark.parametrize("killed", ["master's", "slaves'"])
def test_keys_that_are_stored_stand_whoever_is_killed(master: str, killed: str) -> None:
    """The master may have been answered."""
    pair, here, there, reservation = covered(master)
    pair.conclude(here, reservation)
    pair.crash(here if killed == "master's" else there)
    pair.connect()
    pair.rest()
    assert there.link.reservations[0].confirmed
    for slave in slaves(pair, reservation):
        pair.fetch(reservation, slave, (0, 1))
    pair.rest()
    assert not [request for request in pair.fetches if request in pair.refused]


@ENDS
@pytest.mark.parametrize("killed", ["master's", "slaves'"])
def test_what_waits_for_its_keys_does_not_outlive_a_site(master: str, killed: str) -> None:
    pair, here, there, _ = begun(master, Part.FURTHER)
    pair.crash(here if killed == "master's" else there)
    pair.connect()
    pair.rest()
    assert not here.link.reservations
    assert not there.link.reservations
    assert burned(here, BurnReason.UNCONFIRMED) == burned(there, BurnReason.UNCONFIRMED) == 8 * 64
    pair.balanced()


def test_a_store_that_refuses_the_conclusion_leaves_the_master_without_keys_and_the_name_free() -> None:
    pair, here, _, reservation = begun("a", Part.FIRST, NAME)
    pair.conclude(here, reservation)
    pair.fail(here)
    assert reservation in pair.refused
    pair.connect()
    pair.rest()
    again = pair.reserve(here, 2, part=Part.FIRST, name=NAME)
    pair.settle()
    assert pair.conclude(here, again)
    pair.settle()
    assert again in pair.master_got


def test_what_is_not_so_far_cannot_be_concluded() -> None:
    pair, here, _, reservation = begun("a", Part.FURTHER)
    assert not here.link.concludes(reservation)
    with pytest.raises(LocalProtocolError):
        pair.handle(here, ev.Conclude(reservation))


# --- recalls and expiry ---------------------------------------------------------------------------------------------


@ENDS
def test_a_recall_names_the_keys_that_other_sites_hold_but_not_when_it_comes_from_there(master: str) -> None:
    pair, here, there, reservation = covered(master)
    pair.conclude(here, reservation)
    pair.rest()
    pair.recall(there, Scope((reservation.key_id(1),)))
    pair.rest()
    assert pair.recalled_parts == [reservation.key_id(1)]
    pair.handle(here, ev.Recall(pair._number(), Scope(sae=ALICE), passed_on=True))
    here.waiting.add(pair.requests)
    pair.rest()
    assert pair.recalled_parts == [reservation.key_id(1)]
    assert burned(there, BurnReason.VOIDED) == 8 * 32


@ENDS
@pytest.mark.parametrize("at", ["master's", "slaves'"])
def test_a_recall_ends_what_is_on_its_way(master: str, at: str) -> None:
    pair, here, there, reservation = begun(master, Part.FURTHER)
    pair.cover(here, reservation)
    pair.settle()
    pair.recall(here if at == "master's" else there, Scope())
    pair.settle()
    pair.open_cover(there, reservation)
    pair.rest()
    assert reservation in pair.refused
    assert not here.link.concludes(reservation)
    pair.balanced()


@ENDS
def test_keys_that_nobody_fetches_expire(master: str) -> None:
    pair, here, there, reservation = covered(master)
    pair.conclude(here, reservation)
    pair.rest()
    pair.fetch(reservation, slaves(pair, reservation)[0], (0,))
    pair.tick(3601.0)
    pair.rest()
    assert not there.link.reservations
    left = 1 if len(slaves(pair, reservation)) == 1 else 2
    assert burned(there, BurnReason.EXPIRED) == 8 * 16 * left
    pair.balanced()


@ENDS
def test_keys_that_cannot_be_read_are_burned_one_by_one_what_covers_them_as_a_whole(master: str) -> None:
    pair, here, there, reservation = covered(master)
    pair.conclude(here, reservation)
    (row,) = there.link.reservations
    pair.handle(there, ev.KeyUnreadable(row.stream, row.key_range(1), row.keys.stop))
    pair.rest()
    assert burned(there, BurnReason.UNREADABLE) == 8 * 16
    assert there.link.streams[0].head == 64
    pair, _, there, reservation = begun(master, Part.FURTHER)
    (row,) = there.link.reservations
    pair.handle(there, ev.KeyUnreadable(row.stream, Range(40, 41), 41))
    pair.rest()
    assert burned(there, BurnReason.UNREADABLE) == 8 * 64
    pair.balanced()


# --- a peer that lies -----------------------------------------------------------------------------------------------


def said(pair: LinkPair, victim: End, *messages: wire.Message) -> bool:
    """Have the other end say this; return whether the connection stands."""
    peer = pair.other(victim)
    frame = wire.Frame(peer.link.incarnation, victim.link.incarnation, peer.disk.commit_number, b"", messages)
    pair.handle(victim, ev.Received(frame))
    pair.settle()
    return victim.connected


TAG = bytes(16)


@ENDS
@pytest.mark.parametrize("length", [16, 31, 33])
def test_keys_of_another_length_end_the_connection(master: str, length: int) -> None:
    pair, _, there, reservation = begun(master, Part.FURTHER)
    assert not said(pair, there, wire.Cover(reservation.value, bytes(length), TAG))
    assert not there.covers


@ENDS
def test_keys_that_come_twice_end_the_connection(master: str) -> None:
    for times in (begun(master, Part.FURTHER), covered(master)):
        pair, _, there, reservation = times
        cover = wire.Cover(reservation.value, bytes(32), TAG)
        assert not said(pair, there, cover, cover)


@ENDS
def test_keys_for_what_awaits_none_end_the_connection(master: str) -> None:
    pair, here, there, reservation = begun(master, Part.FIRST)
    assert not said(pair, there, wire.Cover(reservation.value, bytes(32), TAG))
    pair, here, there, reservation = begun(master, Part.FURTHER)
    assert not said(pair, here, wire.Cover(reservation.value, bytes(32), TAG))


@ENDS
def test_a_confirm_before_the_keys_and_a_covered_without_a_cover_end_the_connection(master: str) -> None:
    pair, here, there, reservation = begun(master, Part.FURTHER)
    assert not said(pair, there, wire.Confirm((reservation.value,)))
    pair, here, there, reservation = begun(master, Part.FURTHER)
    assert not said(pair, here, wire.Covered(reservation.value))


def test_keys_for_what_is_not_known_are_refused() -> None:
    pair = LinkPair().ready()
    unknown = ReservationId.from_entropy(bytes(16))
    assert said(pair, pair.b, wire.Cover(unknown.value, bytes(32), TAG))
    sent = [effect for effect in pair.b.effects if isinstance(effect, ev.Send)]
    assert sent[-1].messages == (wire.Refuse(unknown.value, wire.Reason.COVER),)


def test_more_than_one_cover_holds_is_refused() -> None:
    pair = LinkPair(max_key_bytes=1 << 30, max_keys=100).ready()
    name = ReservationId.from_entropy(bytes(16)).value
    stream = pair.b.link.streams[0].stream.value
    reserve = (name, stream, 0, 1, wire.MAX_COVERED + 1, ALICE, (BOB, CAROL))
    assert said(pair, pair.b, wire.Reserve(*reserve, cover=True))
    sent = [effect for effect in pair.b.effects if isinstance(effect, ev.Send)]
    assert sent[-1].messages == (wire.Refuse(name, wire.Reason.SIZE),)
    assert all(row.side is not Side.SLAVE for row in pair.b.link.reservations)
