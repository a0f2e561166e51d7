"""A neighbour that lies, or breaks the protocol: it loses its connection and its own link's key, and nothing more."""

from __future__ import annotations

import copy
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qss.core.reservation import events as ev
from qss.core.reservation.phases import LinkPhase
from qss.model.identifiers import ReservationId, StreamId, TransferId
from qss.model.keys import Priority
from qss.model.records import BurnReason
from qss.wire import external as wire
from support.link_pair import ALICE, BOB, CAROL, PAIRS, Disk, End, LinkPair

RELAY = wire.Purpose.RELAY
MINE = ReservationId.from_entropy(b"\x01" * 16)
OTHER = ReservationId.from_entropy(b"\x02" * 16)


def say(pair: LinkPair, end: End, *messages: wire.Message) -> None:
    """Let the peer of `end` say this on the connection that stands."""
    peer = pair.other(end)
    frame = wire.Frame(peer.link.incarnation, end.link.incarnation, 0, b"", messages)
    pair.handle(end, ev.Received(frame))


def test_a_reserve_under_the_name_of_ones_own_request_is_refused() -> None:
    pair = LinkPair().ready()
    own = pair.reserve(pair.b)
    stream = pair.b.link.streams[0].stream
    say(pair, pair.b, wire.Reserve(own.value, stream.value, 0, 1, 16, ALICE, (BOB,), cover=False))
    assert "name of a request" in pair.disconnect_reasons[-1]
    pair.connect()
    pair.settle()
    pair.balanced()


@pytest.mark.parametrize(
    ("keys", "key_bytes", "taken"), [(4, 16, True), (5, 16, False), (1, 15, False), (1, 33, False), (2, 32, True)]
)
def test_a_peer_is_held_to_our_sizes_and_numbers(keys: int, key_bytes: int, taken: bool) -> None:
    pair = LinkPair(min_key_bytes=16, max_key_bytes=32, max_keys=4).ready()
    stream = pair.b.link.streams[0].stream
    say(pair, pair.b, wire.Reserve(MINE.value, stream.value, 0, keys, key_bytes, ALICE, (BOB,), cover=False))
    say(pair, pair.a, wire.Ask(OTHER.value, keys, key_bytes, BOB, (ALICE,), "", cover=False, priority=Priority.NORMAL))
    for end, reservation in ((pair.b, MINE), (pair.a, OTHER)):
        assert (reservation in {row.id for row in end.link.reservations}) is taken
        said = [m for e in end.effects if isinstance(e, ev.Send) for m in e.messages]
        assert (wire.Refuse(reservation.value, wire.Reason.SIZE) in said) is not taken


@pytest.mark.parametrize("lie", [{"qks": "X"}, {"unconfirmed": (b"\0" * 16,)}])
def test_a_hello_that_comes_early_and_is_wrong_ends_the_connection_alone(lie: dict[str, object]) -> None:
    pair = LinkPair().ready()
    pair.disconnect()
    pair.reserve(pair.a)  # refused; then one that is on its way to the disk:
    pair.connect()
    pair.settle()
    pair.reserve(pair.a)
    pair.receive(pair.b)
    pair.disconnect()
    pair.b.connected = pair.a.connected = True
    assert pair.b.unsynced
    pair.handle(pair.b, ev.Connected(pair.b.disk.commit_number))
    incarnation = pair.a.link.incarnation
    members: dict[str, object] = {
        "qks": "A",
        "incarnation": incarnation,
        "base": 0,
        "seen_incarnation": 0,
        "seen_commit": 0,
        "seen_proof": b"",
        "restored": False,
        "streams": (),
        "unconfirmed": (),
    }
    hello = wire.Hello(**{**members, **lie})  # type: ignore[arg-type]
    pair.handle(pair.b, ev.Received(wire.Frame(incarnation, 0, pair.a.disk.commit_number, b"", (hello,))))
    while pair.b.unsynced:
        pair.sync(pair.b)
    assert pair.disconnect_reasons
    pair.connect()
    pair.settle()
    assert pair.b.link.up


