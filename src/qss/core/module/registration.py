"""A module's registration at its key server (QRP, the module's side), as a state machine.

    phase       what it means                               leaves it
    ──────────  ──────────────────────────────────────────  ────────────────────────────────────────────────────────
    AWAY        no connection to the QKS                    CONNECTED ▶ ASKING
    ASKING      Register is sent                            ACCEPTED ▶ REGISTERED, ENDED ▶ ENDING, LOST ▶ AWAY
    REGISTERED  the QKS may pull, and hears Information     ENDED ▶ ENDING, LOST ▶ AWAY
    ENDING      refused, or leaving: the connection ends    LOST ▶ AWAY

What comes while ENDING is passed over: it crossed the end. The exchange of a pair stays as it was told last, also
without a connection (QRP 3.4). Not here: what the Information says, which the shell collects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import PairId
from qss.wire import qrp as wire

ACCEPT_S = 5.0
"""How long the QKS may take to answer Register."""

INFORM_S = 1.0
"""How often the QKS hears Information (QRP 4.1)."""


class Phase(StrEnum):
    """How far the registration has come."""

    AWAY = "away"
    ASKING = "asking"
    REGISTERED = "registered"
    ENDING = "ending"


class Step(StrEnum):
    """What changes the phase."""

    CONNECTED = "connected"
    ACCEPTED = "accepted"
    ENDED = "ended"
    LOST = "lost"


_AFTER: dict[tuple[Phase, Step], Phase] = {
    (Phase.AWAY, Step.CONNECTED): Phase.ASKING,
    (Phase.ASKING, Step.ACCEPTED): Phase.REGISTERED,
    (Phase.ASKING, Step.ENDED): Phase.ENDING,
    (Phase.ASKING, Step.LOST): Phase.AWAY,
    (Phase.REGISTERED, Step.ENDED): Phase.ENDING,
    (Phase.REGISTERED, Step.LOST): Phase.AWAY,
    (Phase.ENDING, Step.LOST): Phase.AWAY,
}


def after(phase: Phase, step: Step) -> Phase:
    """Return the next phase. Raises `LocalProtocolError` for a step that is not declared."""
    if (phase, step) not in _AFTER:
        raise LocalProtocolError(f"a registration that is {phase} cannot be {step}")
    return _AFTER[phase, step]


# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """A mutually authenticated connection to the module's own QKS stands."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message came from the QKS."""

    message: wire.Message


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection has ended."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The module is about to stop."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Connected | Received | Disconnected | Leave | Tick

# --- effects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the QKS."""

    message: wire.Message


@dataclass(frozen=True, slots=True)
class SetExchange:
    """Turn the exchange of a pair on or off; it may be so already."""

    pair: PairId
    on: bool


@dataclass(frozen=True, slots=True)
class Inform:
    """Send Information of how the pairs are now, after the effects before this one."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connection, once what was sent has left."""

    reason: str


Effect = Send | SetExchange | Inform | Disconnect
Effects = tuple[Effect, ...]


class Registration:
    """One module's registration. `handle` is the only way in, effects the only way out."""

    def __init__(self, register: wire.Register) -> None:
        """Take what the module says of itself whenever it connects."""
        self._register = register
        self._pairs = frozenset(PairId(claim.pair) for claim in register.claims)
        self._phase = Phase.AWAY
        self._since = 0.0
        self._effects: list[Effect] = []

    @property
    def phase(self) -> Phase:
        """How far the registration has come."""
        return self._phase

    def handle(self, event: Event, now: float) -> Effects:
        """Take in what happened at `now` (seconds, never falling) and return what is to be done, in order.

        Raises `RemoteProtocolError` if the QKS broke the protocol: the connection is to be ended, and `Disconnected`
        follows. Nothing was changed then.
        """
        self._effects.clear()
        match event:
            case Connected():
                self._step(Step.CONNECTED, now)
                self._effects.append(Send(self._register))
            case Received(message):
                if self._phase is not Phase.ENDING:
                    self._received(message, now)
            case Disconnected():
                self._step(Step.LOST, now)
            case Leave(reason):
                self._leave(reason, now)
            case Tick():
                self._tick(now)
            case _:
                assert_never(event)
        return tuple(self._effects)

    def _step(self, step: Step, now: float) -> None:
        self._phase = after(self._phase, step)
        self._since = now

    def _received(self, message: wire.Message, now: float) -> None:
        match message:
            case wire.Accepted(stopped):
                self._accepted({PairId(pair) for pair in stopped}, now)
            case wire.Refused(reason):
                self._end(f"the key server refused this module: {reason}", now)
            case wire.Start(pair):
                self._set_exchange(PairId(pair), now, on=True)
            case wire.Stop(pair):
                self._set_exchange(PairId(pair), now, on=False)
            case wire.Register() | wire.Information() | wire.Deregister():
                raise RemoteProtocolError("the key server sent what only a module may send")
            case _:
                assert_never(message)

    def _accepted(self, stopped: set[PairId], now: float) -> None:
        """QRP 2.4."""
        if self._phase is not Phase.ASKING:
            raise RemoteProtocolError("the key server accepted this module twice")
        self._refuse_unclaimed(stopped)
        self._step(Step.ACCEPTED, now)
        self._effects += [SetExchange(pair, pair not in stopped) for pair in sorted(self._pairs)]
        self._effects.append(Inform())

    def _set_exchange(self, pair: PairId, now: float, *, on: bool) -> None:
        """QRP 3.2."""
        if self._phase is not Phase.REGISTERED:
            raise RemoteProtocolError("the key server spoke of an exchange before it accepted this module")
        self._refuse_unclaimed({pair})
        self._effects += [SetExchange(pair, on), Inform()]
        self._since = now

    def _refuse_unclaimed(self, pairs: set[PairId]) -> None:
        unknown = pairs - self._pairs
        if unknown:
            raise RemoteProtocolError(f"the key server spoke of pair {min(unknown)}, which this module did not claim")

    def _leave(self, reason: str, now: float) -> None:
        """QRP 5.1: the QKS ends the connection, or the shell does."""
        if self._phase in (Phase.ASKING, Phase.REGISTERED):
            self._effects.append(Send(wire.Deregister(wire.plain(reason))))
            self._step(Step.ENDED, now)

    def _end(self, reason: str, now: float) -> None:
        self._step(Step.ENDED, now)
        self._effects.append(Disconnect(reason))

    def _tick(self, now: float) -> None:
        if self._phase is Phase.ASKING and now - self._since > ACCEPT_S:
            self._end(f"the key server did not answer Register within {ACCEPT_S:g} s", now)
        elif self._phase is Phase.REGISTERED and now - self._since >= INFORM_S:
            self._effects.append(Inform())
            self._since = now
