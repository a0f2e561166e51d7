"""A module's registration at its key server, step by step: docs/reference/qrp.md."""

from __future__ import annotations

import itertools

import pytest

from qss.core.module.registration import (
    ACCEPT_S,
    INFORM_S,
    Connected,
    Disconnect,
    Disconnected,
    Effects,
    Event,
    Inform,
    Leave,
    Phase,
    Received,
    Registration,
    Send,
    SetExchange,
    Step,
    Tick,
    after,
)
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import PairId
from qss.wire import qrp

ONE, OTHER, FOREIGN = PairId(b"1" * 16), PairId(b"2" * 16), PairId(b"3" * 16)
CARD = qrp.DeviceCard("simulator", False, 1000.0, 0.0, True, False, 0, None, "")
REGISTER = qrp.Register(
    "A/1", (qrp.Claim(ONE.value, "B"), qrp.Claim(OTHER.value, "C")), CARD, "127.0.0.1", 4004, "0.1.0"
)


class Asking:
    """A registration with a clock."""

    def __init__(self) -> None:
        self.core = Registration(REGISTER)
        self.now = 100.0

    def __call__(self, event: Event, later: float = 0.0) -> Effects:
        self.now += later
        return self.core.handle(event, self.now)


@pytest.fixture
def asking() -> Asking:
    made = Asking()
    made(Connected())
    return made


@pytest.fixture
def registered(asking: Asking) -> Asking:
    asking(Received(qrp.Accepted(())))
    return asking


def test_a_module_registers_as_soon_as_it_is_connected():
    assert Asking()(Connected()) == (Send(REGISTER),)


def test_once_accepted_it_runs_what_is_not_stopped_and_says_how_it_is(asking):
    assert asking(Received(qrp.Accepted((OTHER.value,)))) == (
        SetExchange(ONE, True),
        SetExchange(OTHER, False),
        Inform(),
    )
    assert asking.core.phase is Phase.REGISTERED


def test_information_goes_out_every_second(registered):
    assert registered(Tick(), INFORM_S / 2) == ()
    assert registered(Tick(), INFORM_S / 2) == (Inform(),)
    assert registered(Tick(), INFORM_S / 2) == ()
    assert registered(Tick(), INFORM_S / 2) == (Inform(),)


def test_the_exchange_stops_and_starts_and_each_is_answered_by_information(registered):
    assert registered(Received(qrp.Stop(ONE.value))) == (SetExchange(ONE, False), Inform())
    assert registered(Received(qrp.Start(ONE.value))) == (SetExchange(ONE, True), Inform())


def test_a_key_server_that_does_not_answer_is_left(asking):
    assert asking(Tick(), ACCEPT_S) == ()
    (end,) = asking(Tick(), 0.1)
    assert isinstance(end, Disconnect)
    assert asking(Received(qrp.Accepted(()))) == ()  # too late
    assert asking(Disconnected()) == ()
    assert asking(Connected()) == (Send(REGISTER),)


@pytest.mark.parametrize("phase", ["asking", "registered"])
def test_a_refusal_ends_the_connection_with_its_reason(phase, request):
    asking = request.getfixturevalue(phase)
    assert asking(Received(qrp.Refused("not configured"))) == (
        Disconnect("the key server refused this module: not configured"),
    )
    assert asking(Tick(), 10.0) == ()


@pytest.mark.parametrize("phase", ["asking", "registered"])
def test_a_module_that_stops_says_so(phase, request):
    asking = request.getfixturevalue(phase)
    assert asking(Leave("it stops")) == (Send(qrp.Deregister("it stops")),)
    assert asking(Leave("it stops")) == ()


def test_a_module_that_stops_without_a_connection_says_nothing():
    assert Asking()(Leave("it stops")) == ()


def test_a_lost_connection_changes_no_exchange_and_the_next_registers_anew(registered):
    registered(Received(qrp.Stop(ONE.value)))
    assert registered(Disconnected()) == ()
    assert registered(Tick(), 60.0) == ()
    assert registered(Connected()) == (Send(REGISTER),)
    assert registered(Tick(), ACCEPT_S) == ()


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ("asking", qrp.Start(ONE.value)),
        ("asking", qrp.Stop(ONE.value)),
        ("asking", qrp.Accepted((FOREIGN.value,))),
        ("asking", REGISTER),
        ("registered", qrp.Accepted(())),
        ("registered", qrp.Start(FOREIGN.value)),
        ("registered", qrp.Stop(FOREIGN.value)),
        ("registered", qrp.Information(())),
        ("registered", qrp.Deregister("")),
    ],
)
def test_a_key_server_that_breaks_the_protocol_is_found_out_and_changes_nothing(phase, message, request):
    asking = request.getfixturevalue(phase)
    before = asking.core.phase
    with pytest.raises(RemoteProtocolError):
        asking(Received(message))
    assert asking.core.phase is before


def test_steps_that_are_not_declared_are_refused():
    declared = 0
    for phase, step in itertools.product(Phase, Step):
        try:
            after(phase, step)
        except LocalProtocolError:
            continue
        declared += 1
    assert declared == 7
