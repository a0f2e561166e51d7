"""Poly1305 and AES-256-GCM as their standards write them down: slow, and not the code that qss uses."""

from __future__ import annotations

import struct
from itertools import count

_P1305 = (1 << 130) - 5
_CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF


def poly1305(key: bytes, message: bytes) -> bytes:
    """RFC 8439 clause 2.5.1, as the pseudo code has it."""
    r = int.from_bytes(key[:16], "little") & _CLAMP
    s = int.from_bytes(key[16:], "little")
    accumulator = 0
    for start in range(0, len(message), 16):
        accumulator = (accumulator + int.from_bytes(message[start : start + 16] + b"\1", "little")) * r % _P1305
    return ((accumulator + s) % (1 << 128)).to_bytes(16, "little")


# --- AES-256 (FIPS 197), encryption only ------------------------------------------------------------------------------


def _doubled(byte: int) -> int:
    return (byte << 1) ^ (0x11B if byte & 0x80 else 0)


def _product(one: int, other: int) -> int:
    total = 0
    while other:
        total ^= one if other & 1 else 0
        one, other = _doubled(one), other >> 1
    return total


def _substituted(byte: int) -> int:
    inverse = next((each for each in range(256) if _product(byte, each) == 1), 0)
    turns = [(inverse << turn | inverse >> (8 - turn)) & 0xFF for turn in range(5)]
    return turns[0] ^ turns[1] ^ turns[2] ^ turns[3] ^ turns[4] ^ 0x63


_S_BOX = [_substituted(byte) for byte in range(256)]


def _round_keys(key: bytes) -> list[bytes]:
    words = [key[start : start + 4] for start in range(0, 32, 4)]
    constant = 1
    for number in range(8, 60):
        word = words[-1]
        if number % 8 == 0:
            word = bytes([_S_BOX[byte] for byte in word[1:] + word[:1]])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = _doubled(constant)
        elif number % 8 == 4:
            word = bytes([_S_BOX[byte] for byte in word])
        words.append(bytes(one ^ other for one, other in zip(words[-8], word, strict=True)))
    return [b"".join(words[start : start + 4]) for start in range(0, 60, 4)]


def _mixed(state: bytes) -> bytes:
    mixed = bytearray()
    for start in range(0, 16, 4):
        column = state[start : start + 4]
        for row in range(4):
            two, three, one, other = (column[(row + further) % 4] for further in range(4))
            mixed.append(_doubled(two) ^ _doubled(three) ^ three ^ one ^ other)
    return bytes(mixed)


def _encrypted(round_keys: list[bytes], block: bytes) -> bytes:
    state = bytes(one ^ other for one, other in zip(block, round_keys[0], strict=True))
    for number, round_key in enumerate(round_keys[1:], 1):
        state = bytes(_S_BOX[byte] for byte in state)
        state = bytes(state[(place + 4 * (place % 4)) % 16] for place in range(16))
        if number < len(round_keys) - 1:
            state = _mixed(state)
        state = bytes(one ^ other for one, other in zip(state, round_key, strict=True))
    return state


# --- GCM (NIST SP 800-38D) with a nonce of 96 bits --------------------------------------------------------------------


def _ghash(key: int, data: bytes) -> int:
    total = 0
    for start in range(0, len(data), 16):
        factor, total = total ^ int.from_bytes(data[start : start + 16].ljust(16, b"\0")), 0
        shifted = key
        for bit in range(127, -1, -1):
            total ^= shifted if factor >> bit & 1 else 0
            shifted = shifted >> 1 ^ (0xE1 << 120 if shifted & 1 else 0)
    return total


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def aes_256_gcm(key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> tuple[bytes, bytes]:
    """Return ciphertext and tag."""
    round_keys = _round_keys(key)
    blocks = (_encrypted(round_keys, nonce + number.to_bytes(4)) for number in count(1))
    mask = next(blocks)
    pad = b"".join(next(blocks) for _ in range(0, len(plain), 16))[: len(plain)]
    sealed = bytes(one ^ other for one, other in zip(plain, pad, strict=True))
    lengths = struct.pack(">QQ", 8 * len(associated), 8 * len(sealed))
    hashed = _ghash(int.from_bytes(_encrypted(round_keys, bytes(16))), _padded(associated) + _padded(sealed) + lengths)
    return sealed, (hashed ^ int.from_bytes(mask)).to_bytes(16)
