"""The state machine: how one key stream at a time is opened and closed at both ends (Sync 3).

A module has at most one stream open, and says so with Open and Close. It keeps two states: its own, and what the peer
has announced on this connection::

    own state  what it means                                           leaves it
    ─────────  ──────────────────────────────────────────────────────  ──────────────────────────────────────────────
    DOWN       no Sync connection                                      CONNECTED ▶ IDLE
    IDLE       connected, no stream is open here                       OPENED ▶ OPENING, DISCONNECTED ▶ DOWN
    OPENING    Open is sent; the peer has not announced this stream    MET ▶ RUNNING, ENDED ▶ IDLE
    RUNNING    both have announced it: the device runs                 ENDED ▶ IDLE

    peer       what it means                                           leaves it
    ─────────  ──────────────────────────────────────────────────────  ──────────────────────────────────────────────
    ABSENT     the peer has no stream open                             OPENED ▶ ANNOUNCED
    ANNOUNCED  the peer's Open came                                    MET ▶ JOINED, ENDED ▶ ABSENT
    JOINED     this end had announced the same stream                  ENDED ▶ ABSENT

An end says Close for every stream that it announced, and answers a Close by its own. So whatever comes between Open
and Close of the peer belongs to that stream, and no message has to name it. If this end is not RUNNING meanwhile, the
peer met an Open that this end has taken back since: what comes was sent before it heard the Close, and is dropped. In
ABSENT nothing of a running stream may come. A stream ends at both ends with the connection, and is never opened again.

Either end may open a stream first; the other waits with its Open until it opens the same stream. If both open
different ones, the initiator's stays: it answers Close to any other Open. An Open of a stream that was open at the
receiver before is a late one, and is answered by Close.
"""

from __future__ import annotations

from enum import StrEnum

from qss.model.errors import LocalProtocolError, RemoteProtocolError


class Phase(StrEnum):
    """This end's state."""

    DOWN = "down"
    IDLE = "idle"
    OPENING = "opening"
    RUNNING = "running"


class PeerPhase(StrEnum):
    """What the peer has announced on this connection."""

    ABSENT = "absent"
    ANNOUNCED = "announced"
    JOINED = "joined"


class Step(StrEnum):
    """What changes a state."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    OPENED = "opened"
    MET = "met"
    """Both ends have announced the same stream."""
    ENDED = "ended"


_OWN: dict[tuple[Phase, Step], Phase] = {
    (Phase.DOWN, Step.CONNECTED): Phase.IDLE,
    (Phase.IDLE, Step.DISCONNECTED): Phase.DOWN,
    (Phase.IDLE, Step.OPENED): Phase.OPENING,
    (Phase.OPENING, Step.MET): Phase.RUNNING,
    (Phase.OPENING, Step.ENDED): Phase.IDLE,
    (Phase.RUNNING, Step.ENDED): Phase.IDLE,
}

_PEER: dict[tuple[PeerPhase, Step], PeerPhase] = {
    (PeerPhase.ABSENT, Step.OPENED): PeerPhase.ANNOUNCED,
    (PeerPhase.ANNOUNCED, Step.MET): PeerPhase.JOINED,
    (PeerPhase.ANNOUNCED, Step.ENDED): PeerPhase.ABSENT,
    (PeerPhase.JOINED, Step.ENDED): PeerPhase.ABSENT,
}


def after(phase: Phase, step: Step) -> Phase:
    """Return this end's next state. Raises `LocalProtocolError` for a step that is not declared."""
    if (phase, step) not in _OWN:
        raise LocalProtocolError(f"a module that is {phase} cannot be {step}")
    return _OWN[phase, step]


def peer_after(phase: PeerPhase, step: Step) -> PeerPhase:
    """Return the peer's next state. Raises `RemoteProtocolError` for a step that is not declared."""
    if (phase, step) not in _PEER:
        raise RemoteProtocolError(f"the peer module {step} a stream while it was {phase}")
    return _PEER[phase, step]
