"""The steps of a transfer at one site, one by one (Relay 4.1 to 4.5, and what begins and ends there)."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from qss.core.relay import events as ev
from qss.core.relay.phases import Phase
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import QksId, TransferId
from qss.model.relay_policy import Hop
from qss.wire.relay import Arrived, Begin, Failed, Reason
from support.one_relay import LENGTH, D, OneRelay, R, S, X, begin, name_of

B = begin()
T = name_of(B)


def failed(site: QksId, reason: Reason) -> Failed:
    return Failed(B.transfer, site, reason)


def sends(effects: ev.Effects) -> dict[QksId, tuple[object, ...]]:
    return {effect.peer: effect.messages for effect in effects if isinstance(effect, ev.Send)}


def others(effects: ev.Effects) -> list[ev.Effect]:
    return [effect for effect in effects if not isinstance(effect, ev.Send)]


# --- 4.1: the source ------------------------------------------------------------------------------------------------


def test_the_source_sends_begin_and_draws() -> None:
    assert OneRelay(S)(ev.Start(B)) == (ev.Send(R, (B,)), ev.Draw(R, T, LENGTH, Hop.ONE_TIME_PAD, False))


def test_an_urgent_one_by_another_strategy_draws_so() -> None:
    message = begin(urgent=True, hop="aes-256-gcm", length=4000)
    assert ev.Draw(R, T, 4000, Hop.AES_256_GCM, True) in OneRelay(S)(ev.Start(message))


def test_a_neighbour_can_be_the_destination_too() -> None:
    one = OneRelay(S)
    message = begin(S, R)
    assert sends(one(ev.Start(message))) == {R: (message,)}
    assert one.ready(R, message) == (ev.Pass(T, message, 0, None, R),)


def test_a_source_that_cannot_begin_says_so_at_once_and_changes_nothing() -> None:
    one = OneRelay(S, connected=False)
    assert one(ev.Start(B)) == (ev.Failed(T, S, Reason.UNREACHABLE), ev.Forget(T))
    assert one(ev.Start(begin(S, D))) == (ev.Failed(T, S, Reason.REFUSED), ev.Forget(T))
    assert not one.core.phases


@pytest.mark.parametrize("path", [(R, S), (R, D), (D, S, R)])
def test_what_is_another_s_to_start_is_a_defect(path: tuple[str, ...]) -> None:
    with pytest.raises(LocalProtocolError, match="not this site's"):
        OneRelay(S)(ev.Start(begin(*path)))


def test_a_second_start_is_a_defect() -> None:
    one = OneRelay(S)
    one(ev.Start(B))
    with pytest.raises(LocalProtocolError, match="twice"):
        one(ev.Start(B))


# --- 4.2: Begin -----------------------------------------------------------------------------------------------------


def test_a_repeater_sends_begin_on_as_it_came_and_draws() -> None:
    assert OneRelay().said(S, B) == (ev.Send(D, (B,)), ev.Draw(D, T, LENGTH, Hop.ONE_TIME_PAD, False))


def test_a_destination_says_nothing_and_draws_nothing() -> None:
    assert OneRelay(D).said(R, B) == ()


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        pytest.param(S, begin(S, D), id="not on the path"),
        pytest.param(D, B, id="not right after the sender"),
        pytest.param(X, begin(S, X, D, R), id="after another"),
        pytest.param(S, begin(R, S, D), id="before the sender"),
        pytest.param(S, begin(S, R, D, S), id="a site twice"),
        pytest.param(S, begin(S, R, "Q", D), id="on to no neighbour"),
        pytest.param(S, begin(share=1), id="more shares than there are"),
        pytest.param(S, begin(hop="rot-13"), id="an unknown strategy"),
    ],
)
def test_a_begin_that_fails_a_check_is_answered_by_failed(sender: QksId, message: Begin) -> None:
    one = OneRelay()
    assert one.said(sender, message) == (
        ev.Send(sender, (failed(R, Reason.REFUSED),)),
        ev.Dropped(sender, T, ev.DropReason.REFUSED),
    )
    assert not one.core.phases


def test_who_lets_nobody_s_paths_through_still_begins_and_ends_them() -> None:
    one = OneRelay(transit=False)
    assert sends(one.said(S, B)) == {S: (failed(R, Reason.REFUSED),)}
    assert one.said(S, begin(S, R)) == ()
    assert sends(one(ev.Start(begin(R, D, number=1)))) == {D: (begin(R, D, number=1),)}


def test_a_next_site_that_is_not_connected_is_unreachable() -> None:
    one = OneRelay()
    one(ev.Disconnected(D))
    assert sends(one.said(S, B)) == {S: (failed(R, Reason.UNREACHABLE),)}
    one(ev.Connected(D))
    assert sends(one.said(S, B)) == {D: (B,)}


def test_neighbours_can_change() -> None:
    one = OneRelay()
    one(ev.NeighboursAre(frozenset((S, X))))
    assert sends(one.said(S, B)) == {S: (failed(R, Reason.REFUSED),)}


# --- 4.3 to 4.5: what is carried ------------------------------------------------------------------------------------


def test_the_source_passes_its_content_when_its_key_is_ready() -> None:
    one = OneRelay(S)
    one(ev.Start(B))
    assert one.ready(R, B) == (ev.Pass(T, B, 0, None, R),)
    assert one(ev.Passed(T)) == (ev.EndDraw(R, T, ours=True, used=True),)
    assert one.said(R, Arrived(B.transfer)) == (ev.Arrived(T), ev.Forget(T))
    assert not one.core.phases


@pytest.mark.parametrize("order", ["ioc", "ico", "oic", "oci", "cio", "coi"])
def test_a_repeater_passes_it_on_when_both_ranges_and_carry_are_here(order: str) -> None:
    one = OneRelay()
    one.said(S, B)
    steps = {"i": lambda: one.ready(S, B), "o": lambda: one.ready(D, B), "c": lambda: one.carried(S, B)}
    kept = {"c": (ev.Keep(T),)}
    for step in order[:2]:
        assert steps[step]() == kept.get(step, ())
    assert steps[order[2]]() == (*kept.get(order[2], ()), ev.Pass(T, B, 1, S, D))
    assert one(ev.Passed(T)) == (ev.EndDraw(S, T, ours=False, used=True), ev.EndDraw(D, T, ours=True, used=True))
    assert one.said(D, Arrived(B.transfer)) == (ev.Send(S, (Arrived(B.transfer),)), ev.Forget(T))
    assert not one.core.phases


def test_the_destination_keeps_it_says_so_and_forgets_it_when_it_was_taken() -> None:
    one = OneRelay(D)
    assert one.passing(B) == (ev.Keep(T), ev.Pass(T, B, 2, R, None))
    assert one(ev.Passed(T)) == (
        ev.Send(R, (Arrived(B.transfer),)),
        ev.EndDraw(R, T, ours=False, used=True),
        ev.Came(B),
    )
    assert one.core.phases == {Phase.HELD: 1}
    assert one(ev.Taken(T)) == (ev.Forget(T),)
    assert one(ev.Taken(T)) == ()
    assert not one.core.phases


def test_content_that_nobody_takes_is_forgotten_without_a_word() -> None:
    one = OneRelay(D)
    one.passed(B)
    assert one.after(29.9) == ()
    assert one.after(0.2) == (ev.Forget(T),)
    assert not one.core.phases


def test_a_second_carry_breaks_the_protocol_whatever_became_of_the_first() -> None:
    for way in (OneRelay.gathering, OneRelay.passing, OneRelay.passed):
        one = OneRelay()
        way(one, B)
        if way is OneRelay.gathering:
            one.carried(S, B)
        before = one.core.phases
        with pytest.raises(RemoteProtocolError, match="second Carry"):
            one.carried(S, B)
        assert one.core.phases == before


@pytest.mark.parametrize("length", [LENGTH - 1, LENGTH + 1])
def test_carry_of_another_length_than_begin_said_breaks_the_protocol(length: int) -> None:
    one = OneRelay()
    one.said(S, B)
    with pytest.raises(RemoteProtocolError, match=f"{length} bytes after a Begin of {LENGTH}"):
        one(ev.CarryCame(S, T, length))


def test_the_shell_cannot_pass_on_what_was_not_to_be() -> None:
    for way in (lambda _, __: (), OneRelay.gathering, OneRelay.passed):
        for event in (ev.Passed(T), ev.PassFailed(T, Reason.TAMPERED)):
            one = OneRelay()
            way(one, B)
            with pytest.raises(LocalProtocolError, match="was not to be"):
                one(event)


# --- 4.7: void, or not known ----------------------------------------------------------------------------------------


def test_what_comes_of_a_transfer_that_is_not_known_is_passed_over() -> None:
    one = OneRelay()
    unknown = (ev.Dropped(S, T, ev.DropReason.UNKNOWN),)
    assert one.carried(S, B) == unknown
    assert one.said(S, Arrived(B.transfer)) == unknown
    assert one.said(S, failed(S, Reason.LATE)) == unknown


def test_what_comes_of_a_transfer_that_is_void_is_passed_over() -> None:
    one = OneRelay()
    one.said(S, B)
    one.said(S, failed(S, Reason.LATE))
    assert one.core.phases == {Phase.VOID: 1}, "a draw is not answered yet"
    assert one.carried(S, B) == (ev.Dropped(S, T, ev.DropReason.UNKNOWN),)
    assert one.said(D, failed(D, Reason.LATE)) == (ev.Dropped(D, T, ev.DropReason.UNKNOWN),)
    assert one.said(D, Arrived(B.transfer)) == (ev.Dropped(D, T, ev.DropReason.UNKNOWN),)


@pytest.mark.parametrize("event", [ev.Received(S, Arrived(B.transfer)), ev.CarryCame(S, T, LENGTH)])
def test_a_message_without_a_connection_is_a_defect(event: ev.Event) -> None:
    with pytest.raises(LocalProtocolError, match="without a connection"):
        OneRelay(connected=False)(event)


def test_connections_come_and_go_in_turn() -> None:
    one = OneRelay()
    with pytest.raises(LocalProtocolError, match="twice"):
        one(ev.Connected(S))
    one(ev.Disconnected(S))
    with pytest.raises(LocalProtocolError, match="there was not"):
        one(ev.Disconnected(S))


def test_a_tag_that_is_wrong_voids_the_transfer_and_its_key_is_used() -> None:
    one = OneRelay()
    one.passing(B)
    effects = one(ev.PassFailed(T, Reason.TAMPERED))
    assert sends(effects) == dict.fromkeys((S, D), (failed(R, Reason.TAMPERED),))
    assert others(effects) == [
        ev.EndDraw(S, T, ours=False, used=True),
        ev.EndDraw(D, T, ours=True, used=True),
        ev.Forget(T),
    ]
    assert not one.core.phases


# --- a defect changes nothing for the next event ----------------------------------------------------------------------


def test_what_a_refused_event_left_is_not_done_later() -> None:
    one = OneRelay()
    one.passing(B)
    with pytest.raises(RemoteProtocolError):
        one.carried(S, B)
    assert one(ev.Tick()) == ()


def test_events_can_be_compared_so_that_a_run_can_be_written_down() -> None:
    assert ev.Start(B) == ev.Start(msgspec.structs.replace(B))
    assert replace(ev.KeyReady(S, T, ours=True), transfer=TransferId(b"u" * 16)) != ev.KeyReady(S, T, ours=True)
