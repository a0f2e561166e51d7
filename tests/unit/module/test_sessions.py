"""What each call of ETSI GS QKD 004 is answered, and to whom, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qss.core.module import calls
from qss.core.module.calls import Announcement
from qss.core.module.phases import Phase
from qss.core.module.sessions import METADATA_ROOM, Sessions, Standing, metadata_room
from qss.model.identifiers import QksId, StreamId
from qss.wire.etsi004.messages import QoS
from qss.wire.etsi004.status import Status
from support.session_world import NAMED, World


@pytest.fixture
def world() -> World:
    return World()


# --- OPEN_CONNECT ---------------------------------------------------------------------------------------------------


def test_null_is_answered_at_once_with_a_new_name(world):
    call = world.open()
    assert world.status(call) is Status.PEER_NOT_CONNECTED
    assert world.opened(call).value[6] >> 4 == 4
    assert world.qos(call).timeout == 5000


def test_two_nulls_are_two_streams(world):
    first = world.opened(world.open())
    second = world.opened(world.open())
    assert first != second
    assert world.ended == [first]


def test_a_name_that_the_peer_has_announced_is_joined_with_its_chunk_size(world):
    world.change(announced=Announcement(NAMED, 512))
    call = world.open(stream=NAMED, qos=QoS(key_chunk_size=4096))
    assert world.status(call) is Status.SUCCESS
    assert world.qos(call).key_chunk_size == 512


def test_a_predefined_name_waits_for_the_peer_until_it_has_opened_too(world):
    call = world.open(stream=NAMED)
    assert world.status(call) is None
    world.change(phase=Phase.RUNNING)
    assert world.status(call) is Status.SUCCESS


def test_a_predefined_name_waits_at_most_for_its_timeout(world):
    call = world.open(stream=NAMED, qos=QoS(timeout=2000))
    assert world.core.wake_at == world.now + 2
    world.pass_time(1.9)
    assert world.status(call) is None
    world.pass_time(0.2)
    assert world.status(call) is Status.PEER_NOT_CONNECTED
    assert world.opened(call) == NAMED
    world.change(phase=Phase.RUNNING, ready=1)
    assert world.status(world.get(NAMED, 0)) is Status.SUCCESS


def test_an_open_fails_with_timeout_when_the_modules_lose_each_other(world):
    call = world.open(stream=NAMED)
    world.change(phase=Phase.DOWN)
    assert world.status(call) is Status.TIMEOUT
    assert world.core.standing is None


def test_nothing_is_opened_without_a_connection_to_the_peer_module(world):
    world.change(phase=Phase.DOWN)
    assert world.status(world.open()) is Status.NO_QKD_CONNECTION


@pytest.mark.parametrize(("site", "peer"), [("B", "A"), ("A", "C"), ("C", None), (None, "A"), ("", "B")])
def test_sites_that_this_link_does_not_join_are_refused(world, site, peer):
    assert world.status(world.open(site=site, peer=peer)) is Status.NO_QKD_CONNECTION
    assert world.status(world.open(site="A", peer="B")) is Status.PEER_NOT_CONNECTED


def test_qos_that_cannot_be_met_opens_nothing_and_is_countered(world):
    call = world.open(qos=QoS(key_chunk_size=1 << 20, min_bps=10**9), stream=NAMED)
    assert world.status(call) is Status.QOS_NOT_MET
    assert (world.qos(call).key_chunk_size, world.qos(call).min_bps) == (65_536, 1_000_000)
    assert world.core.standing is None
    again = world.open(qos=world.qos(call))
    assert world.status(again) is Status.PEER_NOT_CONNECTED
    assert world.qos(again) == world.qos(call)


def test_an_unsupported_mimetype_is_answered_with_the_preferred_one(world):
    call = world.open(qos=QoS(metadata_mimetype="text/xml"))
    assert world.status(call) is Status.QOS_NOT_MET
    assert world.qos(call).metadata_mimetype == "application/json"


def test_a_refused_open_leaves_the_callers_stream_as_it_was(world):
    stream = world.running(ready=1)
    assert world.status(world.open(qos=QoS(key_chunk_size=1))) is Status.QOS_NOT_MET
    assert world.status(world.get(stream, 0)) is Status.SUCCESS


def test_a_name_that_somebody_else_uses_is_in_use(world):
    stream = world.running()
    assert world.status(world.open(caller="mallory", stream=stream)) is Status.KSID_IN_USE


def test_a_module_that_somebody_else_uses_has_no_connection_to_give(world):
    world.running()
    assert world.status(world.open(caller="bob")) is Status.NO_QKD_CONNECTION
    assert world.status(world.open(caller="bob", stream=NAMED)) is Status.NO_QKD_CONNECTION


def test_a_module_that_a_key_server_in_its_process_uses_has_none_either(world):
    world.change(phase=Phase.RUNNING, stream=NAMED)
    assert world.status(world.open()) is Status.NO_QKD_CONNECTION


def test_a_stream_that_is_over_and_fetched_gives_way_to_another_caller(world):
    stream = world.running(ready=1)
    world.change(phase=Phase.IDLE)
    assert world.status(world.open(caller="bob")) is Status.NO_QKD_CONNECTION
    world.get(stream, 0)
    assert world.status(world.open(caller="bob")) is Status.PEER_NOT_CONNECTED


def test_a_name_that_was_used_before_is_in_use(world):
    world.refuses = True
    call = world.open(stream=NAMED)
    assert world.status(call) is Status.KSID_IN_USE
    assert world.core.standing is None


def test_opening_again_tells_the_registered_qos_and_changes_nothing(world):
    stream = world.running(ready=2, qos=QoS(key_chunk_size=64))
    world.get(stream, 0)
    call = world.open(stream=stream, qos=QoS(key_chunk_size=128))
    assert world.status(call) is Status.SUCCESS
    assert world.qos(call).key_chunk_size == 64
    assert world.status(world.get(stream, 1)) is Status.SUCCESS


def test_opening_again_while_the_first_open_waits_answers_both(world):
    first = world.open(stream=NAMED)
    second = world.open(stream=NAMED)
    world.change(phase=Phase.RUNNING)
    assert (world.status(first), world.status(second)) == (Status.TIMEOUT, Status.SUCCESS)


# --- GET_KEY --------------------------------------------------------------------------------------------------------


def test_chunks_are_given_in_order(world):
    stream = world.running(ready=3)
    assert [world.status(world.get(stream, index)) for index in range(3)] == [Status.SUCCESS] * 3
    assert world.taken == [0, 1, 2]


def test_key_is_waited_for(world):
    stream = world.running()
    call = world.get(stream, 0)
    assert world.status(call) is None
    world.change(ready=1)
    assert world.status(call) is Status.SUCCESS


def test_too_little_key_within_the_timeout_is_said_and_takes_nothing(world):
    stream = world.running()
    call = world.get(stream, 0)
    world.pass_time(5.1)
    assert world.status(call) is Status.INSUFFICIENT_KEY
    world.change(ready=1)
    assert world.taken == []
    assert world.status(world.get(stream, 0)) is Status.SUCCESS


def test_key_that_is_asked_for_before_the_peer_has_opened(world):
    stream = world.opened(world.open())
    call = world.get(stream, 0)
    world.pass_time(5.1)
    assert world.status(call) is Status.PEER_APPLICATION_NOT_CONNECTED
    call = world.get(stream, 0)
    world.change(phase=Phase.RUNNING, ready=1)
    assert world.status(call) is Status.SUCCESS


def test_modules_that_cannot_synchronise_answer_timeout(world):
    stream = world.opened(world.open())
    call = world.get(stream, 0)
    world.change(phase=Phase.DOWN)
    assert world.status(call) is Status.TIMEOUT
    assert world.status(world.get(stream, 0)) is Status.TIMEOUT


@pytest.mark.parametrize("index", [0, 2, 4, 5, 100, (1 << 32) - 1])
def test_an_index_in_the_past_or_ahead_is_refused_and_takes_nothing(world, index):
    stream = world.running(ready=10)
    for wanted in range(3):
        world.get(stream, wanted)
    if index == 2:
        return  # the one delivered last: see the next test
    call = world.get(stream, index)
    assert world.status(call) is Status.INSUFFICIENT_KEY
    assert world.answers[call].index == 3
    assert world.status(world.get(stream, 3)) is Status.SUCCESS
    assert world.taken == [0, 1, 2, 3]


def test_the_chunk_delivered_last_is_given_again_until_the_next_is_asked_for(world):
    stream = world.running(ready=1)
    world.get(stream, 0)
    for _ in range(3):
        assert isinstance(world.answers[world.get(stream, 0)], calls.Repeat)
    world.get(stream, 1)
    assert world.kept is None
    assert world.status(world.get(stream, 0)) is Status.INSUFFICIENT_KEY
    assert world.taken == [0]


def test_the_chunk_delivered_last_is_not_given_to_anybody_else(world):
    stream = world.running(ready=1)
    world.get(stream, 0)
    assert world.status(world.get(stream, 0, caller="mallory")) is Status.NO_QKD_CONNECTION


def test_an_answer_that_nobody_waits_for_takes_nothing(world):
    stream = world.running()
    call = world.get(stream, 0)
    world.handle(calls.CallerGone(call))
    world.change(ready=1)
    assert world.taken == []
    assert world.status(world.get(stream, 0)) is Status.SUCCESS


def test_a_newer_ask_takes_the_place_of_an_older_one(world):
    stream = world.running()
    old, new = world.get(stream, 0), world.get(stream, 0)
    assert world.status(old) is Status.TIMEOUT
    world.change(ready=1)
    assert world.status(new) is Status.SUCCESS


def test_streams_of_others_and_unknown_ones_are_answered_alike(world):
    stream = world.running(ready=1)
    others = [world.get(stream, 0, caller="mallory"), world.get(NAMED, 0), world.get(NAMED, 0, caller="mallory")]
    assert {world.status(call) for call in others} == {Status.NO_QKD_CONNECTION}
    assert {world.answers[call].index for call in others} == {0}
    assert world.status(world.close(stream, caller="mallory")) is Status.NO_QKD_CONNECTION
    assert world.status(world.get(stream, 0)) is Status.SUCCESS


def test_what_is_left_of_a_stream_that_has_ended_can_be_pulled(world):
    stream = world.running(ready=2)
    world.change(phase=Phase.IDLE)
    assert [world.status(world.get(stream, index)) for index in range(3)] == [
        Status.SUCCESS,
        Status.SUCCESS,
        Status.NO_QKD_CONNECTION,
    ]


def test_a_stream_that_ends_while_key_is_waited_for(world):
    stream = world.running()
    call = world.get(stream, 0)
    world.change(phase=Phase.DOWN)
    assert world.status(call) is Status.NO_QKD_CONNECTION


def test_the_last_index_ends_the_stream(world):
    stream = world.running(ready=10)
    vars(world.core)["_session"].next = (1 << 32) - 1
    assert world.status(world.get(stream, (1 << 32) - 1)) is Status.SUCCESS
    assert world.status(world.get(stream, (1 << 32) - 1)) is Status.SUCCESS, "again"
    assert world.status(world.get(stream, 0)) is Status.INSUFFICIENT_KEY


# --- metadata -------------------------------------------------------------------------------------------------------

JSON = QoS(metadata_mimetype="application/json")


def test_metadata_is_given_where_it_was_agreed_and_there_is_room(world):
    stream = world.running(ready=3, qos=JSON)
    given = [world.answers[world.get(stream, index, metadata_size=size)] for index, size in enumerate((31, 1024, 0))]
    assert [answer.with_metadata for answer in given] == [True, True, False]


def test_too_little_room_for_metadata_takes_no_key(world):
    stream = world.running(ready=1, qos=JSON)
    call = world.get(stream, 0, metadata_size=METADATA_ROOM - 1)
    assert world.status(call) is Status.METADATA_TOO_LARGE
    assert world.answers[call].room == METADATA_ROOM
    assert world.taken == []
    assert world.status(world.get(stream, 0, metadata_size=METADATA_ROOM)) is Status.SUCCESS


def test_more_room_is_needed_where_key_can_pass_more_repeaters():
    world = World(core=Sessions(QksId("A"), QksId("B"), metadata_room(15)))
    stream = world.running(ready=1, qos=JSON)
    assert metadata_room(15) == METADATA_ROOM + 1
    call = world.get(stream, 0, metadata_size=METADATA_ROOM)
    assert world.answers[call].room == METADATA_ROOM + 1
    assert world.status(world.get(stream, 0, metadata_size=METADATA_ROOM + 1)) is Status.SUCCESS


def test_without_a_mimetype_there_is_no_metadata_whatever_room_there_is(world):
    stream = world.running(ready=1)
    assert world.answers[world.get(stream, 0, metadata_size=1)] == calls.Take(2, 0, with_metadata=False)


# --- ends -----------------------------------------------------------------------------------------------------------


def test_close_destroys_what_is_left_and_forgets_the_stream(world):
    stream = world.running(ready=5)
    world.get(stream, 0)
    waiting = world.close(stream)
    assert world.status(waiting) is Status.SUCCESS
    assert (world.ended, world.kept, world.core.standing) == ([stream], None, None)
    assert world.status(world.get(stream, 0)) is Status.NO_QKD_CONNECTION
    assert world.status(world.close(stream)) is Status.NO_QKD_CONNECTION


def test_close_answers_whoever_waits_for_key(world):
    stream = world.running()
    call = world.get(stream, 0)
    world.close(stream)
    assert world.status(call) is Status.NO_QKD_CONNECTION


def test_the_other_ends_close_leaves_the_key_until_this_end_closes(world):
    stream = world.running(ready=3)
    world.change(phase=Phase.IDLE)
    world.pass_time(500)
    assert world.status(world.get(stream, 0)) is Status.SUCCESS
    world.close(stream)
    assert world.ended == [stream]


@pytest.mark.parametrize("ended", [False, True])
def test_key_that_nobody_fetches_lasts_for_its_ttl(world, ended):
    stream = world.running(ready=3, qos=QoS(ttl=60))
    if ended:
        world.change(phase=Phase.IDLE)
    world.pass_time(59)
    world.get(stream, 0)
    world.pass_time(59)
    assert world.status(world.get(stream, 1)) is Status.SUCCESS
    assert world.core.wake_at == world.now + 60
    world.pass_time(60.5)
    assert world.ended == [stream]
    assert world.status(world.get(stream, 2)) is Status.NO_QKD_CONNECTION
    assert world.core.wake_at is None


# --- the standard's call cases --------------------------------------------------------------------------------------


class Network:
    """Both ends' sessions, and modules that meet, or cannot."""

    def __init__(self) -> None:
        self.a, self.b = World(), World()

    def synchronise(self) -> None:
        """Tell each end what the other has open, as Sync does; ends with the same stream run."""
        for near, far in ((self.a, self.b), (self.b, self.a)):
            if far.view.stream is not None and far.view.phase in (Phase.OPENING, Phase.RUNNING):
                near.change(announced=Announcement(far.view.stream, 512))
        if self.a.view.stream is not None and self.a.view.stream == self.b.view.stream:
            self.a.change(phase=Phase.RUNNING, ready=1)
            self.b.change(phase=Phase.RUNNING, ready=1)

    def lose(self) -> None:
        for end in (self.a, self.b):
            end.change(phase=Phase.DOWN, announced=None)


