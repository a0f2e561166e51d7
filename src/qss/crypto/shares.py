"""Shares: a secret that went several ways, each of which says nothing about it, is their XOR (Relay 1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from qss.crypto.xor import xor
from qss.model.errors import LocalProtocolError
from qss.model.key_material import KeyMaterial

MAX_SHARES = 8
"""Most shares of one secret (Relay 6.1)."""


def combine(shares: Sequence[KeyMaterial]) -> KeyMaterial:
    """Return the XOR of 1 to `MAX_SHARES` shares of one length. Raises `LocalProtocolError` for any others."""
    if not 1 <= len(shares) <= MAX_SHARES:
        raise LocalProtocolError(f"{len(shares)} shares were to be combined, and 1 to {MAX_SHARES} can be")
    return KeyMaterial(reduce(xor, (share.reveal() for share in shares)))
