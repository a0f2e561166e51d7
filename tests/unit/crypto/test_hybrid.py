"""The hybrid combiner: FIPS 203 by a published vector, SHAKE256 by a permutation of its own, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm, _Reasons
from hypothesis import given
from hypothesis import strategies as st

from qss.crypto import hybrid
from qss.crypto.hybrid import CT_BYTES, EK_BYTES, SEED_BYTES, decapsulate, encapsulate, mask, new_key
from qss.model.errors import LocalProtocolError, RemoteProtocolError, Unavailable
from qss.model.key_material import KeyMaterial

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "ml-kem-768.json").read_text(encoding="utf-8"))
D, Z, EK, CT, SECRET = (bytes.fromhex(VECTOR[name]) for name in ("d", "z", "ek", "ct", "ss"))

SEEDS = st.binary(min_size=SEED_BYTES, max_size=SEED_BYTES).map(KeyMaterial)


def test_the_published_vector() -> None:
    assert (len(EK), len(CT)) == (EK_BYTES, CT_BYTES)
    private, ek = new_key(KeyMaterial(D + Z))
    assert ek == EK
    assert decapsulate(private, CT).reveal() == SECRET


@given(SEEDS)
def test_both_ends_agree_on_a_secret_that_is_new_each_time(seed) -> None:
    private, ek = new_key(seed)
    assert new_key(seed)[1] == ek
    secrets = []
    for _ in range(2):
        secret, ct = encapsulate(ek)
        assert (len(secret), len(ct)) == (32, CT_BYTES)
        assert decapsulate(private, ct) == secret
        secrets.append(secret)
    assert secrets[0] != secrets[1]


def test_a_changed_ciphertext_tells_a_secret_that_nobody_else_knows() -> None:
    """Implicit rejection (FIPS 203, algorithm 18, step 7): SHAKE256 over z and the ciphertext."""
    private, _ = new_key(KeyMaterial(D + Z))
    for place in (0, 959, 960, CT_BYTES - 1):
        changed = bytearray(CT)
        changed[place] ^= 1
        assert decapsulate(private, bytes(changed)).reveal() == hashlib.shake_256(Z + changed).digest(32)


@pytest.mark.parametrize("ek", [b"", bytes(EK_BYTES - 1), bytes(EK_BYTES + 1), b"\xff" * EK_BYTES])
def test_what_is_no_encapsulation_key_is_refused(ek) -> None:
    with pytest.raises(RemoteProtocolError, match="no encapsulation key"):
        encapsulate(ek)


@pytest.mark.parametrize("coefficient", [3329, 4095])
def test_a_key_whose_coefficients_are_not_reduced_is_refused(coefficient) -> None:
    """The modulus check of FIPS 203, 7.2, for one coefficient at either end of the key."""
    first = coefficient.to_bytes(2, "little")
    with pytest.raises(RemoteProtocolError):
        encapsulate(first[:1] + bytes([EK[1] & 0xF0 | first[1]]) + EK[2:])
    last = (coefficient << 4).to_bytes(2, "little")
    with pytest.raises(RemoteProtocolError):
        encapsulate(EK[:1150] + bytes([EK[1150] & 0x0F | last[0]]) + last[1:] + EK[1152:])


@pytest.mark.parametrize("size", [0, CT_BYTES - 1, CT_BYTES + 1])
def test_a_ciphertext_of_another_size_is_refused(size) -> None:
    private, _ = new_key(KeyMaterial(D + Z))
    with pytest.raises(RemoteProtocolError, match="1088 bytes"):
        decapsulate(private, bytes(size))


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_a_seed_of_another_size_is_a_defect(size) -> None:
    with pytest.raises(LocalProtocolError, match="64 bytes"):
        new_key(KeyMaterial(bytes(size)))


def test_a_library_without_ml_kem_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        @staticmethod
        def from_seed_bytes(seed: bytes) -> None:
            raise UnsupportedAlgorithm("no ML-KEM", _Reasons.UNSUPPORTED_PUBLIC_KEY_ALGORITHM)

        from_public_bytes = from_seed_bytes

    monkeypatch.setattr(hybrid, "MLKEM768PrivateKey", Absent)
    monkeypatch.setattr(hybrid, "MLKEM768PublicKey", Absent)
    with pytest.raises(Unavailable, match=r"OpenSSL 3\.5 or later"):
        new_key(KeyMaterial(bytes(SEED_BYTES)))
    with pytest.raises(Unavailable, match=r"OpenSSL 3\.5 or later"):
        encapsulate(bytes(EK_BYTES))


# --- the mask -------------------------------------------------------------------------------------------------------

TURNS = (0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14)
"""FIPS 202, table 2, modulo 64: by x + 5 y."""


def keccak_f(lanes: list[int]) -> list[int]:
    """Keccak-f[1600] of FIPS 202, clause 3.3, as its steps have it; a lane is at x + 5 y."""

    def turned(lane: int, by: int) -> int:
        return (lane << by | lane >> 64 - by) & (1 << 64) - 1

    shift = 1
    for _ in range(24):
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        lanes = [lanes[i] ^ columns[(i - 1) % 5] ^ turned(columns[(i + 1) % 5], 1) for i in range(25)]
        moved = [0] * 25
        for i in range(25):
            x, y = i % 5, i // 5
            moved[y + 5 * ((2 * x + 3 * y) % 5)] = turned(lanes[i], TURNS[i])
        lanes = [moved[i] ^ (~moved[i // 5 * 5 + (i + 1) % 5] & moved[i // 5 * 5 + (i + 2) % 5]) for i in range(25)]
        for j in range(7):  # rc of algorithm 5
            lanes[0] ^= (shift & 1) << (1 << j) - 1
            shift = shift << 1 ^ (0x171 if shift & 0x80 else 0)
    return lanes


def shake_256(message: bytes, length: int) -> bytes:
    """FIPS 202, clauses 4 and 6.2."""
    rate = 136
    padded = bytearray(message + b"\x1f" + bytes(-(len(message) + 1) % rate))
    padded[-1] |= 0x80
    lanes, out = [0] * 25, b""
    for start in range(0, len(padded), rate):
        for i in range(rate // 8):
            lanes[i] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        lanes = keccak_f(lanes)
    while len(out) < length:
        out += b"".join(lane.to_bytes(8, "little") for lane in lanes[: rate // 8])
        lanes = keccak_f(lanes)
    return out[:length]


def test_the_mask_is_shake256_over_each_part_and_its_length() -> None:
    framed = (32).to_bytes(8, "big") + SECRET + bytes(7) + b"\x02ek" + bytes(7) + b"\x03ct!" + bytes(8)
    assert mask(KeyMaterial(SECRET), b"ek", b"ct!", b"", 300).reveal() == shake_256(framed, 300)
    assert len(mask(KeyMaterial(SECRET), b"ek", b"ct!", b"", 262_192)) == 262_192


def test_the_start_of_a_longer_mask_is_the_shorter_one_and_every_part_counts() -> None:
    told = [(SECRET, b"e", b"c", b"x"), (SECRET, b"ec", b"", b"x"), (SECRET, b"e", b"cx", b""), (D, b"e", b"c", b"x")]
    masks = [mask(KeyMaterial(secret), *rest, 64).reveal() for secret, *rest in told]
    assert len(set(masks)) == len(told)
    assert mask(KeyMaterial(SECRET), b"e", b"c", b"x", 32).reveal() == masks[0][:32]