def keys(network: Network, stream: StreamId) -> set[Status | None]:
    calls_ = (network.a.get(stream, 0), network.b.get(stream, 0))
    for end in (network.a, network.b):
        end.pass_time(5.1)
    return {network.a.status(calls_[0]), network.b.status(calls_[1])}


def test_case_1_no_predefined_name(  # V2.1.1, figure of case 1
) -> None:
    network = Network()
    opening = network.a.open(qos=QoS(key_chunk_size=512))
    assert network.a.status(opening) is Status.PEER_NOT_CONNECTED
    stream = network.a.opened(opening)
    network.synchronise()
    joining = network.b.open(stream=stream)
    network.synchronise()
    assert network.b.status(joining) is Status.SUCCESS
    assert network.b.qos(joining).key_chunk_size == 512
    assert keys(network, stream) == {Status.SUCCESS}
    assert network.a.status(network.a.close(stream)) is Status.SUCCESS
    assert network.b.status(network.b.close(stream)) is Status.SUCCESS


def test_case_2_no_predefined_name_and_the_modules_do_not_synchronise() -> None:
    network = Network()
    stream = network.a.opened(network.a.open())
    network.b.open(stream=stream)
    network.b.pass_time(5.1)
    network.lose()
    assert keys(network, stream) == {Status.TIMEOUT}


