"""The module's core, step by step: docs/reference/sync.md."""

from __future__ import annotations

import pytest

from qss.core.module import Module, ModuleSettings, Phase, fitting_chunk
from qss.core.module import events as ev
from qss.core.module.calls import Announcement
from qss.core.module.phases import PeerPhase, Step, after, peer_after
from qss.model.errors import DeviceError, LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import StreamId
from qss.wire import sync
from qss.wire.sync import BLOCKS_IN_CHECK, DEVICE_WINDOW
from support.module_pair import BLOCK_BYTES, CHUNK_BYTES, PAYLOAD_BYTES, ModulePair

STREAM = StreamId(b"s" * 16)
TAG = b"t" * 16


@pytest.fixture
def pair() -> ModulePair:
    pair = ModulePair()
    pair.connect()
    return pair


def exchange(pair: ModulePair, blocks: int = 1) -> None:
    for _ in range(blocks):
        assert pair.produce(pair.a)
        assert pair.produce(pair.b)
        pair.settle()


# --- opening and closing ------------------------------------------------------------------------------------------


def test_a_stream_runs_once_both_have_opened_it(pair):
    stream = pair.open()
    pair.settle()
    assert (pair.a.core.phase, pair.b.core.phase) == (Phase.OPENING, Phase.IDLE)
    pair.join(pair.b, stream)
    assert (pair.a.core.phase, pair.b.core.phase) == (Phase.OPENING, Phase.RUNNING)
    pair.settle()
    assert pair.a.core.phase is Phase.RUNNING


def test_a_joiner_may_come_before_the_openers_open(pair):
    stream = pair.open()
    pair.join(pair.b, stream)
    pair.settle()
    assert {end.core.phase for end in pair.ends} == {Phase.RUNNING}


@pytest.mark.parametrize("which", [0, 1])
def test_a_close_ends_the_stream_at_both_ends_and_the_next_one_runs(pair, which):
    stream = pair.running()
    exchange(pair)
    pair.close(pair.ends[which])
    pair.settle()
    assert {end.core.phase for end in pair.ends} == {Phase.IDLE}
    assert "its key server closed it" in pair.ends[which].ended[stream]
    assert "the other end closed it" in pair.ends[1 - which].ended[stream]
    pair.running()


def test_what_was_sent_before_the_close_arrived_is_dropped(pair):
    first = pair.running()
    pair.produce(pair.b)
    pair.send_frame(pair.b)
    pair.close(pair.a)
    second = pair.open()
    pair.settle()
    pair.join(pair.b, second)
    pair.settle()
    exchange(pair, 2)
    assert pair.a.accepted[first] == pair.b.accepted[first] == []
    assert len(pair.a.accepted[second]) == len(pair.b.accepted[second]) == 2


def test_opening_closes_what_was_open(pair):
    first = pair.running()
    pair.running()
    assert "opened another" in pair.a.ended[first]
    assert first in pair.b.ended


@pytest.mark.parametrize("which", [0, 1])
def test_an_open_that_was_taken_back_before_it_was_met_accuses_nobody(pair, which):
    stream = pair.open()
    pair.join(pair.b, stream)
    pair.close(pair.ends[which])
    other = pair.ends[1 - which]
    pair.receive(other)  # the Open, not yet the Close
    assert other.core.phase is Phase.RUNNING
    pair.produce(other)
    pair.send_frame(other)
    pair.settle()
    assert {end.core.phase for end in pair.ends} == {Phase.IDLE}
    pair.running()


def test_a_late_joiner_is_told(pair):
    late = pair.open()
    pair.close(pair.a)
    pair.settle()
    pair.open()
    pair.join(pair.b, late)
    pair.settle()
    assert "the other end closed it" in pair.b.ended[late]
    assert pair.a.core.phase is Phase.OPENING


def test_a_late_joiner_is_told_also_while_nothing_else_is_open(pair):
    late = pair.open()
    pair.close(pair.a)
    pair.settle()
    pair.join(pair.b, late)
    pair.settle()
    assert "the other end closed it" in pair.b.ended[late]