def test_a_restore_that_is_noticed_while_the_greeting_is_under_way_is_not_forgotten() -> None:
    pair = LinkPair().ready()
    pair.disconnect()
    pair.connect()
    pair.hold(pair.a)  # its Hello has left, and does not say so
    pair.settle()
    pair.connect()
    pair.settle()
    for end in (pair.a, pair.b):
        assert not end.link.peer.must_burn
        assert sum(record.available for record in end.link.streams) == 0


@pytest.mark.parametrize("then", ["crash", "fail"])
def test_a_restore_that_only_the_peer_noticed_is_noticed_again_after_a_crash(then: str) -> None:
    """The peer does not forget what it knew before the restored end has noted that it must burn."""
    pair = LinkPair().ready()
    backup = pair.b.disk.copy()
    reservation = pair.reserve(pair.a)
    pair.settle()
    pair.fetch(reservation, BOB)
    pair.settle()
    pair.restore(pair.b, backup)
    pair.connect()
    while pair.b.noticed is None:
        pair.receive(pair.b)
        pair.receive(pair.a)
        pair.sync(pair.a)
    getattr(pair, then)(pair.b)
    pair.connect()
    pair.settle()
    assert pair.b.link.up
    assert burned_as_restored(pair.b)
    again = pair.fetch(reservation, BOB)
    pair.settle()
    assert again in pair.refused


def test_a_restored_store_that_has_gone_on_and_is_started_again_is_noticed() -> None:
    """What it has committed since the restore, without its neighbour, does not hide what it has forgotten."""
    pair = LinkPair().ready()
    backup = pair.b.disk.copy()
    reservation = pair.reserve(pair.a)
    pair.settle()
    pair.fetch(reservation, BOB)
    pair.settle()
    reached = pair.b.disk.commit_number
    pair.restore(pair.b, backup)
    pair.b.disk.commit_number = reached + 10
    pair.crash(pair.b)
    pair.connect()
    pair.settle()
    assert pair.b.link.up
    assert burned_as_restored(pair.b)


def test_what_is_remembered_of_the_peer_becomes_durable_without_any_other_commit() -> None:
    pair = LinkPair().ready()
    pair.tick(10.0)
    pair.settle()
    say_number = pair.b.disk.commit_number + 100
    frame = wire.Frame(pair.b.link.incarnation, pair.a.link.incarnation, say_number, b"its proof", ())
    pair.handle(pair.a, ev.Received(frame))
    pair.tick(10.0)
    pair.sync(pair.a)
    assert pair.a.disk.peer is not None
    assert (pair.a.disk.peer.commit_seen, pair.a.disk.peer.commit_proof) == (say_number, b"its proof")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_that_fails_does_not_hide_a_restore(when: str) -> None:
    pair = LinkPair().ready()
    pair.key_arrives(pair.b)
    (commit,) = pair.b.unsynced
    pair.b.unsynced.clear()
    if when == "before":
        pair.handle(pair.b, ev.CommitFailed(commit.token, "the disk is full"))
    pair.hold(pair.b)
    if when == "after":
        pair.handle(pair.b, ev.CommitFailed(commit.token, "the disk is full"))
    pair.settle()
    pair.connect()
    pair.settle()
    for end in (pair.a, pair.b):
        assert burned_as_restored(end)


def test_a_machine_that_is_put_back_while_it_runs_is_noticed() -> None:
    """A snapshot with its memory: the incarnation is the one that is remembered, the commit number is not."""
    pair = LinkPair().ready()
    pair.disconnect()
    back = pair.b.disk.copy()
    snapshot = copy.deepcopy(pair.b.link)
    pair.connect()
    pair.settle()
    pair.reserve(pair.a)
    pair.settle()
    pair.disconnect()
    pair.b.disk, pair.b.link = back, snapshot
    pair.connect()
    pair.settle()
    assert pair.b.link.up
    for end in (pair.a, pair.b):
        assert burned_as_restored(end)


