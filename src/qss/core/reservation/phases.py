"""The state machines of a link's connection, of a master's request and of a draw, as tables; an undeclared step raises.

A link at one end::

    state      what it means                                           leaves it
    ─────────  ──────────────────────────────────────────────────────  ───────────────────────────────────────────────
    DOWN       no connection                                           CONNECTED ▶ WAITING
    WAITING    connected; reservations are still on their way to disk  SETTLED ▶ GREETING (Hello sent)
    GREETING   the peer's Hello is awaited                             HELLO ▶ COMPARING
    COMPARING  what followed from both Hellos is on its way to disk    COMPARED ▶ SETTLING (Held sent)
    SETTLING   the peer's Held is awaited                              HELD ▶ UP
    UP         streams are filled, keys reserved and confirmed         —
    FAILED     a commit was refused, or the store was restored         the runtime makes a new Link

From any state but FAILED, DISCONNECTED leads to DOWN, COMMIT_FAILED and STORE_RESTORED to FAILED. In FAILED every ask
is refused and nothing else is heeded.

A master's request at its own end::

    state       what it means                                          leaves it
    ──────────  ─────────────────────────────────────────────────────  ───────────────────────────────────────────────
    ASKED       the non-owner has asked the owner for a range          ALLOCATED ▶ COMMITTING
    COMMITTING  the range is being written here and there              DURABLE_HERE ▶ HERE, DURABLE_THERE ▶ THERE
    HERE        durable here, not known to be so there                 DURABLE_THERE ▶ BOTH
    THERE       durable there, not yet here                            DURABLE_HERE ▶ BOTH
    BOTH        the master is answered, or further sites are awaited   COVER_SENT ▶ COVERING
    COVERING    the site has been sent the keys                        COVERED ▶ COVERED
    COVERED     the site has stored the keys; others are awaited       —

The owner's own requests begin in COMMITTING. Every other way out (refusal, deadline, lost connection) gives the request
up from wherever it is. Where slaves are at home in several sites (KRP 4.15), the first site's part waits in BOTH, each
further one in COVERED, until all do and are concluded.

A draw at one end (Relay 3)::

    state       what it means                                          leaves it
    ──────────  ─────────────────────────────────────────────────────  ───────────────────────────────────────────────
    ASKED       the non-owner has asked the owner for a range          ALLOCATED ▶ COMMITTING
    COMMITTING  the range is being written here                        DURABLE ▶ READY
    READY       whoever wanted the range reads and uses it             —

What an end allocates, or is told of without having asked, begins in COMMITTING. Every other way out (refusal, deadline,
lost connection before READY, nobody wants it any more) ends the draw from wherever it is.
"""

from __future__ import annotations

from enum import StrEnum

from qss.model.errors import LocalProtocolError, RemoteProtocolError


class LinkPhase(StrEnum):
    """State of a link's connection."""

    DOWN = "down"
    WAITING = "waiting"
    GREETING = "greeting"
    COMPARING = "comparing"
    SETTLING = "settling"
    UP = "up"
    FAILED = "failed"


class LinkStep(StrEnum):
    """What moves a link on."""

    CONNECTED = "connected"
    SETTLED = "settled"
    HELLO = "hello"
    COMPARED = "compared"
    HELD = "held"
    DISCONNECTED = "disconnected"
    COMMIT_FAILED = "commit failed"
    STORE_RESTORED = "store restored"


class AskPhase(StrEnum):
    """State of a master's request."""

    ASKED = "asked"
    COMMITTING = "committing"
    HERE = "durable here"
    THERE = "durable there"
    BOTH = "durable at both ends"
    COVERING = "covering"
    COVERED = "covered"


class AskStep(StrEnum):
    """What moves a master's request on."""

    ALLOCATED = "allocated"
    DURABLE_HERE = "durable here"
    DURABLE_THERE = "durable there"
    COVER_SENT = "cover sent"
    COVERED = "covered"


class DrawPhase(StrEnum):
    """State of a draw at one end."""

    ASKED = "asked"
    COMMITTING = "committing"
    READY = "ready"


class DrawStep(StrEnum):
    """What moves a draw on."""

    ALLOCATED = "allocated"
    DURABLE = "durable"


_LINK: dict[tuple[LinkPhase, LinkStep], LinkPhase] = {
    (LinkPhase.DOWN, LinkStep.CONNECTED): LinkPhase.WAITING,
    (LinkPhase.WAITING, LinkStep.SETTLED): LinkPhase.GREETING,
    (LinkPhase.GREETING, LinkStep.HELLO): LinkPhase.COMPARING,
    (LinkPhase.COMPARING, LinkStep.COMPARED): LinkPhase.SETTLING,
    (LinkPhase.SETTLING, LinkStep.HELD): LinkPhase.UP,
    **{
        (phase, step): after
        for phase in LinkPhase
        if phase is not LinkPhase.FAILED
        for step, after in (
            (LinkStep.DISCONNECTED, LinkPhase.DOWN),
            (LinkStep.COMMIT_FAILED, LinkPhase.FAILED),
            (LinkStep.STORE_RESTORED, LinkPhase.FAILED),
        )
    },
}

_ASK: dict[tuple[AskPhase, AskStep], AskPhase] = {
    (AskPhase.ASKED, AskStep.ALLOCATED): AskPhase.COMMITTING,
    (AskPhase.COMMITTING, AskStep.DURABLE_HERE): AskPhase.HERE,
    (AskPhase.COMMITTING, AskStep.DURABLE_THERE): AskPhase.THERE,
    (AskPhase.HERE, AskStep.DURABLE_THERE): AskPhase.BOTH,
    (AskPhase.THERE, AskStep.DURABLE_HERE): AskPhase.BOTH,
    (AskPhase.BOTH, AskStep.COVER_SENT): AskPhase.COVERING,
    (AskPhase.COVERING, AskStep.COVERED): AskPhase.COVERED,
}

_DRAW: dict[tuple[DrawPhase, DrawStep], DrawPhase] = {
    (DrawPhase.ASKED, DrawStep.ALLOCATED): DrawPhase.COMMITTING,
    (DrawPhase.COMMITTING, DrawStep.DURABLE): DrawPhase.READY,
}


def link_after(phase: LinkPhase, step: LinkStep) -> LinkPhase:
    """Return a link's next state. Raises `LocalProtocolError` for a step that is not declared."""
    if (phase, step) not in _LINK:
        raise LocalProtocolError(f"a link that is {phase} cannot be {step}")
    return _LINK[phase, step]


def ask_after(phase: AskPhase, step: AskStep) -> AskPhase:
    """Return a request's next state. Raises `RemoteProtocolError` for an undeclared step: the peer's."""
    if (phase, step) not in _ASK:
        raise RemoteProtocolError(f"a request that is {phase} cannot become {step}")
    return _ASK[phase, step]


def draw_after(phase: DrawPhase, step: DrawStep) -> DrawPhase:
    """Return a draw's next state. Raises `LocalProtocolError` for a step that is not declared."""
    if (phase, step) not in _DRAW:
        raise LocalProtocolError(f"a draw that is {phase} cannot become {step}")
    return _DRAW[phase, step]