@pytest.mark.parametrize("first", [0, 1])
def test_either_end_may_open_a_named_stream_first(pair, first):
    stream = pair.join(pair.ends[first], StreamId(b"n" * 16))
    pair.settle()
    assert pair.ends[1 - first].core.announced == Announcement(stream, CHUNK_BYTES)
    pair.join(pair.ends[1 - first], stream)
    pair.settle()
    exchange(pair, 2)
    assert len(pair.a.accepted[stream]) == len(pair.b.accepted[stream]) == 2


def test_of_two_streams_opened_at_once_the_initiators_stays(pair):
    theirs = pair.join(pair.b, StreamId(b"t" * 16))
    ours = pair.join(pair.a, StreamId(b"o" * 16))
    pair.settle()
    assert theirs in pair.b.ended
    pair.join(pair.b, ours)
    pair.settle()
    assert {end.core.phase for end in pair.ends} == {Phase.RUNNING}


def test_a_responders_stream_that_waits_is_closed_by_another_of_the_initiator(pair):
    theirs = pair.join(pair.b, StreamId(b"t" * 16))
    pair.settle()
    ours = pair.join(pair.a, StreamId(b"o" * 16))
    pair.settle()
    assert theirs in pair.b.ended
    pair.join(pair.b, ours)
    pair.settle()
    assert {end.core.phase for end in pair.ends} == {Phase.RUNNING}


def test_a_responders_stream_that_nobody_joins_ends(pair):
    theirs = pair.join(pair.b, StreamId(b"t" * 16))
    pair.settle()
    pair.pass_time(11)
    pair.settle()
    assert "did not join" in pair.b.ended[theirs]
    pair.running()


def test_nothing_is_opened_without_a_connection():
    with pytest.raises(DeviceError, match="no Sync connection"):
        ModulePair().open()


def test_a_stream_is_joined_with_the_openers_chunk_size(pair):
    stream = pair.open(CHUNK_BYTES)
    pair.settle()
    with pytest.raises(DeviceError, match=f"chunks of {CHUNK_BYTES} bytes"):
        pair.join(pair.b, stream, 2 * CHUNK_BYTES)


def test_two_chunk_sizes_that_cross_end_the_stream_at_both_ends(pair):
    stream = pair.open(CHUNK_BYTES)
    pair.join(pair.b, stream, 2 * CHUNK_BYTES)
    pair.settle()
    assert stream in pair.a.ended
    assert stream in pair.b.ended
    pair.running()


@pytest.mark.parametrize("chunk_bytes", [0, 31, 65537])
def test_a_chunk_size_beyond_the_limits_is_refused(pair, chunk_bytes):
    with pytest.raises(DeviceError, match="ask for 32 to 65536"):
        pair.open(chunk_bytes)


def test_a_stream_is_not_opened_twice(pair):
    stream = pair.running()
    with pytest.raises(DeviceError, match="opened before"):
        pair.join(pair.b, stream)
    pair.close(pair.b)
    with pytest.raises(DeviceError, match="opened before"):
        pair.join(pair.b, stream)
    other = pair.join(pair.b, StreamId(b"o" * 16))
    with pytest.raises(DeviceError, match="has ended"):
        pair.join(pair.b, stream)
    pair.settle()
    pair.join(pair.a, other)
    pair.settle()
    assert {end.core.phase for end in pair.ends} == {Phase.RUNNING}


def test_a_stream_that_nobody_joins_ends_in_time(pair):
    stream = pair.open()
    pair.settle()
    pair.pass_time(9.9)
    assert pair.a.core.phase is Phase.OPENING
    pair.pass_time(0.2)
    assert "did not join within 10 s" in pair.a.ended[stream]
    pair.settle()
    pair.running()


def test_a_cut_ends_the_stream_at_both_ends(pair):
    stream = pair.running()
    exchange(pair)
    pair.cut()
    assert all("the Sync connection ended: cut" in end.ended[stream] for end in pair.ends)
    pair.running()


def test_a_failing_device_ends_the_stream_at_both_ends(pair):
    stream = pair.running()
    pair.handle(pair.b, ev.DeviceFailed("no photons"))
    pair.settle()
    assert "no photons" in pair.b.ended[stream]
    assert stream in pair.a.ended