def burned_as_restored(end: End) -> int:
    return sum(
        tally.burned.get(BurnReason.RESTORED, 0)
        for tally in (end.link.peer.past, *(record.tally for record in end.link.streams))
    )


def test_what_the_peer_claims_to_have_seen_comes_with_its_proof() -> None:
    pair = LinkPair().ready()
    assert pair.a.link.peer.commit_proof == b"proof"
    say_hello = [m for e in pair.a.effects if isinstance(e, ev.Send) for m in e.messages if isinstance(m, wire.Hello)]
    assert say_hello[-1].seen_proof == b""
    pair.disconnect()
    pair.connect()
    say_hello = [m for e in pair.a.effects if isinstance(e, ev.Send) for m in e.messages if isinstance(m, wire.Hello)]
    assert say_hello[-1].seen_proof == b"proof"


def test_a_clock_of_the_day_that_is_set_back_delays_no_answer() -> None:
    pair = LinkPair().ready()
    pair.tick(1.0)
    pair.clock_step = -86_400.0
    reservation = pair.reserve(pair.a)
    pair.tick(6.0)
    assert reservation in pair.refused


IDS = st.sampled_from([MINE.value, OTHER.value, b"\0" * 16])
NUMBERS = st.sampled_from([0, 1, 16, 64, 512, 2**32 - 1, 2**63 - 1])
POSITIVE = st.sampled_from([1, 2, 16, 65536, 2**32 - 1])
SAES = st.sampled_from([str(ALICE), str(BOB), str(CAROL), "sae:nobody", "no SAE ID"])


@st.composite
def messages(draw: st.DrawFn) -> wire.Message:
    """Any well-formed message, its names often those of the link."""
    kind = draw(st.sampled_from([*wire.Message.__args__]))
    streams = st.sampled_from([b"\0" * 16, "open"])
    reserve = (IDS, streams, NUMBERS, POSITIVE, POSITIVE, SAES, st.tuples(SAES), st.booleans())
    members = {
        wire.Hello: (
            st.sampled_from(["A", "B"]), NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.binary(max_size=2), st.booleans(),
            st.just(()), st.lists(IDS, max_size=2).map(tuple),
        ),
        wire.Open: (streams, st.sampled_from([pair.value for pair in PAIRS]), POSITIVE),
        wire.Mark: (streams, NUMBERS),
        wire.Close: (streams, NUMBERS),
        wire.Skip: (streams, NUMBERS),
        wire.Recall: (POSITIVE, st.lists(IDS, max_size=3).map(tuple), SAES | st.just("")),
        wire.Recalled: (POSITIVE,),
        wire.Reserve: reserve,
        wire.Ask: (
            IDS, POSITIVE, POSITIVE, SAES, st.tuples(SAES),
            st.sampled_from(["", "{}"]), st.booleans(), st.sampled_from(Priority),
        ),
        wire.Grant: (IDS, streams, NUMBERS, POSITIVE),
        wire.Refuse: (IDS, st.sampled_from(wire.Reason)),
        wire.Reserved: (IDS,),
        wire.Cover: (IDS, st.binary(min_size=1, max_size=64), st.binary(min_size=16, max_size=16)),
        wire.Covered: (IDS,),
        wire.Draw: (IDS, POSITIVE, st.booleans(), st.sampled_from(wire.Purpose)),
        wire.Drawn: (IDS, streams, NUMBERS, POSITIVE, st.booleans(), st.sampled_from(wire.Purpose)),
        wire.Undrawn: (IDS, st.sampled_from(wire.Reason)),
        wire.Want: (st.sampled_from([pair.value for pair in PAIRS]), st.text(max_size=8), NUMBERS, st.booleans()),
    }.get(kind, (st.lists(IDS, max_size=3).map(tuple),))  # fmt: skip
    return kind(*(draw(member) for member in members))  # type: ignore[no-any-return]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["a", "b"]), st.lists(st.lists(messages(), min_size=1, max_size=3), max_size=9), st.data())
