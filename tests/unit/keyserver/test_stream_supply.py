"""How much key an application's stream needs: no more than is wanted, and enough for whoever is within the lead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver.stream_supply import (
    CHECK_BYTES,
    MAX_BLOCK_BYTES,
    MAX_RESERVED_BYTES,
    MIN_BLOCK_BYTES,
    Stock,
    Supply,
    allow_blocks,
    cut,
)
from qss.crypto import block_check
from qss.model.keys import KeyLimits

CHUNKS = st.integers(32, 65_536)


def test_blocks_are_those_that_can_be_compared() -> None:
    assert (MIN_BLOCK_BYTES, CHECK_BYTES) == (block_check.MIN_BLOCK_BYTES, block_check.CHECK_BYTES)


def test_one_chunk_is_made_ahead_and_no_more() -> None:
    supply = Supply(2000)
    assert supply.needed(Stock(0, 0), 0) == 2048
    assert supply.needed(Stock(0, 2000), 0) == 0
    assert supply.needed(Stock(2000, 0), 0) == 2048
    assert supply.needed(Stock(2000, 1999), 0) == MIN_BLOCK_BYTES


@pytest.mark.parametrize(("chunk", "lead"), [(32, 4096), (256, 4096), (1000, 16_000), (65_536, 262_144)])
def test_the_other_end_may_be_ahead_by_so_much(chunk: int, lead: int) -> None:
    supply = Supply(chunk)
    assert supply.lead == lead
    assert supply.needed(Stock(0, lead), 1 << 62) == 0
    assert supply.needed(Stock(0, lead - 1), 1 << 62) == MIN_BLOCK_BYTES
    assert supply.needed(Stock(100, lead - 101), lead) == MIN_BLOCK_BYTES


@given(CHUNKS, st.integers(0, 1 << 40), st.integers(0, 1 << 20), st.integers(0, 2**63 - 1))
def test_whatever_is_wanted_nothing_is_made_beyond_the_lead(chunk: int, taken: int, held: int, wanted: int) -> None:
    supply = Supply(chunk)
    length = supply.needed(Stock(taken, held), wanted)
    assert length == 0 or MIN_BLOCK_BYTES <= length <= MAX_BLOCK_BYTES
    if held >= max(supply.lead, chunk):
        assert length == 0
    if held < chunk:
        assert length


SIZES = st.integers(1, 1 << 17).map(lambda size: 8 * size)
LIMITS = st.builds(
    lambda sizes, number: KeyLimits(min_key_size=min(sizes), max_key_size=max(sizes), max_key_per_request=number),
    st.tuples(SIZES, SIZES),
    st.integers(1, 65_536),
)


@given(st.integers(MIN_BLOCK_BYTES, MAX_BLOCK_BYTES), LIMITS)
def test_a_block_is_cut_into_keys_that_the_limits_allow(length: int, limits: KeyLimits) -> None:
    made = cut(length, limits)
    assert 1 <= made.count <= limits.max_key_per_request
    assert limits.min_key_size <= 8 * made.key_bytes <= limits.max_key_size
    if allow_blocks(limits):
        assert MIN_BLOCK_BYTES <= made.count * made.key_bytes <= MAX_RESERVED_BYTES


def test_what_fits_into_keys_is_not_rounded() -> None:
    assert cut(1024, KeyLimits()).key_bytes == 1024
    made = cut(4144, KeyLimits())
    assert (made.count, made.count * made.key_bytes) == (5, 4145)


@pytest.mark.parametrize(("size", "number", "allowed"), [(256, 32, True), (256, 31, False), (8192, 1, True)])
def test_limits_under_which_no_block_can_be_made_are_known(size: int, number: int, allowed: bool) -> None:
    assert allow_blocks(KeyLimits(max_key_size=size, max_key_per_request=number)) is allowed