@pytest.mark.parametrize("which", [0, 1])
def test_a_stopped_exchange_ends_the_stream_at_both_ends_and_no_other_opens_until_it_is_started(pair, which):
    stream, end = pair.running(), pair.ends[which]
    exchange(pair)
    pair.handle(end, ev.SetExchange(False))
    pair.settle()
    assert "its exchange was stopped" in end.ended[stream]
    assert {other.core.phase for other in pair.ends} == {Phase.IDLE}
    with pytest.raises(DeviceError, match="qss module start"):
        pair.join(end, StreamId(b"n" * 16))
    pair.handle(end, ev.SetExchange(False))
    pair.handle(end, ev.SetExchange(True))
    pair.running()


def test_an_exchange_can_be_stopped_without_a_connection_and_stays_so():
    pair = ModulePair()
    pair.handle(pair.a, ev.SetExchange(False))
    pair.connect()
    assert not pair.a.core.exchange
    with pytest.raises(DeviceError, match="qss module start"):
        pair.open()


def test_chunks_fit_the_rate():
    assert [fitting_chunk(rate) for rate in (1, 511, 512, 10_000, 1e6, 1e12)] == [32, 32, 64, 1024, 65536, 65536]


def test_steps_that_the_tables_do_not_declare_raise():
    with pytest.raises(LocalProtocolError):
        after(Phase.RUNNING, Step.OPENED)
    with pytest.raises(RemoteProtocolError):
        peer_after(PeerPhase.JOINED, Step.OPENED)


# --- the block check ----------------------------------------------------------------------------------------------


def test_equal_blocks_are_accepted_by_both_and_an_unequal_one_is_burned_by_both(pair):
    stream = pair.running()
    pair.differing = {(stream, 1), (stream, 3)}
    exchange(pair, 6)
    for end in pair.ends:
        assert len(end.accepted[stream]) == 4
        assert end.burned == [(stream, 1), (stream, 3)]
        counts = end.core.counts
        assert (counts.accepted_blocks, counts.unequal_blocks, counts.unequal) == (4, 2, 2 * PAYLOAD_BYTES)
        assert counts.check == 6 * (BLOCK_BYTES - PAYLOAD_BYTES)


def test_one_verdict_is_not_enough(pair):
    stream = pair.running()
    pair.produce(pair.a)
    pair.produce(pair.b)
    pair.receive(pair.a)  # b's Check: a has judged, b has not
    assert pair.a.accepted[stream] == []
    pair.cut()
    assert pair.a.core.counts.unfinished_blocks == 1
    assert pair.a.core.counts.unfinished == PAYLOAD_BYTES


def altered(pair, old, new):
    """Let a block be checked; `old` from the initiator arrives as `new`. Return who was told of a broken protocol."""
    pair.produce(pair.a)
    pair.produce(pair.b)
    while pair.connected and (pair.a.outgoing or pair.b.outgoing):
        for end in pair.ends:
            out = pair.other(end).outgoing
            if end is pair.b and out and isinstance(out[0], type(old)):
                out[0] = new
            try:
                if out:
                    pair.receive(end)
            except RemoteProtocolError:
                pair.cut()
                return end
    return None


def test_a_changed_tag_burns_the_block_and_ends_the_connection(pair):
    stream = pair.running()
    assert altered(pair, sync.Check(0, TAG), sync.Check(0, TAG)) is not None
    assert pair.a.accepted[stream] == pair.b.accepted[stream] == []
    pair.running()


def test_a_changed_verdict_cannot_part_the_ends(pair):
    """One end has accepted the block, the other one noticed: nothing follows, so no chunk differs."""
    stream = pair.running()
    assert altered(pair, sync.Verdict(0, True), sync.Verdict(0, False)) is pair.b
    assert (len(pair.a.accepted[stream]), len(pair.b.accepted[stream])) == (1, 0)
    assert {end.core.phase for end in pair.ends} == {Phase.DOWN}


def test_a_changed_verdict_does_not_get_an_unequal_block_accepted(pair):
    stream = pair.running()
    pair.differing = {(stream, 0)}
    assert altered(pair, sync.Verdict(0, False), sync.Verdict(0, True)) is pair.b
    assert pair.a.accepted[stream] == pair.b.accepted[stream] == []


def test_a_block_out_of_turn_is_the_devices_failure(pair):
    stream = pair.running()
    exchange(pair)
    pair.a.produced = 5
    pair.produce(pair.a)
    assert "yielded block 5 after block 0" in pair.a.ended[stream]


