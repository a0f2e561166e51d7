"""The window of the device channel: how many frames of the devices may be on their way, in either direction."""

from __future__ import annotations

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.wire.sync import DEVICE_WINDOW

_GRANT = DEVICE_WINDOW // 2


class DeviceWindow:
    """Credit of one stream's device channel, in frames (Sync 5.2, 5.3)."""

    def __init__(self) -> None:
        self._sendable = DEVICE_WINDOW
        self._awaited = DEVICE_WINDOW
        self._taken = 0

    @property
    def may_send(self) -> bool:
        """Whether the device may send a frame now."""
        return self._sendable > 0

    def sent(self) -> None:
        """Count a frame that leaves."""
        if not self._sendable:
            raise LocalProtocolError("the device's frame has no credit")
        self._sendable -= 1

    def granted(self, frames: int) -> None:
        """Take in the peer's Credit."""
        if self._sendable + frames > DEVICE_WINDOW:
            raise RemoteProtocolError("the peer granted more device frames than it was sent")
        self._sendable += frames

    def came(self) -> None:
        """Count a frame that came."""
        if not self._awaited:
            raise RemoteProtocolError(f"more than {DEVICE_WINDOW} device frames came without credit")
        self._awaited -= 1

    def taken(self) -> int:
        """Count a frame that the device took; return how many to grant now, maybe 0."""
        self._taken += 1
        if self._taken < _GRANT:
            return 0
        granted, self._taken = self._taken, 0
        self._awaited += granted
        return granted
