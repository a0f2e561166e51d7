"""The channel between two devices."""

from __future__ import annotations

import pytest

from support.device_channel import MemoryChannel


@pytest.fixture
def channels() -> tuple[MemoryChannel, MemoryChannel]:
    return MemoryChannel.pair()
