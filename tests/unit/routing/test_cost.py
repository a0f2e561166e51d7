"""What a link costs: equation 2, steps, and how seldom another cost is told."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.routing.cost import BAND, EMPTY_COST, RECOVERY_TICKS, STEPS, CostWeights, LinkCost, Told
from qss.model.network import Load

WEIGHTS = CostWeights()
CAPACITY = 1 << 20


def load(part: float, administrative: int = 0) -> Load:
    return Load(round(part * CAPACITY), CAPACITY, administrative)


@pytest.mark.parametrize(
    ("available", "before", "cost"),
    [(0, 0, 1024), (1, 1, 224), (0.5, 0.5, 624), (0.5, 0.25, 584), (0.25, 0.5, 864), (1, 0, 64), (0, 1, 1184)],
)
def test_equation_2(available, before, cost):
    found = WEIGHTS.exact(round(available * CAPACITY), round(before * CAPACITY), CAPACITY)
    assert math.isclose(found, cost)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_cost_stays_above_0(available, before):
    exact = WEIGHTS.exact(round(available * CAPACITY), round(before * CAPACITY), CAPACITY)
    assert exact > 0
    assert LinkCost(WEIGHTS, load(available)).told.cost >= 1


@pytest.mark.parametrize(
    ("base", "level", "trend", "why"),
    [
        (100, 60, 40, "c0 = 100 must be more than w1 + w2 = 100: raise c0, or lower w1 or w2"),
        (100, 0, 101, "c0 = 100 must be more than w1 + w2 = 101: raise c0, or lower w1 or w2"),
        (100, -1, 0, "w1 = -1 must not be below 0: take 0 to leave that part of the cost out"),
        (100, 1, -0.5, "w2 = -0.5 must not be below 0: take 0 to leave that part of the cost out"),
        (100, math.nan, 0, "w1 = nan must not be below 0: take 0 to leave that part of the cost out"),
        (1e9, 1, 1, "c0 = 1e+09 must be at most 8388608: lower c0, w1 and w2 alike"),
    ],
)
def test_weights_that_cannot_be(base, level, trend, why):
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        CostWeights(base, level, trend)


def test_more_than_the_capacity_counts_as_full():
    assert WEIGHTS.exact(3 * CAPACITY, 3 * CAPACITY, CAPACITY) == WEIGHTS.exact(CAPACITY, CAPACITY, CAPACITY)


def test_a_buffer_that_fills_is_told_a_few_times():
    cost = LinkCost(WEIGHTS, load(0))
    told = [cost.told.cost] + [cost.told.cost for n in range(1, 10_001) if cost.tick(load(n / 10_000))]
    assert told == sorted(told, reverse=True)
    assert told[0] == 1024 + EMPTY_COST
    assert 10 <= len(told) <= 14  # 800 of 1,024 in steps of 64, and the first key


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=200), st.floats(0.1, 0.9))
def test_a_buffer_that_trembles_is_told_at_most_once(steps, middle):
    """By less than half a step of cost from one end to the other, trend included."""
    swing = 0.2 * WEIGHTS.step / (WEIGHTS.level + 2 * WEIGHTS.trend)
    cost = LinkCost(WEIGHTS, load(middle))
    assert sum(cost.tick(load(middle + swing * step)) for step in steps) <= 1


@given(st.lists(st.floats(0.1, 1), min_size=1, max_size=50))
def test_what_is_told_is_within_the_band_of_what_is_so(parts):
    cost = LinkCost(WEIGHTS, load(1))
    before = load(1)
    for part in parts:
        now = load(part)
        cost.tick(now)
        exact = WEIGHTS.exact(now.available_bits, before.available_bits, CAPACITY)
        before = now
        assert abs(cost.told.cost - exact) <= BAND * WEIGHTS.step + 1


def test_the_last_key_is_told_at_once_and_key_again_when_it_lasts():
    cost = LinkCost(WEIGHTS, load(1))
    assert cost.tick(Load(0, CAPACITY))
    assert cost.told == Told(round((1024 + WEIGHTS.trend) / 64) * 64 + EMPTY_COST, 0)
    assert not any(cost.tick(Load(8, CAPACITY)) for _ in range(RECOVERY_TICKS - 1))
    assert cost.told.available_bits == 0
    assert cost.tick(Load(9, CAPACITY))
    assert cost.told == Told(1024, 8)


def test_much_key_again_is_told_at_once():
    cost = LinkCost(WEIGHTS, load(0))
    assert not cost.tick(load(1 / STEPS - 0.001))
    assert cost.tick(load(1 / STEPS))
    assert cost.told.available_bits == CAPACITY // STEPS


@given(st.lists(st.booleans(), min_size=100, max_size=600))
def test_a_link_that_is_drained_again_and_again_is_told_seldom(drained):
    cost = LinkCost(WEIGHTS, load(0))
    told = sum(cost.tick(Load(0 if empty else 8192, CAPACITY)) for empty in drained)
    assert told <= 2 + 2 * len(drained) / RECOVERY_TICKS


def test_a_link_without_key_costs_more_than_any_way_around_that_has_some():
    longest = 1000 * LinkCost(WEIGHTS, Load(1, CAPACITY)).told.cost
    assert LinkCost(WEIGHTS, Load(0, CAPACITY)).told.cost > longest


def test_the_administrators_cost_is_added_and_told_at_once():
    cost = LinkCost(WEIGHTS, load(1))
    assert cost.told.cost == 256  # 224, in steps of 64
    assert cost.tick(load(1, 500))
    assert cost.told.cost == 756


def test_key_left_is_told_as_a_power_of_two():
    assert LinkCost(WEIGHTS, Load(1023, CAPACITY)).told.available_bits == 512
    assert LinkCost(WEIGHTS, Load(1024, CAPACITY)).told.available_bits == 1024
