"""What is asked of relayed key: which paths and combinations will do (Relay 6.1)."""

from __future__ import annotations

from enum import StrEnum


class Hop(StrEnum):
    """How what is relayed is covered on each link of its path (Relay 5)."""

    ONE_TIME_PAD = "one-time-pad"
    AES_256_GCM = "aes-256-gcm"
