"""Health tests: cutoffs against published ones, each fault that they are for, and no false alarm."""

from __future__ import annotations

import hashlib
import itertools
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.crypto import health
from qss.crypto.health import (
    ALPHA_BITS,
    BALANCE_BYTES,
    ENTROPY_BITS,
    REMEMBERED_BLOCKS,
    REPETITION_ALPHA_BITS,
    WINDOW,
    HealthState,
    balance_limit,
    examine,
    proportion_cutoff,
    repetition_cutoff,
)
from qss.model.errors import DeviceUnhealthy
from qss.model.health import HealthTest
from qss.model.key_material import KeyMaterial

REPETITIONS = repetition_cutoff(REPETITION_ALPHA_BITS, ENTROPY_BITS)
PROPORTION = proportion_cutoff(ALPHA_BITS, ENTROPY_BITS, WINDOW)


def random_bytes(size, seed=0):
    return hashlib.shake_128(seed.to_bytes(8)).digest(size)


def found(*blocks, state=None):
    """Return which test fails one of the blocks, and at which."""
    state = state or HealthState()
    for number, block in enumerate(blocks):
        try:
            state = examine(state, KeyMaterial(block))
        except DeviceUnhealthy as unhealthy:
            return unhealthy.test, number
    return None


# --- cutoffs ------------------------------------------------------------------------------------------------------


def test_the_repetition_cutoff_is_that_of_the_standards_example():
    assert repetition_cutoff(20, 2.0) == 11  # 4.4.1: alpha = 2^-20, H = 2
    assert [repetition_cutoff(30, 1 / osr) for osr in (1, 2, 3)] == [31, 61, 91]
    assert REPETITIONS == 16


def test_the_proportion_cutoff_is_that_of_jitterentropy_s_table():
    """Published for alpha = 2^-30 and W = 512, at H = 1/1 to 1/15: the first sample is no trial there either."""
    table = [325, 422, 459, 477, 488, 494, 499, 502, 505, 507, 508, 509, 510, 511, 512]
    assert [proportion_cutoff(30, 1 / osr, 512) for osr in range(1, 16)] == table


@pytest.mark.parametrize(
    ("alpha_bits", "entropy_bits", "window"), [(30, 8, 512), (80, 8, 512), (80, 1, 1024), (20, 4, 64)]
)
def test_the_proportion_cutoff_is_exact(alpha_bits, entropy_bits, window):
    p = Fraction(1, 2**entropy_bits)
    cutoff = proportion_cutoff(alpha_bits, entropy_bits, window)

    def at_least(k):
        """That the first sample of a window comes at least k times in it."""
        return sum(comb(window - 1, i) * p**i * (1 - p) ** (window - 1 - i) for i in range(k - 1, window))

    assert at_least(cutoff) <= Fraction(1, 2**alpha_bits) < at_least(cutoff - 1)


def test_the_balance_limit_keeps_the_false_alarm_rate():
    bits = 1024
    limit = balance_limit(30, bits)
    beyond = sum(comb(bits, k) for k in range(bits + 1) if abs(k - bits / 2) >= limit)
    assert 2**-45 < Fraction(beyond, 2**bits) <= 2**-30


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("byte", [0, 255, 0x55])
@pytest.mark.parametrize("size", [1024, 1025, 65536])
def test_a_stuck_output_is_found_in_its_first_block(byte, size):
    assert found(random_bytes(size), bytes([byte]) * size) == (HealthTest.REPETITION_COUNT, 1)


@given(st.integers(0, 1024 - REPETITIONS), st.integers(0, 255))
def test_a_run_is_found_at_the_cutoff_wherever_it_is_and_not_before(place, byte):
    other = bytes([byte ^ 1])
    block = random_bytes(1024, 3)

    def with_run(length):
        return block[:place] + bytes([byte]) * length + other + block[place + length + 1 :]

    before = block[place - 1 : place] if place else b""
    if before != bytes([byte]):
        assert found(with_run(REPETITIONS - 1)) is None
    assert found(with_run(REPETITIONS)) == (HealthTest.REPETITION_COUNT, 0)


@pytest.mark.parametrize("before", range(1, REPETITIONS))
def test_a_run_is_found_across_blocks(before):
    after = REPETITIONS - before
    one, two = random_bytes(1024, 1), random_bytes(1024, 2)
    first, second = one[:-before] + b"r" * before, b"r" * after + two[after:]
    assert found(first, second) == (HealthTest.REPETITION_COUNT, 1)
    assert found(first, b"r" * (after - 1) + b"." + two[after:]) is None


