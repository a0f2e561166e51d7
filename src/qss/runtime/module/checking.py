"""The bytes of the blocks that a module has in check, and what is computed of them (Sync 4)."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from qss.core.module import events as ev
from qss.crypto.block_check import check_block
from qss.crypto.health import HealthState, examine
from qss.model.errors import DeviceError, DeviceUnhealthy
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.device import DeviceRole, RawBlock


class Checking:
    """The blocks in check, by their numbers; the health of what came before is remembered across streams."""

    def __init__(self, role: DeviceRole, log: FilteringBoundLogger) -> None:
        self._role = role
        self._log = log
        self._health = HealthState()
        self._blocks: dict[int, KeyMaterial] = {}

    def put(self, block: RawBlock) -> None:
        """Hold a block that the device has yielded."""
        self._blocks[block.number] = block.material

    def check(self, stream: StreamId, number: int) -> ev.Tagged | ev.Unhealthy | ev.DeviceFailed:
        """Cut the check's key off a block, and return both ends' tags of what remains, or what is wrong with it."""
        block = self._blocks[number]
        try:
            self._health = examine(self._health, block)
            check = check_block(stream, number, block)
        except DeviceUnhealthy as unhealthy:
            self._health = self._health.restarted()
            self._log.error("the device failed a health test", test=str(unhealthy.test), reason=str(unhealthy))
            return ev.Unhealthy(number, unhealthy.test, str(unhealthy))
        except DeviceError as error:
            return ev.DeviceFailed(str(error))
        self._blocks[number] = check.payload
        ours, expected = check.initiator_tag, check.responder_tag
        if self._role is DeviceRole.RESPONDER:
            ours, expected = expected, ours
        return ev.Tagged(number, len(check.payload), ours, expected)

    def take(self, number: int) -> KeyMaterial:
        """Return what remains of a block that is decided, and hold it no more."""
        return self._blocks.pop(number)

    def clear(self) -> None:
        """Hold nothing more: the stream has ended."""
        self._blocks.clear()