@pytest.mark.parametrize("first", ["a", "b"])
def test_case_3_a_predefined_name_in_either_order(first: str) -> None:
    network = Network()
    other = "b" if first == "a" else "a"
    one = getattr(network, first).open(stream=NAMED, qos=QoS(key_chunk_size=512))
    network.synchronise()
    two = getattr(network, other).open(stream=NAMED, qos=QoS(key_chunk_size=512))
    network.synchronise()
    assert getattr(network, first).status(one) is Status.SUCCESS
    assert getattr(network, other).status(two) is Status.SUCCESS
    assert keys(network, NAMED) == {Status.SUCCESS}


def test_case_4_a_predefined_name_and_the_modules_do_not_synchronise() -> None:
    network = Network()
    for end in (network.a, network.b):
        end.open(stream=NAMED)
        end.pass_time(5.1)
    network.lose()
    assert keys(network, NAMED) == {Status.TIMEOUT}


# --- any order ------------------------------------------------------------------------------------------------------

CALLERS = st.sampled_from(["alice", "alice", "bob"])


class AnyOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order: each chunk once and in order, to one caller, and every call is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.streams: list[StreamId] = [NAMED]
        self.owner: dict[StreamId, str] = {}
        self.asked: list[int] = []

    @rule(caller=CALLERS, named=st.booleans(), ttl=st.sampled_from([0, 3]), chunk=st.sampled_from([0, 64, 1]))
    def open(self, caller, named, ttl, chunk):
        stream = self.streams[-1] if named else None
        call = self.world.open(caller, QoS(key_chunk_size=chunk, ttl=ttl), stream)
        self.asked.append(call)
        self._registered(call, caller)

    def _registered(self, call, caller):
        answer = self.world.answers.get(call)
        if isinstance(answer, calls.AnswerOpen) and answer.status in (Status.SUCCESS, Status.PEER_NOT_CONNECTED):
            self.streams.append(answer.stream)

    @rule(caller=CALLERS, back=st.integers(1, 3), ahead=st.integers(-2, 2), size=st.sampled_from([0, 1, 100]))
    def get(self, caller, back, ahead, size):
        stream = self.streams[-min(back, len(self.streams))]
        session = vars(self.world.core)["_session"]
        mine = session is not None and (session.stream, session.caller) == (stream, caller)
        following = session.next if mine else 0
        taken = len(self.world.taken)
        call = self.world.get(stream, max(0, following + ahead), caller, size)
        self.asked.append(call)
        if len(self.world.taken) > taken:
            assert mine, "somebody else's chunk"
            assert self.world.taken[-1] == following

    @rule(caller=CALLERS, back=st.integers(1, 3))
    def close(self, caller, back):
        self.asked.append(self.world.close(self.streams[-min(back, len(self.streams))], caller))

    @precondition(lambda self: self.asked)
    @rule(back=st.integers(1, 3))
    def leave(self, back):
        call = self.asked[-min(back, len(self.asked))]
        self.world.handle(calls.CallerGone(call))
        self.world.answers.setdefault(call, calls.AnswerClose(call, Status.SUCCESS))

    @precondition(lambda self: self.world.view.phase is Phase.OPENING)
    @rule()
    def meet(self):
        self.world.change(phase=Phase.RUNNING)

    @precondition(lambda self: self.world.view.phase is Phase.RUNNING)
    @rule(count=st.integers(1, 3))
    def distil(self, count):
        self.world.change(ready=self.world.view.ready + count)

    @rule(phase=st.sampled_from([Phase.IDLE, Phase.DOWN]))
    def end(self, phase):
        self.world.change(phase=phase, announced=None)

    @rule()
    def refuse_next(self):
        self.world.refuses = True

    @rule(seconds=st.sampled_from([0.1, 2.0, 6.0]))
    def pass_time(self, seconds):
        self.world.pass_time(seconds)

    @invariant()
    def nothing_is_overdue(self):
        wake_at = self.world.core.wake_at
        assert wake_at is None or wake_at >= self.world.now

    def teardown(self):
        for _ in range(3):
            self.world.pass_time(700)
        assert self.world.core.standing is None, "a session outlives its TTL"
        assert [call for call in self.asked if call not in self.world.answers] == []
        assert self.world.kept is None


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_session_says_where_it_stands(world):
    world.running()
    assert world.core.standing is Standing.RUNNING
