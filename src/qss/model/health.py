"""The names of the health tests that every block of a QKD device must pass (`crypto.health`)."""

from __future__ import annotations

from enum import StrEnum


class HealthTest(StrEnum):
    """What a device can be found to do that no source of random bits does."""

    REPETITION_COUNT = "repetition-count"
    """One byte again and again (NIST SP 800-90B, 4.4.1)."""
    ADAPTIVE_PROPORTION = "adaptive-proportion"
    """One byte much too often (NIST SP 800-90B, 4.4.2)."""
    BIT_BALANCE = "bit-balance"
    """Many more ones than zeros, or fewer: a bit of every byte is stuck, for one."""
    CYCLE = "cycle"
    """Bits that came shortly before."""
    REPEATED_BLOCK = "repeated-block"
    """A block that came before."""
