"""The device of a module at work for one key stream."""

from __future__ import annotations

import asyncio

from qss.runtime.module.channel import SyncChannel


class DeviceRun:
    """The device at work for one stream."""

    def __init__(self, channel: SyncChannel) -> None:
        self.channel = channel
        self.wanted = asyncio.Event()
        """A block is to be read."""
        self.task: asyncio.Task[None] | None = None
