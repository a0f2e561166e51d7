"""What relays at this end want of a link, and hear from it: events and effects, as those in `events`.

A routing module that tags draws as a relay does, for another purpose (Relay 3.9).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qss.model.identifiers import PairId, StreamId, TransferId
from qss.model.ranges import Range
from qss.wire.external import Purpose

# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Draw:
    """Somebody at this end wants a range of `length` bytes. Answered by `DrawReady` or `DrawFailed`.

    It has not drawn under this name before, unless that is over.
    """

    draw: TransferId
    length: int
    urgent: bool
    purpose: Purpose = Purpose.RELAY


@dataclass(frozen=True, slots=True)
class DrawEnded:
    """The range of a draw was read and `used`, or nothing of it ever will be: its bytes may be erased.

    Said also of what the other end drew. What is not open at this end, or not any more, is passed over.
    """

    draw: TransferId
    used: bool


@dataclass(frozen=True, slots=True)
class Want:
    """This site wants `length` bytes to be available on the end-to-end stream of this pair and policy (Relay 2.4)."""

    pair: PairId
    policy: str
    length: int
    urgent: bool
    """Somebody waits for it who need not stand back for others (Relay 2.4)."""


@dataclass(frozen=True, slots=True)
class KeyRelayed:
    """Key that is about to come on this end-to-end stream has passed through at most so many repeaters (Relay 1.4)."""

    stream: StreamId
    repeaters: int


# --- effects ------------------------------------------------------------------------------------------------------


class DrawFailure(StrEnum):
    """Why a range is not had."""

    SHORTAGE = "shortage"
    """What would be left is too little (Relay 3.5)."""
    LIMIT = "limit"
    """An end has as many draws open as it may."""
    REFUSED = "refused"
    """The stream, or the range, is gone at one end; or the name is in use."""
    UNREACHABLE = "unreachable"
    """The link is not up, or the connection was lost."""
    LATE = "late"
    """The owner did not answer in time."""
    STOPPED = "stopped"
    """This end's link starts over from what is durable."""


@dataclass(frozen=True, slots=True)
class DrawReady:
    """These bytes are whoever's the purpose says, durably here. To be ended by `DrawEnded`."""

    draw: TransferId
    stream: StreamId
    part: Range
    own: bool
    """This end drew, and seals with them; else the other one did. Others choose names: go by this."""
    purpose: Purpose
    """What both ends have drawn them for."""


@dataclass(frozen=True, slots=True)
class DrawFailed:
    """The range is not had at both ends; said also where the other end drew, and was refused.

    It may follow `DrawReady`: the other end has refused the range, which is ended as ever; or (`stopped`) it is gone.
    """

    draw: TransferId
    reason: DrawFailure
    own: bool
    """This end drew: two ends may have used one name."""
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Wanted:
    """The peer wants so many bytes to be available on this end-to-end stream. Nothing of it was checked."""

    pair: PairId
    policy: str
    length: int
    urgent: bool
    """Somebody waits for it who need not stand back for others (Relay 2.4)."""
