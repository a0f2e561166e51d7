"""What a link costs, in key: the published system's equation 2, quantised and damped (Routing 8.1 and 8.3). Pure.

A cost that followed every key would be told with every key. So it moves in steps, and only when it has clearly left the
step that was told last: within a band of one step on both sides of it nothing is said. So what trembles by half a step,
all in all, is told at most once. That a link has no key is told at once; that it has some again, when that lasts.
"""

from __future__ import annotations

from dataclasses import dataclass

from qss.model.network import Load
from qss.wire.routing import MAX_COST

STEPS = 16
"""Steps from 0 to c0."""

EMPTY_COST = 1 << 20
"""Added where there is no key: any way around is better, and the link is there if there is none (Routing 8.4)."""

RECOVERY_TICKS = 10
"""A link that had no key has some again after so many ticks with key, or with a step of its capacity at once."""

BAND = 1.0
"""How far the exact cost may be from the told one, in steps, before another one is told."""


@dataclass(frozen=True, slots=True)
class CostWeights:
    """The constants of equation 2 (Routing 8.1).

    `base` (c0) must be more than `level` (w1) and `trend` (w2) together.
    """

    base: float = 1024.0
    level: float = 800.0
    trend: float = 160.0

    def __post_init__(self) -> None:
        for name, weight in (("w1", self.level), ("w2", self.trend)):
            if not weight >= 0:
                raise ValueError(f"{name} = {weight:g} must not be below 0: take 0 to leave that part of the cost out")
        if not self.base <= MAX_COST // 2:
            raise ValueError(f"c0 = {self.base:g} must be at most {MAX_COST // 2}: lower c0, w1 and w2 alike")
        if not self.level + self.trend < self.base:
            least = self.level + self.trend
            raise ValueError(f"c0 = {self.base:g} must be more than w1 + w2 = {least:g}: raise c0, or lower w1 or w2")

    @property
    def step(self) -> float:
        """By how much told costs differ at least."""
        return self.base / STEPS

    def exact(self, available: int, before: int, capacity: int) -> float:
        """Return K(t) of equation 2 (Routing 8.1).

        `available` and `before` are the bits of key left at this tick and the last.
        """
        left = min(available, capacity) / capacity
        came = left - min(before, capacity) / capacity
        return self.base - self.level * left - self.trend * came


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a link: its cost, and the bits of key left, rounded down to a power of two."""

    cost: int
    available_bits: int


class LinkCost:
    """The cost of one link at this end, tick by tick."""

    def __init__(self, weights: CostWeights, load: Load) -> None:
        """Begin with what is there now, as if it had been so for long."""
        self._weights = weights
        self._load = load
        self._exact = weights.exact(load.available_bits, load.available_bits, load.capacity_bits)
        self._ticks_with_key = 0
        self.told = self._tell(is_empty=load.available_bits == 0)
        """What is to be told now."""

    def tick(self, load: Load) -> bool:
        """Take in how the link is now, a tick later; return whether something else is to be told (Routing 8.3)."""
        before, self._load = self._load, load
        self._exact = self._weights.exact(load.available_bits, before.available_bits, load.capacity_bits)
        self._ticks_with_key = self._ticks_with_key + 1 if load.available_bits else 0
        is_empty = self._counts_as_empty()
        left_the_band = not is_empty and abs(self._exact - self._told_exact) > BAND * self._weights.step
        other_key = is_empty is not (self.told.available_bits == 0)
        if not (left_the_band or other_key or load.administrative_cost != before.administrative_cost):
            return False
        told = self._tell(is_empty=is_empty)
        changed, self.told = told != self.told, told
        return changed

    def _counts_as_empty(self) -> bool:
        """Whether the link has no key, or had none and has too little for too short a time (Routing 8.3)."""
        load = self._load
        if self.told.available_bits or load.available_bits == 0:
            return load.available_bits == 0
        return load.available_bits * STEPS < load.capacity_bits and self._ticks_with_key < RECOVERY_TICKS

    def _tell(self, *, is_empty: bool) -> Told:
        step = self._weights.step
        self._told_exact = max(1, round(self._exact / step) * step)
        cost = self._told_exact + self._load.administrative_cost + (EMPTY_COST if is_empty else 0)
        bits = 0 if is_empty else 1 << self._load.available_bits.bit_length() - 1
        return Told(min(MAX_COST, round(cost)), bits)