def test_a_verdict_that_is_due_and_does_not_come_ends_stream_and_connection(pair):
    stream = pair.running()
    pair.produce(pair.a)
    pair.produce(pair.b)
    pair.receive(pair.a)
    pair.a.outgoing.clear()  # b never judges
    pair.pass_time(9.9)
    assert pair.connected
    pair.pass_time(0.2)
    assert "gave no verdict within 10 s" in pair.a.ended[stream]
    assert not pair.connected


def test_an_end_that_has_no_room_owes_no_verdict(pair):
    stream = pair.running()
    pair.produce(pair.a)
    pair.settle()
    pair.pass_time(3600)
    pair.produce(pair.b)
    pair.settle()
    assert len(pair.a.accepted[stream]) == 1


# --- a device that yields nothing ---------------------------------------------------------------------------------


def test_a_device_that_owes_a_block_for_long_is_told_once(pair):
    pair.running()
    pair.pass_time(59)
    assert pair.a.core.owed_s(pair.now) == 59
    assert pair.a.silences == []
    for _ in range(3):
        pair.pass_time(1)
    assert pair.a.silences == pair.b.silences == [60]
    assert pair.a.core.owed_s(pair.now) == 62
    pair.produce(pair.a)
    assert pair.a.core.owed_s(pair.now) == 0


def test_a_slow_device_is_told_again_only_when_it_is_far_slower_than_before(pair):
    pair.running()
    pair.pass_time(62)
    pair.produce(pair.a)
    pair.pass_time(4 * 62 - 1)
    assert pair.a.silences == [62]
    pair.pass_time(1)
    assert pair.a.silences == [62, 4 * 62]
    pair.close(pair.a)
    pair.settle()
    pair.running()
    pair.pass_time(60)
    assert pair.a.silences == [62, 4 * 62, 60], "each stream is judged by itself"


def test_a_device_that_is_not_asked_owes_nothing(pair):
    pair.running()
    for _ in range(BLOCKS_IN_CHECK):
        pair.produce(pair.a)
    pair.pass_time(3600)
    assert pair.a.core.owed_s(pair.now) == 0
    assert pair.a.silences == []
    assert pair.b.silences == [3600]
    pair.close(pair.b)
    assert pair.b.core.owed_s(pair.now) == 0


# --- limits -------------------------------------------------------------------------------------------------------


def test_the_device_waits_while_too_many_blocks_are_in_check(pair):
    pair.running()
    for _ in range(BLOCKS_IN_CHECK):
        assert pair.produce(pair.a)
    assert not pair.produce(pair.a)
    assert pair.a.core.counts.stalls == 1
    pair.settle()  # b takes as many without complaint
    pair.produce(pair.b)
    pair.settle()
    assert pair.produce(pair.a)


def test_the_device_waits_while_too_much_key_waits_and_nothing_is_lost():
    pair = ModulePair(held_bytes=3 * PAYLOAD_BYTES)
    pair.connect()
    stream = pair.running()
    exchange(pair, 3)
    assert not pair.produce(pair.a)
    assert pair.a.core.counts.stalls == 1
    for end in pair.ends:
        pair.pull(end)
    exchange(pair, 2)
    assert len(pair.a.accepted[stream]) == 5
    assert pair.a.core.counts.delivered == 3 * PAYLOAD_BYTES // CHUNK_BYTES * CHUNK_BYTES


