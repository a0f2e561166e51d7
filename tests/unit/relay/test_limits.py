"""Key before its Begin, how much of all a neighbour may have, and names that are used twice (Relay 4.9 to 4.11)."""

from __future__ import annotations

import pytest

from qss.core.relay import events as ev
from qss.core.relay.phases import Phase
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId
from qss.wire.relay import Arrived, Failed, Reason
from support.one_relay import LENGTH, D, OneRelay, R, S, X, begin, name_of

B = begin()
T = name_of(B)
OTHER = begin(X, R, D)
"""Another path, the same name."""


def failed(reason: Reason, number: int = 0) -> Failed:
    return Failed(begin(number=number).transfer, R, reason)


def sends(effects: ev.Effects) -> dict[QksId, tuple[object, ...]]:
    return {effect.peer: effect.messages for effect in effects if isinstance(effect, ev.Send)}


def unused(peer: QksId, number: int = 0, *, ours: bool = False) -> ev.EndDraw:
    return ev.EndDraw(peer, name_of(begin(number=number)), ours, used=False)


# --- early key --------------------------------------------------------------------------------------------------------


def test_key_may_be_ready_before_its_begin() -> None:
    one = OneRelay()
    assert one.ready(S, B) == ()
    assert one.core.early == 1
    one.said(S, B)
    assert one.core.early == 0
    one.ready(D, B)
    assert one.carried(S, B) == (ev.Keep(T), ev.Pass(T, B, 1, S, D))


def test_early_key_whose_begin_does_not_come_is_given_up_after_as_long_as_a_transfer_may_take() -> None:
    one = OneRelay()
    one.ready(S, B)
    one.now += 1.0
    one.ready(S, begin(number=1))
    assert one.after(3.9) == ()
    assert one.after(0.2) == (unused(S), ev.Dropped(S, T, ev.DropReason.UNCLAIMED))
    assert one.after(1.0) == (unused(S, 1), ev.Dropped(S, name_of(begin(number=1)), ev.DropReason.UNCLAIMED))
    assert one.core.early == 0


def test_early_key_is_of_the_neighbour_that_drew_it_alone() -> None:
    one = OneRelay()
    one.ready(X, OTHER)
    one.said(S, B)
    assert one.core.early == 1
    one.ready(D, B)
    assert one.carried(S, B) == (ev.Keep(T),), "key of its own is awaited"


def test_a_begin_whose_draw_is_known_to_have_failed_is_not_taken() -> None:
    one = OneRelay()
    assert one.denied(S, B, Reason.LIMIT) == ()
    assert sends(one.said(S, B)) == {S: (failed(Reason.LIMIT),)}
    assert one.core.early == 0
    assert one.denied(S, begin(number=1)) == ()
    assert one.after(5.0) == ()
    assert one.core.early == 0


def test_early_key_that_is_taken_back_is_ended_as_ever() -> None:
    one = OneRelay()
    one.ready(S, B)
    assert one.denied(S, B) == (unused(S),)
    assert sends(one.said(S, B)) == {S: (failed(Reason.SHORTAGE),)}
    one.denied(S, B)
    assert one.ready(S, B) == (), "it was drawn anew"
    assert D in sends(one.said(S, B))


def test_early_key_of_a_begin_that_is_refused_is_given_up() -> None:
    one = OneRelay(transit=False)
    one.ready(S, B)
    assert unused(S) in one.said(S, B)
    assert one.core.early == 0


def test_a_neighbour_has_so_much_early_key_and_no_more() -> None:
    one = OneRelay(max_early_of_neighbour=2)
    for number in range(2):
        assert one.ready(S, begin(number=number)) == ()
    beyond = name_of(begin(number=2))
    assert one.ready(S, begin(number=2)) == (unused(S, 2), ev.Dropped(S, beyond, ev.DropReason.LIMIT))
    assert one.denied(S, begin(number=3)) == ()
    assert one.core.early == 2
    assert one.ready(X, OTHER) == (), "others are not concerned"
    one.said(S, begin(number=0))
    assert one.ready(S, begin(number=2)) == ()


def test_a_shell_that_tells_twice_of_one_draw_or_of_one_that_was_not_asked_for_is_wrong() -> None:
    one = OneRelay()
    one.ready(S, B)
    with pytest.raises(LocalProtocolError, match="second draw"):
        one.ready(S, B)
    one = OneRelay()
    with pytest.raises(LocalProtocolError, match="not asked for"):
        one.ready(D, B)
    one.said(S, B)
    one.ready(D, B)
    with pytest.raises(LocalProtocolError, match="ready cannot be readied"):
        one.ready(D, B)


def test_key_that_no_transfer_can_use_is_given_up_at_once() -> None:
    one = OneRelay()
    one.passed(B)
    for peer in (S, X, D):  # used up; of no part in it; drawn in the wrong direction
        effects = one(ev.KeyReady(peer, T, ours=False))
        assert effects == (unused(peer), ev.Dropped(peer, T, ev.DropReason.UNCLAIMED))
        assert one(ev.KeyFailed(peer, T, ours=False, reason=Reason.SHORTAGE)) == ()
    assert one.core.phases == {Phase.PASSED: 1}


# --- 4.10: how many -----------------------------------------------------------------------------------------------


