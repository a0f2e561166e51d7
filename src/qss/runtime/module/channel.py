"""The device's channel to its other end: frames inside Sync, for the time of one key stream.

How many frames may be on their way says the core (Sync 5); this end's queue is bounded by that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from qss.model.errors import ConnectionLost, LocalProtocolError
from qss.wire.sync import MAX_DEVICE_FRAME_BYTES

_ENDED = "the key stream of this device channel has ended"


class SyncChannel:
    """Implements `qss.ports.device.DeviceChannel`."""

    def __init__(self, may_send: Callable[[], bool], send: Callable[[bytes], None], taken: Callable[[], None]) -> None:
        """Make the channel of a running stream: `send` sends a frame at once, `taken` counts one that was received."""
        self._may_send = may_send
        self._send = send
        self._taken = taken
        self._frames: deque[bytes] = deque()
        self._sendable = asyncio.Event()
        self._readable = asyncio.Event()
        self._ended = False

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while the other end has not taken enough of the earlier ones."""
        if len(frame) > MAX_DEVICE_FRAME_BYTES:
            raise LocalProtocolError(
                f"a device sent a frame of {len(frame)} bytes; split it, {MAX_DEVICE_FRAME_BYTES} are the limit"
            )
        while not self._ended:
            if self._may_send():
                self._send(frame)
                return
            self._sendable.clear()
            await self._sendable.wait()
        raise ConnectionLost(_ENDED)

    async def receive(self) -> bytes:
        """Return the next frame of the other end."""
        while not self._ended:
            if self._frames:
                frame = self._frames.popleft()
                self._taken()
                return frame
            self._readable.clear()
            await self._readable.wait()
        raise ConnectionLost(_ENDED)

    def put(self, frame: bytes) -> None:
        """Hand in a frame that came from the other end."""
        self._frames.append(frame)
        self._readable.set()

    def wake(self) -> None:
        """Frames may be sent again."""
        self._sendable.set()

    def end(self) -> None:
        """The stream has ended: frames that wait are destroyed."""
        self._ended = True
        self._frames.clear()
        self._sendable.set()
        self._readable.set()
