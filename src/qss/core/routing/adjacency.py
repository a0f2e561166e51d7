"""What one end knows of a neighbour, as a state machine (Routing 4 and 5).

    phase     what it means                                        leaves it
    ────────  ───────────────────────────────────────────────────  ─────────────────────────────────────────────────
    DOWN      no connection                                        CONNECTED ▶ INIT
    INIT      connected; it is not known whether we were heard     HEARD ▶ EXCHANGE, LOST ▶ DOWN
    EXCHANGE  two-way: Summaries are on their way                  TOLD ▶ LOADING, LOST ▶ DOWN
    LOADING   the neighbour's Summaries are here, LSAs are asked   LOADED ▶ FULL, LOST ▶ DOWN
    FULL      both databases are the same, but for what is new     LOST ▶ DOWN

A full adjacency stays full when databases are compared again (4.6). Any other step is a defect and raises. Held here:
phases, and when to give up. Not here: what the messages say (`router`), what was asked for (`exchange`), nor what is
sent on (`flooding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qss.model.errors import LocalProtocolError


class Phase(StrEnum):
    """How far it has come."""

    DOWN = "down"
    INIT = "init"
    EXCHANGE = "exchange"
    LOADING = "loading"
    FULL = "full"


class Step(StrEnum):
    """What changes the phase."""

    CONNECTED = "connected"
    HEARD = "heard"
    TOLD = "told"
    LOADED = "loaded"
    LOST = "lost"


_AFTER: dict[tuple[Phase, Step], Phase] = {
    (Phase.DOWN, Step.CONNECTED): Phase.INIT,
    (Phase.INIT, Step.HEARD): Phase.EXCHANGE,
    (Phase.EXCHANGE, Step.TOLD): Phase.LOADING,
    (Phase.LOADING, Step.LOADED): Phase.FULL,
    **{(phase, Step.LOST): Phase.DOWN for phase in Phase if phase is not Phase.DOWN},
}


def after(phase: Phase, step: Step) -> Phase:
    """Return the next phase. Raises `LocalProtocolError` for a step that is not declared."""
    if (phase, step) not in _AFTER:
        raise LocalProtocolError(f"an adjacency that is {phase} cannot take the step {step}")
    return _AFTER[phase, step]


@dataclass(slots=True)
class Adjacency:
    """One neighbour. Times in seconds of a clock that never steps."""

    phase: Phase = Phase.DOWN
    heard: bool = False
    """Whether a Hello has come on this connection."""
    heard_at: float = 0.0
    """When anything came last."""
    dead_s: float = 0.0
    """How long the neighbour may be silent."""
    said_at: float = 0.0
    """When Hello was said last."""
    differs_since: float | None = None
    """Since when the digests differ though nothing is on its way, or the neighbour is not full."""

    def take(self, step: Step) -> None:
        """Go on to the next phase."""
        self.phase = after(self.phase, step)

    @property
    def two_way(self) -> bool:
        """Whether LSAs may be exchanged."""
        return self.phase in (Phase.EXCHANGE, Phase.LOADING, Phase.FULL)

    @property
    def full(self) -> bool:
        """Whether the link to the neighbour is to be told."""
        return self.phase is Phase.FULL
