"""What a module says of itself, for the site's status and metrics."""

from __future__ import annotations

from dataclasses import dataclass

from qss.core.module import Counts, Phase
from qss.model.identifiers import StreamId
from qss.ports.device import DeviceStatus


@dataclass(frozen=True, slots=True)
class ModuleStatus:
    """What a module says of itself."""

    phase: Phase
    exchange: bool
    """Whether key streams may be opened: an administrator can stop it."""
    stream: StreamId | None
    """The stream that was opened last, if it was not closed by the QKS."""
    chunk_bytes: int | None
    security: str | None
    """How the Sync connection is secured; None without one."""
    counts: Counts
    owed_s: float
    """For how long the device has owed the block that it was asked for."""
    device: DeviceStatus
