"""The state machines of one transfer at one site, and of key that it takes, as tables; an undeclared step raises.

A transfer at a site::

    phase      what it means                                           leaves it
    ─────────  ──────────────────────────────────────────────────────  ───────────────────────────────────────────────
    GATHERING  key of its links, or what is carried, is not yet here   GATHERED ▶ PASSING
    PASSING    the shell opens and seals                               PASSED ▶ PASSED, KEPT ▶ HELD
    PASSED     Carry has gone on; Arrived is awaited                   ENDED ▶ OVER
    HELD       the destination's content waits for its device          ENDED ▶ OVER
    VOID       it failed; the shell still owes an answer               SETTLED ▶ OVER
    OVER       nothing is kept of it                                   —

VOIDED leads from the first four to VOID. The source has nothing to wait for but its key; a destination, which alone is
ever HELD, has told its neighbour that the content arrived and has forgotten what became of the others. A transfer that
is VOID keeps its name and its place among its neighbour's (Relay 4.10) until the shell has answered `Draw` and `Pass`:
else a neighbour could have any number of them under way.

The key that a transfer takes on one link, at this end::

    phase    what it means                                             leaves it
    ───────  ────────────────────────────────────────────────────────  ────────────────────────────────────────────────
    AWAITED  nobody knows yet whether there will be any                READIED ▶ READY, DENIED ▶ ENDED
    READY    the range is durable here                                 SPENT ▶ SPENT, RETURNED ▶ ENDED
    SPENT    `Pass` was asked for: bytes under it may leave            RETURNED ▶ ENDED
    ENDED    the transfer needs it no more                             —

Whether a range was used is decided by where it comes from when it is RETURNED: from SPENT it was, whatever has become
of the `Pass`.
"""

from __future__ import annotations

from enum import StrEnum

from qss.model.errors import LocalProtocolError


class Phase(StrEnum):
    """State of a transfer."""

    GATHERING = "gathering"
    PASSING = "passing"
    PASSED = "passed"
    HELD = "held"
    VOID = "void"
    OVER = "over"


class Step(StrEnum):
    """What moves a transfer on."""

    GATHERED = "gathered"
    PASSED = "passed"
    KEPT = "kept"
    ENDED = "ended"
    VOIDED = "voided"
    SETTLED = "settled"


class KeyPhase(StrEnum):
    """State of the key for one hop."""

    AWAITED = "awaited"
    READY = "ready"
    SPENT = "spent"
    ENDED = "ended"


class KeyStep(StrEnum):
    """What becomes of the key for one hop."""

    READIED = "readied"
    DENIED = "denied"
    SPENT = "spent"
    RETURNED = "returned"


LIVE = frozenset((Phase.GATHERING, Phase.PASSING, Phase.PASSED))
"""In these a site needs its neighbours on the path, and they need it."""

_AFTER: dict[tuple[Phase, Step], Phase] = {
    (Phase.GATHERING, Step.GATHERED): Phase.PASSING,
    (Phase.PASSING, Step.PASSED): Phase.PASSED,
    (Phase.PASSING, Step.KEPT): Phase.HELD,
    (Phase.PASSED, Step.ENDED): Phase.OVER,
    (Phase.HELD, Step.ENDED): Phase.OVER,
    (Phase.VOID, Step.SETTLED): Phase.OVER,
    **{(phase, Step.VOIDED): Phase.VOID for phase in (*LIVE, Phase.HELD)},
}

_KEY_AFTER: dict[tuple[KeyPhase, KeyStep], KeyPhase] = {
    (KeyPhase.AWAITED, KeyStep.READIED): KeyPhase.READY,
    (KeyPhase.AWAITED, KeyStep.DENIED): KeyPhase.ENDED,
    (KeyPhase.READY, KeyStep.SPENT): KeyPhase.SPENT,
    (KeyPhase.READY, KeyStep.RETURNED): KeyPhase.ENDED,
    (KeyPhase.SPENT, KeyStep.RETURNED): KeyPhase.ENDED,
}


def after(phase: Phase, step: Step) -> Phase:
    """Return a transfer's next phase. Raises `LocalProtocolError` for a step that is not declared."""
    if (phase, step) not in _AFTER:
        raise LocalProtocolError(f"a transfer that is {phase} cannot be {step}")
    return _AFTER[phase, step]


def key_after(phase: KeyPhase, step: KeyStep) -> KeyPhase:
    """Return the next phase of a hop's key. Raises `LocalProtocolError` for a step that is not declared."""
    if (phase, step) not in _KEY_AFTER:
        raise LocalProtocolError(f"key for a hop that is {phase} cannot be {step}")
    return _KEY_AFTER[phase, step]
