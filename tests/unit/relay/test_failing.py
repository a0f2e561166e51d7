"""How a transfer fails at one site: who is told, whom a neighbour can name, what is given up (Relay 4.8 and 4.9)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qss.core.relay import events as ev
from qss.core.relay.phases import Phase
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId
from qss.wire.relay import Arrived, Failed, Reason
from support.one_relay import D, OneRelay, R, S, X, begin, name_of

B = begin()
T = name_of(B)
Way = Callable[[OneRelay, object], ev.Effects]
LIVE = [OneRelay.gathering, OneRelay.passing, OneRelay.passed]


def failed(site: str, reason: Reason = Reason.SHORTAGE) -> Failed:
    return Failed(B.transfer, site, reason)


def sends(effects: ev.Effects) -> dict[QksId, tuple[object, ...]]:
    return {effect.peer: effect.messages for effect in effects if isinstance(effect, ev.Send)}


def ends(effects: ev.Effects) -> list[ev.EndDraw]:
    return [effect for effect in effects if isinstance(effect, ev.EndDraw)]


def settled(one: OneRelay) -> list[ev.EndDraw]:
    """Have the shell answer what it owes of Draw or Pass, and return which ranges end by that."""
    ended = []
    if one.core.phases == {Phase.VOID: 1}:
        try:
            ended += ends(one(ev.Passed(T)))
        except LocalProtocolError:  # it was not asked to
            ended += ends(one.ready(D, B))
    assert not one.core.phases
    return ended


# --- what is counted --------------------------------------------------------------------------------------------------


def test_a_site_counts_what_of_others_could_not_go_on_there_and_nothing_else() -> None:
    one = OneRelay()
    one.gathering(B)
    one.said(D, failed(D))  # it failed beyond
    assert one.core.failed_here == {}
    again, stranger, lost = begin(number=1), begin(S, R, "Y", number=2), begin(number=3)
    one.gathering(again)
    one.denied(D, again)
    one.gathering(stranger)
    one(ev.Disconnected(D))
    one.gathering(lost)
    assert one.core.failed_here == {Reason.SHORTAGE: 1, Reason.REFUSED: 1, Reason.UNREACHABLE: 1}


def test_a_source_counts_no_transfer_of_its_own_as_others() -> None:
    one = OneRelay(S)
    one.gathering(B)
    one.denied(R, B)
    assert one.core.failed_here == {}


# --- 4.8: who is told, and what is given up ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", LIVE)
@pytest.mark.parametrize(("peer", "other"), [(S, D), (D, S)])
def test_failed_is_sent_on_and_all_is_given_up(way: Way, peer: QksId, other: QksId) -> None:
    one = OneRelay()
    way(one, B)
    effects = one.said(peer, failed(peer))
    assert sends(effects) == {other: (failed(peer),)}
    assert effects.count(ev.Forget(T)) == 1
    used = way is not OneRelay.gathering
    given_up = ends(effects) + settled(one)
    if way is OneRelay.passed:
        assert given_up == []
    else:
        assert {(each.peer, each.used) for each in given_up} == ({(S, True), (D, True)} if used else {(D, False)})


def test_a_range_that_was_ready_is_given_up_unused_at_once() -> None:
    one = OneRelay()
    one.said(S, B)
    one.ready(S, B)
    assert ends(one.said(S, failed(S))) == [ev.EndDraw(S, T, ours=False, used=False)]
    assert one.core.phases == {Phase.VOID: 1}
    assert one.ready(D, B) == (ev.EndDraw(D, T, ours=True, used=False),)
    assert not one.core.phases


def test_a_draw_that_is_denied_after_all_settles_it_too() -> None:
    one = OneRelay()
    one.said(S, B)
    one.said(S, failed(S))
    assert one.denied(D, B) == ()
    assert not one.core.phases


def test_what_is_being_passed_is_forgotten_and_its_key_ended_when_that_is_done() -> None:
    for answer in (ev.Passed(T), ev.PassFailed(T, Reason.TAMPERED)):
        one = OneRelay()
        one.passing(B)
        assert ends(one.said(D, failed(D))) == []
        assert one(answer) == (ev.EndDraw(S, T, ours=False, used=True), ev.EndDraw(D, T, ours=True, used=True))
        assert not one.core.phases


def test_the_source_is_answered_once() -> None:
    one = OneRelay(S)
    one.gathering(B)
    assert one.said(R, failed(D, Reason.LIMIT)) == (ev.Failed(T, D, Reason.LIMIT), ev.Forget(T))
    assert one(ev.GiveUp(T)) == ()
    assert one.ready(R, B) == (ev.EndDraw(R, T, ours=True, used=False),)
    assert not one.core.phases


def test_a_destination_forgets_content_that_its_neighbour_says_is_void() -> None:
    one = OneRelay(D)
    one.passed(B)
    assert one.said(R, failed(S, Reason.LATE)) == (ev.Forget(T),)
    assert one(ev.Taken(T)) == ()
    assert not one.core.phases


@pytest.mark.parametrize(("peer", "denied"), [(S, S), (D, D)])
@pytest.mark.parametrize("reason", Reason)
def test_key_that_is_not_had_fails_the_transfer_here(peer: QksId, denied: QksId, reason: Reason) -> None:
    one = OneRelay()
    one.said(S, B)
    effects = one.denied(denied, B, reason)
    assert sends(effects) == dict.fromkeys((S, D), (failed(R, reason),))
    assert ev.Forget(T) in effects


@pytest.mark.parametrize("peer", [S, D])
def test_key_that_is_taken_back_fails_the_transfer_and_is_ended_as_ever(peer: QksId) -> None:
    one = OneRelay()
    one.said(S, B)
    one.ready(peer, B)
    effects = one.denied(peer, B)
    assert sends(effects) == dict.fromkeys((S, D), (failed(R),))
    assert ends(effects) == [ev.EndDraw(peer, T, ours=peer == D, used=False)]
    one = OneRelay()
    one.passing(B)
    assert ends(one.denied(peer, B)) == []
    assert [each.used for each in ends(one(ev.Passed(T)))] == [True, True]
    assert not one.core.phases
    one = OneRelay()
    one.passed(B)
    assert one.denied(peer, B) == (), "it was used, and ended"


# --- 4.8: whom a neighbour can name -----------------------------------------------------------------------------------

LONG = ("A", "Q", S, R, D, "P", "B")


@pytest.mark.parametrize(
    ("peer", "named", "believed"),
    [
        (S, S, S),
        (S, "Q", "Q"),
        (S, "A", "A"),
        (S, R, S),
        (S, D, S),
        (S, "B", S),
        (S, "elsewhere", S),
        (D, D, D),
        (D, "P", "P"),
        (D, "B", "B"),
        (D, R, D),
        (D, S, D),
        (D, "A", D),
        (D, "elsewhere", D),
    ],
)
def test_a_neighbour_is_believed_as_to_itself_and_what_lies_beyond_it(peer: str, named: str, believed: str) -> None:
    one = OneRelay()
    message = begin(*LONG)
    one.said(S, message)
    effects = one.said(QksId(peer), Failed(message.transfer, named, Reason.SHORTAGE))
    assert [*sends(effects).values()] == [(Failed(message.transfer, believed, Reason.SHORTAGE),)]


def test_the_source_hears_of_no_site_that_its_neighbour_cannot_know() -> None:
    one = OneRelay(S)
    one.gathering(B)
    assert ev.Failed(T, R, Reason.TAMPERED) in one.said(R, failed(S, Reason.TAMPERED))


# --- 4.9: time, connections, and the site itself ----------------------------------------------------------------------


@pytest.mark.parametrize("way", LIVE)
def test_a_transfer_is_given_up_some_time_after_begin(way: Way) -> None:
    one = OneRelay()
    way(one, B)
    assert one.after(3.9) == ()
    effects = one.after(0.2)
    assert sends(effects) == dict.fromkeys((S, D), (failed(R, Reason.LATE),))
    settled(one)
    assert one.after(60.0) == ()


def test_the_source_s_asker_can_give_up_before() -> None:
    one = OneRelay(S)
    one.gathering(B)
    assert one(ev.GiveUp(T)) == (
        ev.Send(R, (failed(S, Reason.LATE),)),
        ev.Failed(T, S, Reason.LATE),
        ev.Forget(T),
    )


def test_only_the_source_s_asker_can_give_up() -> None:
    one = OneRelay()
    one.gathering(B)
    assert one(ev.GiveUp(T)) == ()
    assert one.core.phases == {Phase.GATHERING: 1}


@pytest.mark.parametrize("way", LIVE)
@pytest.mark.parametrize(("lost", "other"), [(S, D), (D, S)])
def test_a_transfer_ends_at_once_with_a_connection_that_it_needs(way: Way, lost: QksId, other: QksId) -> None:
    one = OneRelay()
    way(one, B)
    assert sends(one(ev.Disconnected(lost))) == {other: (failed(R, Reason.UNREACHABLE),)}
    settled(one)


def test_a_connection_that_it_does_not_need_may_end() -> None:
    one = OneRelay()
    one.gathering(B)
    assert one(ev.Disconnected(X)) == ()
    one = OneRelay(D)
    one.passed(B)
    assert one(ev.Disconnected(R)) == (), "Arrived was said, and the source may have heard it"
    assert one(ev.Taken(T)) == (ev.Forget(T),)


def test_a_site_that_leaves_fails_what_goes_on_forgets_the_rest_and_takes_nothing_new() -> None:
    one = OneRelay()
    held, passed, early = begin(S, R, number=1), begin(number=2), begin(number=3)
    one.passed(held)
    one.passed(passed)
    one.gathering(B)
    one.ready(S, early)
    effects = one(ev.Leave())
    assert sends(effects) == {
        peer: (Failed(passed.transfer, R, Reason.STOPPED), failed(R, Reason.STOPPED)) for peer in (S, D)
    }
    assert ends(effects) == [ev.EndDraw(S, name_of(early), ours=False, used=False)]
    assert {effect.transfer for effect in effects if isinstance(effect, ev.Forget)} == {
        T,
        name_of(held),
        name_of(passed),
    }
    assert one.core.phases == {Phase.VOID: 1}
    assert sends(one.said(S, begin(number=4))) == {S: (Failed(begin(number=4).transfer, R, Reason.STOPPED),)}
    mine = begin(R, D, number=5)
    assert one(ev.Start(mine)) == (ev.Failed(name_of(mine), R, Reason.STOPPED), ev.Forget(name_of(mine)))
    late = begin(number=6)
    assert ends(one.ready(S, late)) == [ev.EndDraw(S, name_of(late), ours=False, used=False)]
    one.denied(D, B)
    assert not one.core.phases
    assert not one.core.early


def test_arrived_counts_from_downstream_and_after_carry_alone() -> None:
    for way in (OneRelay.gathering, OneRelay.passing):
        one = OneRelay()
        way(one, B)
        assert one.said(D, Arrived(B.transfer)) == (ev.Dropped(D, T, ev.DropReason.UNKNOWN),)
    one = OneRelay()
    one.passed(B)
    for peer in (S, X):
        assert one.said(peer, Arrived(B.transfer)) == (ev.Dropped(peer, T, ev.DropReason.UNKNOWN),)
    assert one.core.phases == {Phase.PASSED: 1}
