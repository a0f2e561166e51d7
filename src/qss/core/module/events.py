"""What can happen to a module (events) and what it wants done (effects): plain values, and no key.

Bytes of blocks and device frames stay in the shell, which keeps them under block numbers and handles.
"""

from __future__ import annotations

from dataclasses import dataclass

from qss.model.health import HealthTest
from qss.model.identifiers import StreamId
from qss.wire.sync import Check, Close, Credit, Message, Open, Verdict

# --- events -------------------------------------------------------------------------------------------------------

PlainMessage = Open | Close | Check | Verdict | Credit
"""What a core may see of Sync: all but device frames."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A mutually authenticated Sync connection to the peer module stands."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection has ended."""

    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message came from the peer. Device frames come as `FrameCame`, for they may be secret."""

    message: PlainMessage


@dataclass(frozen=True, slots=True)
class FrameCame:
    """A device frame came from the peer and waits under `handle`: passed on with `ToDevice`, or else of no use."""

    handle: int


@dataclass(frozen=True, slots=True)
class FrameSent:
    """The device's frame is about to be sent; `Module.may_send` was true."""


@dataclass(frozen=True, slots=True)
class FrameTaken:
    """The device has taken a frame that was passed on to it."""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """The QKS opens (initiator) or joins (responder) this stream. Raises `DeviceError`, and then changes nothing."""

    stream: StreamId
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class CloseStream:
    """The QKS closes this stream. One that is not open is no error."""

    stream: StreamId


@dataclass(frozen=True, slots=True)
class SetExchange:
    """The QKS turns the exchange on or off (QRP 3). While it is off, no stream is open and none can be opened."""

    on: bool


@dataclass(frozen=True, slots=True)
class BlockRead:
    """The device has yielded the block that `ReadBlock` asked for, of `length` bytes."""

    number: int
    length: int


@dataclass(frozen=True, slots=True)
class Tagged:
    """The block's tags: the one that this end sends, and the one that the peer's must equal.

    `length` bytes remain of the block.
    """

    number: int
    length: int
    ours: bytes
    expected: bytes


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """The block failed this health test: it is destroyed, and neither its bytes nor its tags go anywhere."""

    number: int
    test: HealthTest
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceFailed:
    """The device can not go on with the stream that runs."""

    reason: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The QKS has pulled a chunk of `length` bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class Destroyed:
    """Of a stream that ended, `length` accepted bytes were not pulled and are gone."""

    length: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    Connected
    | Disconnected
    | Received
    | FrameCame
    | FrameSent
    | FrameTaken
    | OpenStream
    | CloseStream
    | SetExchange
    | BlockRead
    | Tagged
    | Unhealthy
    | DeviceFailed
    | Delivered
    | Destroyed
    | Tick
)

# --- effects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send these messages to the peer, in order."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class StartDevice:
    """Start the device for a new stream, on a new channel. Nothing of an earlier stream may reach it."""


@dataclass(frozen=True, slots=True)
class StopDevice:
    """Stop the device. What it says of this stream from now on is of no interest."""


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """Read one block from the device."""


@dataclass(frozen=True, slots=True)
class ComputeTags:
    """Put the block through the health tests first. Answer with `Tagged`, or with `Unhealthy` or `DeviceFailed`."""

    number: int


@dataclass(frozen=True, slots=True)
class Accept:
    """Both ends hold this block: append what remains of it to the stream."""

    number: int


@dataclass(frozen=True, slots=True)
class Burn:
    """The ends hold different blocks: destroy this one."""

    number: int


@dataclass(frozen=True, slots=True)
class EndStream:
    """Nothing more is appended to this stream. Blocks that are still in check are to be destroyed."""

    stream: StreamId
    reason: str


@dataclass(frozen=True, slots=True)
class ToDevice:
    """Pass this frame on to the device."""

    handle: int


@dataclass(frozen=True, slots=True)
class MaySend:
    """The device may send again."""


@dataclass(frozen=True, slots=True)
class TellSilence:
    """Tell the operator that the device has owed a block for so long; once for each block."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connection: the peer does not keep the protocol."""

    reason: str


Effect = (
    Send
    | StartDevice
    | StopDevice
    | ReadBlock
    | ComputeTags
    | Accept
    | Burn
    | EndStream
    | ToDevice
    | MaySend
    | TellSilence
    | Disconnect
)

Effects = tuple[Effect, ...]
