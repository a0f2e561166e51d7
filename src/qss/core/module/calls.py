"""Calls of ETSI GS QKD 004 as they come to a module, what the module's shell tells of it, and what is to be done.

Calls carry a number that their answer names. The module's state is told as a whole with every event (`View`): whoever
misses a change learns of it with the next. No event and no effect carries key.
"""

from __future__ import annotations

from dataclasses import dataclass

from qss.core.module.phases import Phase
from qss.core.module.qos import Ability
from qss.model.identifiers import StreamId
from qss.wire.etsi004.messages import QoS
from qss.wire.etsi004.status import Status

Caller = str
"""Who calls, as its certificate says."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A key stream that the peer module has open, and the size of its chunks in bytes."""

    stream: StreamId
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class View:
    """What there is to know of the module."""

    phase: Phase
    stream: StreamId | None
    """The stream that was opened last at this end, and whose key may still be there."""
    announced: Announcement | None
    """What the peer module has open, whether or not this end has."""
    ready: int
    """Whole chunks that wait."""


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenAsked:
    """OPEN_CONNECT. `site` and `peer` are the QKS IDs that source and destination name, None for other URIs.

    `stream` None is NULL; `entropy` are 16 fresh random bytes, to name the stream if it is.
    """

    call: int
    caller: Caller
    site: str | None
    peer: str | None
    qos: QoS
    stream: StreamId | None
    entropy: bytes
    ability: Ability


@dataclass(frozen=True, slots=True)
class KeyAsked:
    """GET_KEY; `metadata_size` in bytes, 0 for none."""

    call: int
    caller: Caller
    stream: StreamId
    index: int
    metadata_size: int


@dataclass(frozen=True, slots=True)
class CloseAsked:
    """CLOSE."""

    call: int
    caller: Caller
    stream: StreamId


@dataclass(frozen=True, slots=True)
class CallerGone:
    """Nobody waits for the answer to this call any more."""

    call: int


@dataclass(frozen=True, slots=True)
class ModuleChanged:
    """The view may have changed."""


@dataclass(frozen=True, slots=True)
class BeginRefused:
    """The module did not open the stream of the last `Begin`: nothing was changed."""

    stream: StreamId


@dataclass(frozen=True, slots=True)
class ServiceEnded:
    """The interface is served no more: nobody could reach a stream that is open."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = OpenAsked | KeyAsked | CloseAsked | CallerGone | ModuleChanged | BeginRefused | ServiceEnded | Tick


# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Open this stream at this end of the module; then tell `ModuleChanged`, or `BeginRefused`."""

    stream: StreamId
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class End:
    """Close this stream at this end of the module and destroy all of its key that is left, the kept chunk too."""

    stream: StreamId


@dataclass(frozen=True, slots=True)
class Take:
    """Take chunk `index` from the module, keep it in place of the one that was kept, and answer with it."""

    call: int
    index: int
    with_metadata: bool


@dataclass(frozen=True, slots=True)
class Repeat:
    """Answer with the chunk that is kept, once more."""

    call: int
    index: int
    with_metadata: bool


@dataclass(frozen=True, slots=True)
class Forget:
    """Destroy the chunk that is kept: its caller has it, as it asks for the next."""


@dataclass(frozen=True, slots=True)
class AnswerOpen:
    """Answer OPEN_CONNECT. `qos` and `stream` are None where there is nothing to say of them."""

    call: int
    status: Status
    qos: QoS | None = None
    stream: StreamId | None = None


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Answer GET_KEY with no key. `index` is the one that would be answered; `room` what the metadata needs."""

    call: int
    status: Status
    index: int
    room: int = 0


@dataclass(frozen=True, slots=True)
class AnswerClose:
    """Answer CLOSE."""

    call: int
    status: Status


Effect = Begin | End | Take | Repeat | Forget | AnswerOpen | AnswerKey | AnswerClose
