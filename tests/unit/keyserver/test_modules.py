"""Which modules are registered and which pairs they may be pulled from for, step by step: docs/reference/qrp.md."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver.modules import (
    REGISTER_S,
    SILENCE_S,
    Attach,
    Connected,
    Detach,
    Disconnect,
    Disconnected,
    Effect,
    Effects,
    Event,
    Modules,
    PairPlan,
    Received,
    Send,
    SetExchange,
    Tick,
)
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import PairId, QkdmId, QksId
from qss.wire import qrp

ONE, OTHER, SECOND, UNKNOWN = (PairId(letter * 16) for letter in (b"1", b"2", b"3", b"4"))
B, C = QksId("B"), QksId("C")
A1, A2 = QkdmId("A/1"), QkdmId("A/2")
PLANS = (
    PairPlan(ONE, B, A1),
    PairPlan(OTHER, C, A2),
    PairPlan(SECOND, B, A1),
)
CARD = qrp.DeviceCard("simulator", True, 1000.0, None, True, False, 0, None, "")
PORTS = {A1: 4001, A2: 4002}


def register(module: QkdmId, *claims: tuple[PairId, QksId]) -> qrp.Register:
    return qrp.Register(
        module, tuple(qrp.Claim(pair.value, peer) for pair, peer in claims), CARD, "127.0.0.1", PORTS[module], "0.1.0"
    )


def state(pair: PairId) -> qrp.PairState:
    return qrp.PairState(pair.value, True, qrp.StreamPhase.IDLE, None, None, None, CARD, 0, {"read": 1}, {})


def attach(module: QkdmId, pair: PairId) -> Attach:
    return Attach(pair, module, "127.0.0.1", PORTS[module])


class Site:
    """The core with a clock, and what is attached as its effects have it."""

    def __init__(self) -> None:
        self.core = Modules(PLANS)
        self.now = 100.0
        self.attached: dict[PairId, QkdmId] = {}
        self.ended: set[int] = set()

    def __call__(self, event: Event, later: float = 0.0) -> Effects:
        self.now += later
        effects = self.core.handle(event, self.now)
        for effect in effects:
            self._note(effect)
        return effects

    def _note(self, effect: Effect) -> None:
        if isinstance(effect, Attach):
            assert effect.pair not in self.attached, "attached twice"
            self.attached[effect.pair] = effect.module
        elif isinstance(effect, Detach):
            del self.attached[effect.pair]  # fails where it was not attached
        elif isinstance(effect, Disconnect):
            assert effect.connection not in self.ended, "ended twice"
            self.ended.add(effect.connection)

    def register(self, number: int, module: QkdmId, *claims: tuple[PairId, QksId]) -> Effects:
        self(Connected(number, module))
        return self(Received(number, register(module, *claims)))


@pytest.fixture
def site() -> Site:
    return Site()


def refusal_of(effects: Sequence[Effect]) -> str:
    """Return the reason of a Register that was refused and led to nothing else."""
    send, end = effects
    assert isinstance(send, Send)
    assert isinstance(send.message, qrp.Refused)
    assert end == Disconnect(send.connection, send.message.reason)
    return send.message.reason


# --- registering --------------------------------------------------------------------------------------------------


def test_a_module_that_may_is_accepted_and_attached(site):
    assert site.register(1, A1, (ONE, B), (SECOND, B)) == (
        Send(1, qrp.Accepted(())),
        attach(A1, ONE),
        attach(A1, SECOND),
    )
    known = site.core.registration(ONE)
    assert (known.module, known.host, known.port, known.release, known.device, known.state) == (
        A1, "127.0.0.1", 4001, "0.1.0", CARD, None,
    )  # fmt: skip
    assert site.core.registration(OTHER) is None


def test_nothing_is_attached_before_the_register(site):
    assert site(Connected(1, A1)) == ()
    assert site.core.registration(ONE) is None


@pytest.mark.parametrize(
    ("module", "message", "reason"),
    [
        (A1, register(A2, (OTHER, C)), "the certificate names module A/1"),
        (A1, register(A1, (ONE, B), (ONE, B)), "claimed twice"),
        (A1, register(A1, (OTHER, C)), "is configured for module A/2 at this site, not for A/1"),
        (A1, register(A1, (ONE, B), (UNKNOWN, B)), "is not configured at this site"),
        (A1, register(A1, (ONE, C)), "leads to site B, not C"),
    ],
)
def test_what_a_module_may_not_claim_is_refused_whole(site, module, message, reason):
    site(Connected(1, module))
    assert reason in refusal_of(site(Received(1, message)))
    assert site.attached == {}
    assert site(Received(1, register(A1, (ONE, B)))) == ()  # what crosses the end
    assert site(Disconnected(1, "closed")) == ()


def test_of_two_modules_that_claim_a_pair_only_the_one_that_is_configured_for_it_gets_it(site):
    site.register(1, A1, (SECOND, B))
    assert "is configured for module" in refusal_of(site.register(2, A2, (SECOND, B)))
    assert site.attached == {SECOND: A1}
    site(Disconnected(1, "gone"))
    assert "is configured for module" in refusal_of(site.register(3, A2, (SECOND, B)))


def test_the_same_module_again_takes_the_place_of_its_older_connection(site):
    site.register(1, A1, (ONE, B))
    reason = "module A/1 has registered anew on another connection"
    assert site.register(2, A1, (ONE, B)) == (
        Send(1, qrp.Refused(reason)),
        Detach(ONE, reason),
        Disconnect(1, reason),
        Send(2, qrp.Accepted(())),
        attach(A1, ONE),
    )
    assert site(Disconnected(1, "closed")) == ()
    assert site.attached == {ONE: A1}


def test_a_refused_attempt_under_the_same_name_leaves_the_older_connection_alone(site):
    site.register(1, A1, (ONE, B))
    refusal_of(site.register(2, A1, (UNKNOWN, B)))
    assert site.attached == {ONE: A1}
    assert site.ended == {2}


def test_who_does_not_register_is_given_up(site):
    site(Connected(1, A1))
    assert site(Tick(), REGISTER_S) == ()
    (end,) = site(Tick(), 0.1)
    assert end == Disconnect(1, "module A/1 did not register within 5 s")
    assert site(Tick(), 60.0) == ()


# --- life and end -------------------------------------------------------------------------------------------------


def test_information_keeps_a_module_and_silence_ends_it(site):
    site.register(1, A1, (ONE, B))
    for _ in range(5):
        assert site(Received(1, qrp.Information((state(ONE),))), SILENCE_S) == ()
    assert site.core.registration(ONE).state == state(ONE)
    assert site(Tick(), SILENCE_S) == ()
    reason = "module A/1 was silent for 5 s"
    assert site(Tick(), 0.1) == (Detach(ONE, reason), Disconnect(1, reason))


def test_a_module_that_leaves_is_detached_at_once_and_heeded_no_more(site):
    site.register(1, A1, (ONE, B))
    reason = "module A/1 leaves: it stops"
    assert site(Received(1, qrp.Deregister("it stops"))) == (Detach(ONE, reason), Disconnect(1, reason))
    assert site(Received(1, qrp.Information((state(UNKNOWN),)))) == ()
    assert site(Disconnected(1, "closed")) == ()


def test_a_module_that_vanishes_is_detached_and_comes_back(site):
    site.register(1, A1, (ONE, B))
    assert site(Disconnected(1, "gone")) == (Detach(ONE, "gone"),)
    assert site.core.registration(ONE) is None
    assert attach(A1, ONE) in site.register(2, A1, (ONE, B))


@pytest.mark.parametrize(
    "message",
    [
        register(A1, (ONE, B)),
        qrp.Information(()),
        qrp.Information((state(SECOND),)),
        qrp.Information((state(ONE), state(ONE))),
        qrp.Information((state(ONE), state(OTHER))),
        qrp.Accepted(()),
        qrp.Refused(""),
        qrp.Start(ONE.value),
        qrp.Stop(ONE.value),
    ],
)
def test_a_module_that_breaks_the_protocol_is_found_out_and_changes_nothing(site, message):
    site.register(1, A1, (ONE, B))
    with pytest.raises(RemoteProtocolError):
        site(Received(1, message))
    assert site.core.registration(ONE).state is None
    assert site(Disconnected(1, "it broke the protocol")) == (Detach(ONE, "it broke the protocol"),)


def test_information_before_the_register_breaks_the_protocol(site):
    site(Connected(1, A1))
    with pytest.raises(RemoteProtocolError):
        site(Received(1, qrp.Information(())))


# --- the exchange -------------------------------------------------------------------------------------------------


def test_a_stop_detaches_first_and_a_start_attaches_last(site):
    site.register(1, A1, (ONE, B))
    assert site(SetExchange(ONE, False)) == (Detach(ONE, "its exchange was stopped"), Send(1, qrp.Stop(ONE.value)))
    assert not site.core.exchange_is_on(ONE)
    assert site(SetExchange(ONE, False)) == ()
    assert site(SetExchange(ONE, True)) == (Send(1, qrp.Start(ONE.value)), attach(A1, ONE))
    assert site(SetExchange(ONE, True)) == ()


def test_a_stop_outlives_the_modules_connection(site):
    site.register(1, A1, (ONE, B), (SECOND, B))
    site(SetExchange(ONE, False))
    assert site(Disconnected(1, "gone")) == (Detach(SECOND, "gone"),)
    assert site.register(2, A1, (ONE, B), (SECOND, B)) == (Send(2, qrp.Accepted((ONE.value,))), attach(A1, SECOND))
    assert site(SetExchange(ONE, True)) == (Send(2, qrp.Start(ONE.value)), attach(A1, ONE))


def test_a_pair_can_be_stopped_before_its_module_comes(site):
    assert site(SetExchange(ONE, False)) == ()
    assert site.register(1, A1, (ONE, B)) == (Send(1, qrp.Accepted((ONE.value,))),)


def test_a_pair_without_a_module_of_its_own_has_no_exchange_here(site):
    with pytest.raises(LocalProtocolError):
        site(SetExchange(UNKNOWN, False))


# --- any order ----------------------------------------------------------------------------------------------------

CLAIMS = st.lists(st.sampled_from([(ONE, B), (OTHER, C), (SECOND, B), (UNKNOWN, B)]), min_size=1, max_size=3)
ACTIONS = st.one_of(
    st.tuples(st.just("register"), st.sampled_from([A1, A2]), CLAIMS),
    st.tuples(st.just("inform"), st.integers(0, 5)),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("vanish"), st.integers(0, 5)),
    st.tuples(st.just("exchange"), st.sampled_from([ONE, OTHER, SECOND]), st.booleans()),
    st.tuples(st.just("wait"), st.floats(0, 6)),
)


@given(st.lists(ACTIONS, max_size=40))
def test_in_any_order_a_pair_is_attached_exactly_while_a_module_holds_it_and_its_exchange_is_on(actions):
    site, numbers, live, claims = Site(), iter(range(100)), [], {}
    for action in actions:
        match action:
            case ("register", module, wanted):
                number = next(numbers)
                live.append(number)
                claims[number] = [pair for pair, _ in wanted]
                site.register(number, module, *wanted)
            case ("exchange", pair, on):
                site(SetExchange(pair, on))
            case ("wait", seconds):
                site(Tick(), seconds)
            case (what, which) if which < len(live):
                number = live[which]
                if what == "vanish" or number in site.ended:
                    live.remove(number)
                    site(Disconnected(number, "gone"))
                elif what == "inform":
                    site(Received(number, qrp.Information(tuple(map(state, claims[number])))))
                else:
                    site(Received(number, qrp.Deregister("it stops")))
        held = {pair: site.core.registration(pair) for pair in (ONE, OTHER, SECOND)}
        assert site.attached == {
            pair: known.module for pair, known in held.items() if known is not None and site.core.exchange_is_on(pair)
        }
        assert all(
            known is None or known.module == plan.module for known, plan in zip(held.values(), PLANS, strict=True)
        )