def test_a_neighbour_has_so_many_transfers_and_no_more() -> None:
    one = OneRelay(max_transfers_of_neighbour=2)
    for number in range(2):
        assert D in sends(one.said(S, begin(number=number)))
    assert one.said(S, begin(number=2)) == (
        ev.Send(S, (failed(Reason.LIMIT, 2),)),
        ev.Dropped(S, name_of(begin(number=2)), ev.DropReason.LIMIT),
    )
    assert D in sends(one.said(X, begin(X, R, D, number=3))), "others are not concerned"
    own = [begin(R, D, number=number) for number in (4, 5, 6)]
    assert [ev.Failed(name_of(each), R, Reason.LIMIT) in one(ev.Start(each)) for each in own] == [False, False, True]


def test_what_a_neighbour_s_transfers_carry_is_bounded_however_few_they_are() -> None:
    one = OneRelay(max_bytes_of_neighbour=3 * LENGTH)
    assert D in sends(one.said(S, begin(number=0, length=2 * LENGTH)))
    assert sends(one.said(S, begin(number=1, length=LENGTH + 1))) == {S: (failed(Reason.LIMIT, 1),)}
    assert D in sends(one.said(S, begin(number=2)))
    assert sends(one.said(S, begin(number=3))) == {S: (failed(Reason.LIMIT, 3),)}
    assert D in sends(one.said(X, begin(X, R, D, number=4))), "others are not concerned"
    one.denied(D, begin(number=0))
    assert D in sends(one.said(S, begin(number=5, length=2 * LENGTH)))
    own = [begin(R, D, number=number, length=2 * LENGTH) for number in (6, 7)]
    assert [ev.Failed(name_of(each), R, Reason.LIMIT) in one(ev.Start(each)) for each in own] == [False, True]


def test_what_is_void_counts_until_its_draw_is_answered_and_content_until_it_is_taken() -> None:
    one = OneRelay(max_transfers_of_neighbour=1)
    one.said(S, B)
    one.said(S, failed(Reason.LATE))
    assert sends(one.said(S, begin(number=1))) == {S: (failed(Reason.LIMIT, 1),)}
    one.denied(D, B)
    assert D in sends(one.said(S, begin(number=1)))
    one = OneRelay(max_transfers_of_neighbour=1)
    one.passed(begin(S, R))
    assert sends(one.said(S, begin(number=1))) == {S: (failed(Reason.LIMIT, 1),)}
    one(ev.Taken(T))
    assert D in sends(one.said(S, begin(number=1)))


# --- 4.11: names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [OneRelay.gathering, OneRelay.passing, OneRelay.passed])
def test_a_begin_under_a_name_that_is_in_use_is_refused_and_a_stranger_s_changes_nothing(way: object) -> None:
    one = OneRelay()
    way(one, B)  # type: ignore[operator]
    before = one.core.phases
    assert one.said(X, OTHER) == (
        ev.Send(X, (failed(Reason.REFUSED),)),
        ev.Dropped(X, T, ev.DropReason.REPEATED),
    )
    assert one.core.phases == before


def test_a_stranger_s_messages_under_a_name_that_is_in_use_are_passed_over() -> None:
    one = OneRelay()
    one.gathering(B)
    for event in (
        ev.Received(X, failed(Reason.LATE)),
        ev.Received(X, Arrived(B.transfer)),
        ev.CarryCame(X, T, LENGTH),
        ev.CarryCame(D, T, LENGTH),
        ev.Received(S, Arrived(B.transfer)),
    ):
        assert one(event) == (ev.Dropped(event.peer, T, ev.DropReason.UNKNOWN),)
    assert one.core.phases == {Phase.GATHERING: 1}


def test_a_neighbour_that_begins_again_has_forgotten_the_first_which_is_void() -> None:
    one = OneRelay()
    one.gathering(B)
    effects = one.said(S, B)
    assert sends(effects) == dict.fromkeys((S, D), (failed(Reason.REFUSED),))
    assert ev.Dropped(S, T, ev.DropReason.REPEATED) in effects
    assert one.carried(S, B) == (ev.Dropped(S, T, ev.DropReason.UNKNOWN),), "no breach: it was sent before the answer"


def test_content_stays_when_its_name_is_begun_again() -> None:
    one = OneRelay(D)
    one.passed(B)
    refused = Failed(B.transfer, D, Reason.REFUSED)
    assert one.said(R, B) == (ev.Send(R, (refused,)), ev.Dropped(R, T, ev.DropReason.REPEATED))
    assert one.carried(R, B) == (ev.Dropped(R, T, ev.DropReason.UNKNOWN),)
    assert one.core.phases == {Phase.HELD: 1}


def test_what_both_ends_of_a_link_draw_under_one_name_are_two_ranges() -> None:
    """One range for both would be a pad that is used twice, in either direction once."""
    one = OneRelay()
    there, back = B, begin(D, R, S)
    assert one(ev.KeyReady(D, T, ours=False)) == (), "drawn by D, for the way back"
    one.said(S, there)
    assert one.core.phases == {Phase.GATHERING: 1}
    one.carried(S, there)
    assert one.ready(S, there) == (), "its own is awaited still"
    assert one.said(D, back) == (
        ev.Send(D, (failed(Reason.REFUSED),)),
        ev.Dropped(D, T, ev.DropReason.REPEATED),
        unused(D),
    )
    assert one.ready(D, there) == (ev.Pass(T, there, 1, S, D),)


def test_a_name_can_come_again_when_all_of_it_is_forgotten() -> None:
    one = OneRelay()
    one.passed(B)
    one.said(D, Arrived(B.transfer))
    assert D in sends(one.said(S, B))
