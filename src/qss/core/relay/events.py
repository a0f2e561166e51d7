"""What can happen to transfers at a site (events), and what is to be done (effects): plain values, and no key.

Content, key and ciphertext stay in the shell. It keeps content, and what `Keep` says, under the transfer's ID. A drawn
range has three names: the neighbour that it was drawn with, the transfer, and whether it is `ours`: the upstream end
draws, and what both ends draw under one ID are two ranges (Relay 4.11). Else one could be used in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qss.model.identifiers import QksId, TransferId
from qss.model.relay_policy import Hop
from qss.wire.relay import Arrived as ArrivedMessage
from qss.wire.relay import Begin, Message, Reason
from qss.wire.relay import Failed as FailedMessage

# --- events -------------------------------------------------------------------------------------------------------

PlainMessage = Begin | ArrivedMessage | FailedMessage
"""What a core may see of what neighbours say: all but Carry."""


@dataclass(frozen=True, slots=True)
class Start:
    """This site is to send fresh content, which waits under the transfer's ID. Answered by `Arrived` or `Failed`."""

    begin: Begin


@dataclass(frozen=True, slots=True)
class NeighboursAre:
    """These are the sites that this one shares a link with."""

    neighbours: frozenset[QksId]


@dataclass(frozen=True, slots=True)
class Connected:
    """A mutually authenticated connection for relaying to this neighbour stands. An older one has ended before."""

    peer: QksId


@dataclass(frozen=True, slots=True)
class Disconnected:
    """It has ended."""

    peer: QksId


@dataclass(frozen=True, slots=True)
class Received:
    """A message came from this neighbour. What Carry brings comes as `CarryCame`."""

    peer: QksId
    message: PlainMessage


@dataclass(frozen=True, slots=True)
class CarryCame:
    """Carry came, with so many bytes. Unless the answer has a `Keep`, they are destroyed; also if it is an error."""

    peer: QksId
    transfer: TransferId
    length: int


@dataclass(frozen=True, slots=True)
class KeyReady:
    """The range of this draw is durable at this end.

    Ended by `EndDraw`; until then no other is told of under the same three names. Where the neighbour draws, this may
    come before its Begin.
    """

    peer: QksId
    transfer: TransferId
    ours: bool


@dataclass(frozen=True, slots=True)
class KeyFailed:
    """The range is not had at both ends. Each `Draw` gets this or `KeyReady`; so may what a neighbour draws.

    It may also follow `KeyReady`; then the range is ended as ever.
    """

    peer: QksId
    transfer: TransferId
    ours: bool
    reason: Reason


@dataclass(frozen=True, slots=True)
class Passed:
    """What `Pass` asked for is done: Carry is about to leave, or the content is kept."""

    transfer: TransferId


@dataclass(frozen=True, slots=True)
class PassFailed:
    """`Pass` could not be carried out; nothing has left, and nothing is kept. `TAMPERED` if the tag was wrong."""

    transfer: TransferId
    reason: Reason


@dataclass(frozen=True, slots=True)
class Taken:
    """The device at this end has taken the content of `Came`, or has no use for it. One that is gone is no error."""

    transfer: TransferId


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Whoever asked for `Start` waits no longer. A transfer that was answered before is no error."""

    transfer: TransferId


@dataclass(frozen=True, slots=True)
class Leave:
    """The site is about to stop: nothing new is taken from now on."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; comes several times a second."""


Event = (
    Start
    | NeighboursAre
    | Connected
    | Disconnected
    | Received
    | CarryCame
    | KeyReady
    | KeyFailed
    | Passed
    | PassFailed
    | Taken
    | GiveUp
    | Leave
    | Tick
)

# --- effects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send these messages to a neighbour, in order."""

    peer: QksId
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw key with this neighbour to carry `length` bytes by `hop`; answered by `KeyReady` or `KeyFailed`.

    A name may come again after `EndDraw`. While the last range under it is open at either end, none is had.
    """

    peer: QksId
    transfer: TransferId
    length: int
    hop: Hop
    urgent: bool


@dataclass(frozen=True, slots=True)
class EndDraw:
    """The range that was ready is needed no more: erase it.

    `used`: it counts as relayed, for bytes under it may have left or come; else as given up.
    """

    peer: QksId
    transfer: TransferId
    ours: bool
    used: bool


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep what Carry has just brought, under the transfer's ID, until `Pass` or `Forget`."""

    transfer: TransferId


@dataclass(frozen=True, slots=True)
class Pass:
    """Carry what is kept one hop on; answered by `Passed` or `PassFailed`, also after a `Forget`.

    Open what is kept with the key drawn with `inward`, or take the source's content (None). Seal it under the key drawn
    with `outward` and send it there by Carry, `place` being this site's on the path, or keep the content (None). A
    repeater has nothing left of it then. If `Forget` comes meanwhile, nothing leaves, and nothing is kept.
    """

    transfer: TransferId
    begin: Begin
    place: int
    inward: QksId | None
    outward: QksId | None


@dataclass(frozen=True, slots=True)
class Forget:
    """Destroy content of this transfer, and what is kept of it. Comes last, and once, for all that was ever taken."""

    transfer: TransferId


@dataclass(frozen=True, slots=True)
class Came:
    """This end has the content of this transfer: it waits to be `Taken`."""

    begin: Begin


@dataclass(frozen=True, slots=True)
class Arrived:
    """The destination has the content: `Start` is answered. The content is the asker's to take before `Forget`."""

    transfer: TransferId


@dataclass(frozen=True, slots=True)
class Failed:
    """The transfer is void: `Start` is answered. It failed at `site`, as far as neighbours can be believed."""

    transfer: TransferId
    site: QksId
    reason: Reason


class DropReason(StrEnum):
    """Why something of a neighbour's was passed over, or refused (Relay 4.2, 4.7 and 4.10)."""

    UNKNOWN = "unknown"
    """It was of no transfer in which the neighbour has that part here, or has it still."""
    REPEATED = "repeated"
    """A Begin under a name that is in use here."""
    REFUSED = "refused"
    """A Begin that failed a check."""
    LIMIT = "limit"
    """A Begin, or key before its Begin, beyond what one neighbour may have."""
    UNCLAIMED = "unclaimed"
    """Key that was drawn, and no transfer here has a use for it."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something of this neighbour's was passed over or refused: for counters and log."""

    peer: QksId
    transfer: TransferId
    reason: DropReason


Effect = Send | Draw | EndDraw | Keep | Pass | Forget | Came | Arrived | Failed | Dropped
Effects = tuple[Effect, ...]