def test_whatever_a_peer_says_nothing_but_its_connection_breaks(
    victim: str, frames: list[list[wire.Message]], data: st.DataObject
) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, victim)
    end_peer = pair.other(end)
    stream = end.link.streams[0].stream
    pair.reserve(end)
    pair.draw(end, draw=TransferId(MINE.value))
    for frame in frames:
        if not end.connected:
            pair.connect()
            pair.settle()
        said = [_named(message, stream) for message in frame]
        incarnation = end_peer.link.incarnation
        pair.handle(
            end, ev.Received(wire.Frame(incarnation, end.link.incarnation, data.draw(NUMBERS), b"", tuple(said)))
        )
        end_peer.outgoing.clear()
        while end.unsynced:
            pair.sync(end)
        pair.tick(data.draw(st.sampled_from([0.2, 6.0])))
    pair.balanced()


def _named(message: wire.Message, stream: StreamId) -> wire.Message:
    if getattr(message, "stream", None) == "open":
        members = {name: getattr(message, name) for name in message.__struct_fields__}
        return type(message)(**{**members, "stream": stream.value})  # type: ignore[no-any-return]
    return message


@pytest.mark.parametrize(
    ("victim", "asked", "lie"),
    [
        ("a", False, wire.Drawn(MINE.value, b"open", 0, 16, False, RELAY)),  # A owns the streams
        ("b", False, wire.Draw(MINE.value, 16, True, RELAY)),
        ("b", False, wire.Drawn(MINE.value, b"open", 512, 16, False, RELAY)),  # beyond the mark
        ("b", True, wire.Drawn(MINE.value, b"open", 512, 16, True, RELAY)),
        ("b", True, wire.Drawn(MINE.value, b"open", 0, 32, True, RELAY)),  # not what was asked for
        ("b", True, wire.Drawn(MINE.value, b"open", 0, 16, True, wire.Purpose.TAGS)),
    ],
)
def test_a_range_that_cannot_be_meant_ends_the_connection_and_nothing_else(
    victim: str, asked: bool, lie: wire.Draw | wire.Drawn
) -> None:
    pair = LinkPair().ready()
    end = getattr(pair, victim)
    if asked:
        pair.draw(end, draw=TransferId(MINE.value))
    (before,) = end.link.streams
    if isinstance(lie, wire.Drawn):
        lie = wire.Drawn(lie.draw, before.stream.value, lie.start, lie.length, lie.asked, lie.purpose)
    say(pair, end, lie)
    assert not end.connected
    assert end.link.streams == (before,)
    assert pair.draws.failed == ({(end.name, TransferId(MINE.value)): [ev.DrawFailure.UNREACHABLE]} if asked else {})
    pair.connect()
    pair.settle()
    assert end.link.up
    pair.balanced()


def test_an_undrawn_of_nothing_has_no_effect() -> None:
    pair = LinkPair().ready()
    draw = pair.draw(pair.a)
    pair.settle()
    for end in (pair.a, pair.b):
        say(pair, end, wire.Undrawn(MINE.value, wire.Reason.LATE))
    say(pair, pair.b, wire.Undrawn(draw.value, wire.Reason.SHORTAGE))  # the owner has drawn it, and cannot take it back
    assert pair.a.connected
    assert not pair.draws.failed
    assert draw in pair.draws.ready[pair.b.name]


@pytest.mark.parametrize("victim", ["a", "b"])
def test_a_peer_that_draws_without_end_gets_no_more_than_may_be_open(victim: str) -> None:
    pair = LinkPair(max_draws=5).ready()
    end = getattr(pair, victim)
    (stream,) = end.link.streams
    for number in range(20):
        name = number.to_bytes(16)
        drawn = wire.Drawn(name, stream.stream.value, 8 * number, 8, False, RELAY)
        say(pair, end, wire.Draw(name, 8, True, RELAY) if victim == "a" else drawn)
        while end.unsynced:
            pair.sync(end)
    assert end.connected
    assert len(pair.draws.ready[end.name]) == 5
    said = [m for e in end.effects if isinstance(e, ev.Send) for m in e.messages if isinstance(m, wire.Undrawn)]
    assert [message.reason for message in said] == 15 * ["limit"]
    pair.balanced()