@given(st.data())
def test_one_byte_too_often_in_a_window_is_found_at_the_cutoff(data):
    """Windows are counted from the first block on, across blocks of any size."""
    sizes = data.draw(st.lists(st.integers(100, 1500), min_size=1, max_size=4))
    stream = bytearray(random_bytes(4 * WINDOW, 5))
    window = data.draw(st.integers(0, 3)) * WINDOW
    first = stream[window]
    for place in range(window, window + WINDOW):
        if stream[place] == first:
            stream[place] ^= 1
    places = data.draw(st.sets(st.integers(1, WINDOW // 2 - 1), min_size=PROPORTION - 1, max_size=PROPORTION - 1))
    for place in (0, *places):
        stream[window + 2 * place] = first
    blocks, start = [], 0
    for size in (*sizes, len(stream)):
        blocks.append(bytes(stream[start : start + size]))
        start += size
    blocks = [block for block in blocks if block]
    verdict = found(*blocks)
    assert verdict is not None
    assert verdict[0] is HealthTest.ADAPTIVE_PROPORTION
    stream[window + 2 * max(places)] ^= 1
    assert found(bytes(stream)) is None


@pytest.mark.parametrize("size", [1024, 4096, 65536])
@pytest.mark.parametrize("period", [1, 2, 3, 5, 7, 16, 17, 64, 251, 500, 1000, 1023, 1024])
def test_a_cycle_is_found_within_two_blocks(size, period):
    cycle = random_bytes(period, 9)
    stream = (cycle * (3 * size // period + 2))[: 3 * size]
    verdict = found(*(stream[start : start + size] for start in range(0, 3 * size, size)))
    assert verdict is not None
    assert verdict[1] <= 1


def test_a_cycle_that_begins_within_a_block_is_found():
    block = random_bytes(4096, 1)
    assert found(block[:3000] + (block[3000:3100] * 20)[:1096]) == (HealthTest.CYCLE, 0)


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("stuck_at", [0, 1])
def test_a_stuck_bit_in_every_byte_is_found(bit, stuck_at):
    mask = 1 << bit
    block = bytes((byte | mask) if stuck_at else (byte & ~mask) for byte in random_bytes(4096))
    assert found(block) == (HealthTest.BIT_BALANCE, 0)


@pytest.mark.parametrize("size", [4096, 65536])
@pytest.mark.parametrize("high", range(8))
def test_two_bits_that_are_stuck_and_balance_each_other_are_found_in_turn(size, high):
    low = (high + 3) % 8

    def block(seed):
        return bytes((byte | 1 << high) & ~(1 << low) for byte in random_bytes(size, seed))

    verdict = found(*(block(seed) for seed in range(8)))
    assert verdict is not None
    assert verdict[0] is HealthTest.BIT_BALANCE


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("buffers", [1, 2, 4])
def test_a_bit_that_is_stuck_in_a_part_of_every_few_blocks_is_found(part, buffers):
    """Also where the device's fault comes round as regularly as the test might."""

    def block(seed):
        whole = bytearray(random_bytes(4 * BALANCE_BYTES, seed))
        if seed % buffers == 0:
            for place in range(part * BALANCE_BYTES, (part + 1) * BALANCE_BYTES):
                whole[place] |= 1
        return bytes(whole)

    verdict = found(*(block(seed) for seed in range(200)))
    assert verdict is not None
    assert verdict[0] is HealthTest.BIT_BALANCE


@pytest.mark.parametrize("before", [0, 1, 500, 1023, 1100])
@pytest.mark.parametrize("blocks", [65, 100, 128, 129, 300])
def test_a_ring_of_any_length_is_found_within_three_rounds_whenever_it_begins(blocks, before):
    good = [random_bytes(64, seed) for seed in range(before)]
    ring = [random_bytes(64, 10_000 + seed) for seed in range(blocks)]
    verdict = found(*good, *ring, *ring, *ring)
    assert verdict is not None
    assert verdict[0] is HealthTest.REPEATED_BLOCK
    assert verdict[1] >= before + blocks


def test_a_block_that_comes_again_is_found_as_long_as_it_is_remembered():
    blocks = [random_bytes(1024, seed) for seed in range(REMEMBERED_BLOCKS + 1)]
    assert found(*blocks[:-1], blocks[0]) == (HealthTest.REPEATED_BLOCK, REMEMBERED_BLOCKS)
    assert found(*blocks, blocks[0]) is None


def test_after_a_failure_only_the_blocks_are_remembered():
    state = examine(HealthState(), KeyMaterial(random_bytes(1024) + b"r" * 14))
    assert found(b"rr" + random_bytes(1000, 2), state=state) == (HealthTest.REPETITION_COUNT, 0)
    assert found(b"rr" + random_bytes(1000, 2), state=state.restarted()) is None
    assert found(random_bytes(1024) + b"r" * 14, state=state.restarted()) == (HealthTest.REPEATED_BLOCK, 0)


# --- and no others ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=20), st.integers(0, 1 << 60))
def test_random_blocks_of_any_size_pass(sizes, seed):
    stream = random_bytes(sum(sizes), seed)
    ends = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    assert found(*(stream[a:b] for a, b in itertools.pairwise(ends) if b - a >= 32)) is None


def test_sixteen_million_random_samples_pass_and_come_close_to_no_cutoff(monkeypatch):
    """At cutoffs of 2^-20 they do not: so the tests look at every sample."""
    blocks = [random_bytes(1 << 16, seed) for seed in range(1 << 8)]
    assert found(*blocks) is None
    for name, value in (("_REPETITIONS", repetition_cutoff(16, 8)), ("_PROPORTION", proportion_cutoff(10, 8, WINDOW))):
        with monkeypatch.context() as loosened:
            loosened.setattr(health, name, value)
            if name == "_REPETITIONS":
                loosened.setattr(health, "_EQUAL_STEPS", b"")
            assert found(*blocks) is not None


def test_what_is_remembered_does_not_show():
    block = random_bytes(1024)
    shown = repr(examine(HealthState(), KeyMaterial(block)))
    assert shown == "HealthState(left=0, count=1)"
    with pytest.raises(DeviceUnhealthy) as unhealthy:
        examine(HealthState(), KeyMaterial(b"secret!!" * 128))
    assert "secret" not in str(unhealthy.value)
    assert "check the device" in str(unhealthy.value)
