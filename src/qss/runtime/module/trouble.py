"""What is wrong with a module's device, for the log and the status: told once for each cause, and when it is over."""

from __future__ import annotations

from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from qss.ports.device import DeviceStatus
from qss.runtime.causes import Causes


class Trouble:
    """Why a device yields nothing, as far as it shows from outside."""

    def __init__(self, log: FilteringBoundLogger, called: str) -> None:
        """`called` is what it is to whoever reads the log: "the device", if it is one."""
        self._log = log
        self._called = called
        self._causes = Causes()
        self._reason = ""

    def failed(self, reason: str) -> None:
        """The device could not go on."""
        self._reason = reason
        if self._causes.is_new("failed", reason):
            self._log.warning(f"{self._called} cannot go on", reason=reason)

    def silent(self, seconds: float) -> None:
        """It has owed a block for so long."""
        self._reason = f"it has yielded nothing for {seconds:.0f} s or more"
        self._log.warning(
            f"{self._called} has yielded nothing for {seconds:.0f} s; check it, unless its rate is that low"
        )

    def over(self) -> None:
        """It has yielded a block."""
        if self._reason:
            self._log.info(f"{self._called} yields again")
            self._reason = ""
            self._causes.over("failed")

    def noted(self, status: DeviceStatus) -> DeviceStatus:
        """Return what the device says of itself, with the trouble where it has nothing to note."""
        return status if status.note else replace(status, note=self._reason)