def test_device_frames_need_credit_which_comes_as_they_are_taken(pair):
    pair.running()
    for _ in range(DEVICE_WINDOW):
        pair.send_frame(pair.a)
    assert not pair.a.core.may_send
    with pytest.raises(LocalProtocolError):
        pair.handle(pair.a, ev.FrameSent())
    pair.settle()
    for _ in range(DEVICE_WINDOW // 2 - 1):
        pair.take_frame(pair.b)
    pair.settle()
    assert not pair.a.core.may_send
    pair.take_frame(pair.b)
    pair.settle()
    assert pair.a.core.may_send


# --- peers that break the protocol --------------------------------------------------------------------------------


def responder(running: bool) -> Module:
    core = Module(sync.End.RESPONDER, ModuleSettings())
    core.handle(ev.Connected(), 0)
    core.handle(ev.Received(sync.Open(STREAM.value, sync.End.INITIATOR, 1024)), 0)
    if running:
        core.handle(ev.OpenStream(STREAM, 1024), 0)
        core.handle(ev.BlockRead(0, BLOCK_BYTES), 0)
        core.handle(ev.Tagged(0, PAYLOAD_BYTES, TAG, TAG), 0)
    return core


@pytest.mark.parametrize("message", [sync.Check(0, TAG), sync.Verdict(0, True), sync.Credit(1)])
def test_nothing_of_a_stream_may_come_while_the_peer_has_none_open(message):
    core = responder(running=False)
    assert core.handle(ev.Received(message), 0) == ()  # it may have met an Open that this end took back
    core.handle(ev.Received(sync.Close(STREAM.value)), 0)
    with pytest.raises(RemoteProtocolError, match="no key stream open"):
        core.handle(ev.Received(message), 0)


def test_no_device_frame_may_come_while_the_peer_has_no_stream_open():
    core = responder(running=False)
    assert core.handle(ev.FrameCame(0), 0) == ()
    core.handle(ev.Received(sync.Close(STREAM.value)), 0)
    with pytest.raises(RemoteProtocolError, match="no key stream open"):
        core.handle(ev.FrameCame(0), 0)


@pytest.mark.parametrize(
    "messages",
    [
        [sync.Open(STREAM.value, sync.End.RESPONDER, 1024)],
        [sync.Open(bytes(16), sync.End.INITIATOR, 1024)],
        [sync.Check(1, TAG)],
        [sync.Check(0, TAG), sync.Check(0, TAG)],
        [sync.Verdict(0, True)],
        [sync.Check(0, TAG), sync.Verdict(1, True)],
        [sync.Check(0, TAG), sync.Verdict(0, True), sync.Verdict(0, True)],
        [sync.Check(0, TAG), sync.Check(1, TAG), sync.Verdict(0, True), sync.Verdict(1, True)],
        [sync.Check(0, TAG), sync.Verdict(0, False)],
        [sync.Check(0, b"other tag......."), sync.Verdict(0, True)],
        [sync.Credit(1)],
        [sync.Check(number, TAG) for number in range(BLOCKS_IN_CHECK + 2)],
    ],
    ids=lambda messages: f"{len(messages)}-{messages[-1]!r}"[:60],
)
def test_messages_out_of_turn_and_replays_are_the_peers_fault(messages):
    core = responder(running=True)
    for message in messages[:-1]:
        core.handle(ev.Received(message), 0)
    with pytest.raises(RemoteProtocolError):
        core.handle(ev.Received(messages[-1]), 0)
    ended = core.handle(ev.Disconnected("broke the protocol"), 0)
    assert any(isinstance(effect, ev.EndStream) for effect in ended)
    assert core.phase is Phase.DOWN


def test_device_frames_beyond_the_window_are_the_peers_fault():
    core = responder(running=True)
    for handle in range(DEVICE_WINDOW):
        assert core.handle(ev.FrameCame(handle), 0) == (ev.ToDevice(handle),)
    with pytest.raises(RemoteProtocolError, match="without credit"):
        core.handle(ev.FrameCame(DEVICE_WINDOW), 0)


# --- shells that break the rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        ev.BlockRead(0, BLOCK_BYTES),
        ev.Tagged(0, PAYLOAD_BYTES, TAG, TAG),
        ev.DeviceFailed("no photons"),
        ev.FrameSent(),
        ev.FrameTaken(),
        ev.Received(sync.Credit(1)),
        ev.Disconnected("twice"),
    ],
)
def test_events_that_no_state_allows_are_our_own_fault(event):
    with pytest.raises(LocalProtocolError):
        Module(sync.End.INITIATOR, ModuleSettings()).handle(event, 0)


def test_only_the_block_that_was_asked_for_is_taken():
    core = responder(running=True)
    with pytest.raises(LocalProtocolError):
        core.handle(ev.Tagged(1, PAYLOAD_BYTES, TAG, TAG), 0)
    core.handle(ev.BlockRead(1, BLOCK_BYTES), 0)
    with pytest.raises(LocalProtocolError):
        core.handle(ev.BlockRead(2, BLOCK_BYTES), 0)
