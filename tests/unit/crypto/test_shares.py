"""Shares: what is combined, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.crypto.shares import MAX_SHARES, combine
from qss.model.errors import LocalProtocolError
from qss.model.key_material import KeyMaterial

SHARES = st.integers(1, 300).flatmap(
    lambda length: st.lists(st.binary(min_size=length, max_size=length), min_size=1, max_size=MAX_SHARES)
)


@given(SHARES)
def test_a_secret_is_the_xor_of_its_shares(shares: list[bytes]) -> None:
    expected = bytearray(len(shares[0]))
    for share in shares:
        for place, byte in enumerate(share):
            expected[place] ^= byte
    assert combine([*map(KeyMaterial, shares)]) == KeyMaterial(expected)


def test_zeros_at_either_end_stay() -> None:
    assert combine([KeyMaterial(b"\0\0a\0"), KeyMaterial(b"\0\0b\0")]) == KeyMaterial(b"\0\0\3\0")


@pytest.mark.parametrize("shares", [[], [b"a"] * (MAX_SHARES + 1), [b"ab", b"c"], [b"", b"c"]])
def test_none_too_many_or_unequal_ones_are_a_defect(shares: list[bytes]) -> None:
    with pytest.raises(LocalProtocolError):
        combine([*map(KeyMaterial, shares)])