def test_a_peer_that_never_greets_loses_its_connection() -> None:
    pair = LinkPair().ready()
    pair.disconnect()
    pair.b.connected = True
    pair.handle(pair.b, ev.Connected(0))
    pair.now += 9.9
    pair.handle(pair.b, ev.Tick())
    assert not pair.disconnect_reasons
    pair.now += 0.2
    pair.handle(pair.b, ev.Tick())
    assert pair.disconnect_reasons == ["the states were not exchanged in time"]


def test_a_closed_stream_that_the_peer_does_not_know_is_burned() -> None:
    """The other end was made anew: what this end has left can never be agreed on."""
    pair = LinkPair().ready()
    pair.end_session(pair.a)
    pair.end_session(pair.b)
    pair.settle()
    (left,) = [record for record in pair.a.link.streams if record.limit is not None]
    assert left.available
    pair.disconnect()
    pair.b.disk = Disk()
    pair.a.disk.peer = None  # and has been forgotten, so nobody takes it for restored
    for end in (pair.a, pair.b):
        pair.crash(end)
    pair.connect()
    pair.settle()
    pair.tick(2.0)
    pair.settle()
    assert left.stream not in {record.stream for record in pair.a.link.streams}
    assert pair.a.link.peer.past.burned[BurnReason.CLOSED] == 8 * left.available


def test_one_claim_burns_once() -> None:
    """An exchange of states makes all older numbers worthless: a neighbour cannot burn again and again."""
    pair = LinkPair().ready()
    pair.rest()
    claimed = pair.a.disk.commit_number
    for _ in range(3):
        pair.disconnect()
        state = pair.b.link._state
        state.peer = replace(state.peer, incarnation=pair.a.link.incarnation - 1, commit_seen=claimed)
        pair.connect()
        pair.settle()
        assert pair.a.link.up
    assert len([effect for effect in pair.a.effects if isinstance(effect, ev.RestoreNoticed)]) == 1


def test_nobody_who_has_not_exchanged_states_gets_a_proof() -> None:
    pair = LinkPair()
    pair.connect()
    phases = []
    for _ in range(20):
        for end in (pair.a, pair.b):
            phases.append((end.link.phase, end.link.may_prove))
            pair.receive(end)
            pair.sync(end)
    assert {phase for phase, may in phases if may} == {LinkPhase.SETTLING, LinkPhase.UP}
    assert LinkPhase.GREETING in {phase for phase, may in phases if not may}


def test_a_thousand_hellos_are_heard_once() -> None:
    """Each that casts doubt on this end's store would have the whole site look at it."""
    pair = LinkPair().ready()
    pair.disconnect()
    pair.settle()
    pair.connect()
    pair.receive(pair.a)  # so that B's Hello is known
    (hello,) = [m for e in pair.b.effects if isinstance(e, ev.Send) for m in e.messages if isinstance(m, wire.Hello)][
        -1:
    ]
    pair.disconnect()
    pair.settle()
    pair.a.effects.clear()
    pair.connect()
    doubt = msgspec.structs.replace(hello, seen_incarnation=pair.a.link.incarnation, seen_commit=10**9)
    frame = wire.Frame(pair.b.link.incarnation, 0, 0, b"", (doubt,) * 1000)
    pair.handle(pair.a, ev.Received(frame))
    assert len([effect for effect in pair.a.effects if isinstance(effect, ev.RestoreNoticed)]) == 1
    assert "a second Hello" in pair.disconnect_reasons[-1]


def test_a_frame_of_many_recalls_is_refused_and_what_is_sent_is_parted() -> None:
    recalls = tuple(wire.Recall(number, (), "") for number in range(1, 20))
    runs = wire.split(recalls)
    assert [len(run) for run in runs] == [wire.MAX_RECALLS, wire.MAX_RECALLS, 3]
    pair = LinkPair().ready()
    say(pair, pair.b, *recalls)
    assert "more than 8 Recalls" in pair.disconnect_reasons[-1]
