"""Which QKD modules are registered, and which device pairs the QKS pulls from (QRP, the side of the QKS).

A connection's state, as far as QRP goes::

    state        what it means                                     leaves it
    ───────────  ────────────────────────────────────────────────  ──────────────────────────────────────────────────
    EXPECTED     connected; its Register has not come              REGISTERED ▶ REGISTERED, GIVEN_UP ▶ GIVEN_UP
    REGISTERED   it holds the pairs that it claimed                INFORMED ▶ REGISTERED, GIVEN_UP ▶ GIVEN_UP
    GIVEN_UP     refused, replaced, silent or gone: being ended    —

Whatever comes on a connection that is given up is passed over: it crossed the end. A pair is *attached* while a
connection that is REGISTERED holds it and its exchange is on.

Refused here: a module's word for who it is. The shell takes the name from the certificate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import PairId, QkdmId, QksId
from qss.wire import qrp as wire

REGISTER_S = 5.0
"""How long a connection may be without Register (QRP 2.1)."""

SILENCE_S = 5.0
"""How long a module may be silent (QRP 4.2)."""


@dataclass(frozen=True, slots=True)
class PairPlan:
    """A device pair as it is configured: where it leads, and the one module that may register it."""

    pair: PairId
    peer: QksId
    module: QkdmId


# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """A module of this site has connected: its name is that of its certificate. `connection` was never used before."""

    connection: int
    module: QkdmId


@dataclass(frozen=True, slots=True)
class Received:
    """A message came on this connection."""

    connection: int
    message: wire.Message


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection has ended."""

    connection: int
    reason: str


@dataclass(frozen=True, slots=True)
class SetExchange:
    """An administrator turns the exchange of a pair on or off."""

    pair: PairId
    on: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Connected | Received | Disconnected | SetExchange | Tick

# --- effects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message on this connection."""

    connection: int
    message: wire.Message


@dataclass(frozen=True, slots=True)
class Attach:
    """Pull key of this pair from `module`, which answers 004 at `host` and `port`."""

    pair: PairId
    module: QkdmId
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Detach:
    """Pull key of this pair no more."""

    pair: PairId
    reason: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End this connection, once what was sent has left."""

    connection: int
    reason: str


Effect = Send | Attach | Detach | Disconnect
Effects = tuple[Effect, ...]

# --- state --------------------------------------------------------------------------------------------------------


class State(StrEnum):
    """A connection's state."""

    EXPECTED = "expected"
    REGISTERED = "registered"
    GIVEN_UP = "given up"


class Step(StrEnum):
    """What changes a connection's state."""

    REGISTERED = "registered"
    INFORMED = "informed"
    GIVEN_UP = "given up"


_AFTER: dict[tuple[State, Step], State] = {
    (State.EXPECTED, Step.REGISTERED): State.REGISTERED,
    (State.EXPECTED, Step.GIVEN_UP): State.GIVEN_UP,
    (State.REGISTERED, Step.INFORMED): State.REGISTERED,
    (State.REGISTERED, Step.GIVEN_UP): State.GIVEN_UP,
}


@dataclass(slots=True)
class _Connection:
    module: QkdmId
    heard_at: float
    state: State = State.EXPECTED
    register: wire.Register | None = None
    states: dict[PairId, wire.PairState] = field(default_factory=dict)

    def step(self, step: Step) -> None:
        if (self.state, step) not in _AFTER:
            raise RemoteProtocolError(f"module {self.module} {step} on a connection that is {self.state}")
        self.state = _AFTER[self.state, step]


@dataclass(frozen=True, slots=True)
class Registration:
    """What is known of the module that holds a pair."""

    module: QkdmId
    host: str
    port: int
    release: str
    device: wire.DeviceCard
    state: wire.PairState | None
    """What its last Information said; None before the first."""


