"""The block check: do two ends hold the same block, told without telling the block.

Of each block the last 48 bytes are cut off and burned: r, s1, s2, of 16 bytes each. The two ends then compare
Poly1305 tags (RFC 8439 clause 2.5) of what remains, one per direction: the initiator sends the tag under r and s1, the
responder the tag under r and s2. Each s masks one tag that leaves its end, so the tags say nothing about the block, to
anyone and for ever (Wegman and Carter). Two different remainders of at most L bytes pass with probability at most
8 * ceil(L / 16) / 2^106 in each direction.

Not here: who sends which tag when (`core.module`), and what is done with blocks that differ. A block must be
put through this once only: a second check of other bytes under the same s would tell their difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.poly1305 import Poly1305

from qss.model.errors import DeviceError
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial

CHECK_BYTES = 48
"""What the check costs of each block."""

MIN_BLOCK_BYTES = 1024
"""Smallest block that is checked, so that the check costs at most 5 % of the stream."""

TAG_BYTES = 16

_PART = 16


@dataclass(frozen=True, slots=True)
class BlockCheck:
    """What remains of a block, and its tag in either direction. Only one tag may leave this end."""

    payload: KeyMaterial
    initiator_tag: bytes = field(repr=False)
    responder_tag: bytes = field(repr=False)


def check_block(stream: StreamId, number: int, block: KeyMaterial) -> BlockCheck:
    """Cut the check's key off `block` and compute both tags over stream ID, block number, length and the rest.

    `number` is below 2^64; number and length (in bytes) enter the tag as 8 bytes each, most significant first.
    Raises `DeviceError` if the block is shorter than `MIN_BLOCK_BYTES`.
    """
    if len(block) < MIN_BLOCK_BYTES:
        raise DeviceError(
            f"the device yielded a block of {len(block)} bytes; set it to blocks of at least {MIN_BLOCK_BYTES}"
        )
    secret = block.reveal()
    payload, key = secret[:-CHECK_BYTES], secret[-CHECK_BYTES:]
    r, s1, s2 = key[:_PART], key[_PART : 2 * _PART], key[2 * _PART :]
    header = stream.value + number.to_bytes(8) + len(payload).to_bytes(8)
    return BlockCheck(KeyMaterial(payload), _tag(r + s1, header, payload), _tag(r + s2, header, payload))


def _tag(one_time_key: bytes, header: bytes, payload: bytes) -> bytes:
    mac = Poly1305(one_time_key)
    mac.update(header)
    mac.update(payload)
    return mac.finalize()
