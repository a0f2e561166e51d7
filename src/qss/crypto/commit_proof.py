"""Proofs of commit numbers: a site recognises what it told a neighbour once, also after its store was restored.

A proof is HMAC-SHA256 (RFC 2104), cut to 16 bytes, of incarnation, commit number and neighbour under a key that is
derived from the site's data key, which a restore does not change. Without it a neighbour could claim any number, and so
make a site believe that its store was restored.
"""

from __future__ import annotations

import hashlib
import hmac

from qss.crypto.sealing import derive_subkey
from qss.model.identifiers import QksId

PROOF_BYTES = 16

_PURPOSE = b"qss commit proof v1"


def proof_key(data_key: bytes) -> bytes:
    """Return the key (32 bytes) that one site's proofs are made with."""
    return derive_subkey(data_key, b"", _PURPOSE)


def commit_proof(key: bytes, peer: QksId, incarnation: int, commit_number: int) -> bytes:
    """Return the proof (16 bytes) that goes to `peer` with both numbers (below 2^63)."""
    told = incarnation.to_bytes(8) + commit_number.to_bytes(8) + peer.encode()
    return hmac.digest(key, told, hashlib.sha256)[:PROOF_BYTES]