class Modules:
    """The modules of one site. `handle` is the only way in, effects the only way out; queries change nothing."""

    def __init__(self, plans: Iterable[PairPlan]) -> None:
        self._plans: Mapping[PairId, PairPlan] = {plan.pair: plan for plan in plans}
        self._connections: dict[int, _Connection] = {}
        self._holders: dict[PairId, int] = {}
        self._stopped: set[PairId] = set()
        self._effects: list[Effect] = []

    def handle(self, event: Event, now: float) -> Effects:
        """Take in what happened at `now` (seconds, never falling) and return what is to be done, in order.

        Raises `RemoteProtocolError` if a module broke the protocol: its connection is to be ended, and `Disconnected`
        follows. Nothing was changed then.
        """
        self._effects.clear()
        match event:
            case Connected(connection, module):
                self._connected(connection, module, now)
            case Received(connection, message):
                self._received(connection, message, now)
            case Disconnected(connection, reason):
                self._disconnected(connection, reason)
            case SetExchange(pair, on):
                self._set_exchange(pair, on=on)
            case Tick():
                self._tick(now)
            case _:
                assert_never(event)
        return tuple(self._effects)

    # --- queries --------------------------------------------------------------------------------------------------

    def exchange_is_on(self, pair: PairId) -> bool:
        """Whether the exchange of a pair is on, as far as this QKS is concerned."""
        return pair not in self._stopped

    def registration(self, pair: PairId) -> Registration | None:
        """Return what is known of the module that holds a pair; None if none does."""
        number = self._holders.get(pair)
        if number is None:
            return None
        connection = self._connections[number]
        register = connection.register
        assert register is not None
        return Registration(
            connection.module, register.host, register.port, register.release, register.device,
            connection.states.get(pair),
        )  # fmt: skip

    # --- connections ----------------------------------------------------------------------------------------------

    def _connected(self, number: int, module: QkdmId, now: float) -> None:
        if number in self._connections:
            raise LocalProtocolError(f"connection {number} came twice")
        self._connections[number] = _Connection(module, now)

    def _disconnected(self, number: int, reason: str) -> None:
        """QRP 5.2."""
        self._release(number, reason)
        del self._connections[number]

    def _tick(self, now: float) -> None:
        for number, connection in self._connections.items():
            silent_s = now - connection.heard_at
            if connection.state is State.EXPECTED and silent_s > REGISTER_S:
                self._give_up(number, f"module {connection.module} did not register within {REGISTER_S:g} s")
            elif connection.state is State.REGISTERED and silent_s > SILENCE_S:
                self._give_up(number, f"module {connection.module} was silent for {SILENCE_S:g} s")

    def _give_up(self, number: int, reason: str) -> None:
        self._connections[number].step(Step.GIVEN_UP)
        self._release(number, reason)
        self._effects.append(Disconnect(number, reason))

    def _release(self, number: int, reason: str) -> None:
        """Detach what this connection holds."""
        for pair in [pair for pair, holder in self._holders.items() if holder == number]:
            del self._holders[pair]
            if pair not in self._stopped:
                self._effects.append(Detach(pair, reason))

    # --- messages -------------------------------------------------------------------------------------------------

    def _received(self, number: int, message: wire.Message, now: float) -> None:
        connection = self._connections[number]
        if connection.state is State.GIVEN_UP:
            return
        match message:
            case wire.Register():
                self._register(number, connection, message)
            case wire.Information(pairs):
                self._informed(connection, pairs)
            case wire.Deregister(reason):
                self._give_up(number, f"module {connection.module} leaves: {reason}")  # QRP 5.1
            case wire.Accepted() | wire.Refused() | wire.Start() | wire.Stop():
                raise RemoteProtocolError(f"module {connection.module} sent what only a key server may send")
            case _:
                assert_never(message)
        connection.heard_at = now

    def _register(self, number: int, connection: _Connection, register: wire.Register) -> None:
        if connection.state is not State.EXPECTED:
            raise RemoteProtocolError(f"module {connection.module} registered twice on one connection")
        refusal = self._refusal(connection.module, register)
        if refusal:
            self._refuse(number, refusal)
            return
        for older, other in self._connections.items():  # QRP 2.3
            if other.module == connection.module and other.state is State.REGISTERED:
                self._refuse(older, f"module {connection.module} has registered anew on another connection")
        connection.step(Step.REGISTERED)
        connection.register = register
        pairs = [PairId(claim.pair) for claim in register.claims]
        stopped = tuple(pair.value for pair in pairs if pair in self._stopped)
        self._effects.append(Send(number, wire.Accepted(stopped)))
        for pair in pairs:
            self._holders[pair] = number
            if pair not in self._stopped:
                self._attach(pair, connection)

    def _refusal(self, module: QkdmId, register: wire.Register) -> str:
        """Return why a Register is refused, else nothing (QRP 2.2)."""
        if register.module != module:
            return f"the certificate names module {module}; register by that name, or with the other's certificate"
        if len({claim.pair for claim in register.claims}) < len(register.claims):
            return "a pair was claimed twice; name each once"
        for claim in register.claims:
            pair = PairId(claim.pair)
            plan = self._plans.get(pair)
            if plan is None:
                return f"pair {pair} is not configured at this site; add it to [[links.modules]], or correct the UUID"
            if plan.module != module:
                return (
                    f"pair {pair} is configured for module {plan.module} at this site, not for {module}; correct the "
                    "pair in that module's file, or the module in [[links.modules]]"
                )
            if claim.destination != plan.peer:
                return f"pair {pair} leads to site {plan.peer}, not {claim.destination}; correct the module's peer"
        return ""

    def _refuse(self, number: int, reason: str) -> None:
        self._effects.append(Send(number, wire.Refused(wire.plain(reason))))
        self._give_up(number, reason)

    def _informed(self, connection: _Connection, states: tuple[wire.PairState, ...]) -> None:
        """QRP 4.1."""
        connection.step(Step.INFORMED)
        assert connection.register is not None
        if sorted(state.pair for state in states) != sorted(claim.pair for claim in connection.register.claims):
            raise RemoteProtocolError(f"module {connection.module} told of other pairs than it has claimed")
        connection.states = {PairId(state.pair): state for state in states}

    # --- the exchange ---------------------------------------------------------------------------------------------

    def _set_exchange(self, pair: PairId, *, on: bool) -> None:
        """QRP 3.3: detach before Stop, attach after Start."""
        if pair not in self._plans:
            raise LocalProtocolError(f"pair {pair} has no module of its own")
        if on is (pair not in self._stopped):
            return
        (self._stopped.discard if on else self._stopped.add)(pair)
        number = self._holders.get(pair)
        if number is None:
            return
        if on:
            self._effects.append(Send(number, wire.Start(pair.value)))
            self._attach(pair, self._connections[number])
        else:
            self._effects.append(Detach(pair, "its exchange was stopped"))
            self._effects.append(Send(number, wire.Stop(pair.value)))

    def _attach(self, pair: PairId, connection: _Connection) -> None:
        assert connection.register is not None
        self._effects.append(Attach(pair, connection.module, connection.register.host, connection.register.port))
