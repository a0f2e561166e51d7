"""What one end knows of a neighbour, as a state machine (Routing 4).

    phase     what it means                                        leaves it
    ────────  ───────────────────────────────────────────────────  ──────────────────────────────────────────────────
    DOWN      no connection                                        CONNECTED ▶ INIT
    INIT      connected; it is not known whether we were heard     HEARD ▶ EXCHANGE
    EXCHANGE  two-way: Summaries are on their way                  TOLD ▶ LOADING
    LOADING   the neighbour's Summaries are here, LSAs are asked   LOADED ▶ FULL
    FULL      both databases are the same, but for what is new
    ENDING    it was silent for too long, or is not tagged as it
              has to be: the connection is to end, and what
              still comes is passed over

LOST leads from any phase but DOWN to DOWN, SILENT and UNTAGGED from any but DOWN and ENDING to ENDING. A full
adjacency stays full when databases are compared again (4.6). Any other step is a defect and raises.

Held here: phases, Hellos, when to give up, and when to compare anew. Not here: what was told and asked (`exchange`),
nor what is sent on (`flooding`). Times in seconds of a clock that never steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from qss.model.errors import LocalProtocolError
from qss.wire.routing import Hello


class Phase(StrEnum):
    """How far it has come."""

    DOWN = "down"
    INIT = "init"
    EXCHANGE = "exchange"
    LOADING = "loading"
    FULL = "full"
    ENDING = "ending"


class Step(StrEnum):
    """What changes the phase."""

    CONNECTED = "connected"
    HEARD = "heard"
    TOLD = "told"
    LOADED = "loaded"
    SILENT = "silent"
    UNTAGGED = "untagged"
    LOST = "lost"


class Act(Enum):
    """What is to be done for a neighbour."""

    HELLO = auto()
    """Say Hello."""
    SUMMARISE = auto()
    """Say all Summaries."""
    GIVE_UP = auto()
    """End the connection."""


_AFTER: dict[tuple[Phase, Step], Phase] = {
    (Phase.DOWN, Step.CONNECTED): Phase.INIT,
    (Phase.INIT, Step.HEARD): Phase.EXCHANGE,
    (Phase.EXCHANGE, Step.TOLD): Phase.LOADING,
    (Phase.LOADING, Step.LOADED): Phase.FULL,
    **{
        (phase, step): Phase.ENDING
        for phase in Phase
        if phase not in (Phase.DOWN, Phase.ENDING)
        for step in (Step.SILENT, Step.UNTAGGED)
    },
    **{(phase, Step.LOST): Phase.DOWN for phase in Phase if phase is not Phase.DOWN},
}


def after(phase: Phase, step: Step) -> Phase:
    """Return the next phase. Raises `LocalProtocolError` for a step that is not declared."""
    if (phase, step) not in _AFTER:
        raise LocalProtocolError(f"an adjacency that is {phase} cannot take the step {step}")
    return _AFTER[phase, step]


@dataclass(slots=True)
class Adjacency:
    """One neighbour."""

    phase: Phase = Phase.DOWN
    heard: bool = False
    """Whether a Hello has come on this connection."""
    _heard_at: float = 0.0
    _said_at: float = 0.0
    _dead_s: float = 0.0
    """How long the neighbour may be silent."""
    _differs_since: float | None = None
    """Since when the digests differ though nothing is on its way, or the neighbour is not full."""

    @property
    def two_way(self) -> bool:
        """Whether LSAs may be exchanged (Routing 4.2 and 4.5)."""
        return self.phase in (Phase.EXCHANGE, Phase.LOADING, Phase.FULL)

    @property
    def full(self) -> bool:
        """Whether the link to the neighbour is to be told (Routing 4.4)."""
        return self.phase is Phase.FULL

    # --- what happens ---------------------------------------------------------------------------------------------

    def connected(self, now: float, dead_s: float) -> None:
        """A connection stands. Until the neighbour tells how long it may be silent, it is `dead_s`."""
        self._take(Step.CONNECTED)
        self._heard_at, self._dead_s = now, dead_s

    def came(self, now: float) -> None:
        """Something has come (Routing 4.3)."""
        self._heard_at = now

    def take_hello(
        self, hello: Hello, digest: bytes, now: float, *, up_to_date: bool, waits_for_key: bool = False
    ) -> list[Act]:
        """Take in a Hello (Routing 4.1, 4.2 and 4.6). `digest` is of this end's database.

        `up_to_date`: whether the neighbour has acknowledged all that was for it. `waits_for_key`: nothing can be sent,
        for want of key to tag it with, so that databases may differ (12.7).
        """
        if self.phase is Phase.ENDING:
            return []
        acts = [] if self.heard else [Act.HELLO]
        self.heard = True
        self._dead_s = hello.dead_ms / 1000
        if hello.heard and self.phase is Phase.INIT:
            self._take(Step.HEARD)
            acts.append(Act.SUMMARISE)
        differs = hello.digest != digest and up_to_date
        if not self.two_way or waits_for_key or (hello.full and not (self.full and differs)):
            self._differs_since = None
        elif self._differs_since is None:
            self._differs_since = now
        return acts

    def told(self) -> None:
        """The neighbour's Summaries are complete: the first ones, or again (Routing 5.1)."""
        if self.phase is Phase.EXCHANGE:
            self._take(Step.TOLD)

    def loaded(self) -> bool:
        """All that was asked for has come, or is not waited for; return whether that makes it full (Routing 4.4)."""
        if self.phase is not Phase.LOADING:
            return False
        self._take(Step.LOADED)
        return True

    def end_untagged(self) -> None:
        """It is not tagged as it has to be: the connection is to end (Routing 12)."""
        if self.phase is not Phase.ENDING:
            self._take(Step.UNTAGGED)

    def lost(self) -> None:
        """The connection has ended."""
        self._take(Step.LOST)

    # --- what is to be done ---------------------------------------------------------------------------------------

    def hello(self, digest: bytes, dead_s: float, now: float) -> Hello:
        """Return what is said now (Routing 4.1)."""
        self._said_at = now
        return Hello(self.heard, self.full, round(1000 * dead_s), digest)

    def due(self, now: float, hello_s: float, resync_s: float) -> list[Act]:
        """Return what time asks for (Routing 4.1, 4.3 and 4.6)."""
        if self.phase is Phase.ENDING:
            return []
        if now - self._heard_at > self._dead_s:
            self._take(Step.SILENT)
            return [Act.GIVE_UP]
        acts = []
        if now - self._said_at >= hello_s:
            acts.append(Act.HELLO)
        if self._differs_since is not None and now - self._differs_since >= resync_s:
            self._differs_since = None
            acts.append(Act.SUMMARISE)
        return acts

    @property
    def dead_s(self) -> float:
        """How long the neighbour may be silent."""
        return self._dead_s

    def _take(self, step: Step) -> None:
        self.phase = after(self.phase, step)
