"""How much a simulated device has distilled by now: rate, jitter, buffer, outages, QBER limit, start-up.

Held here: a sum over time, without clock and without bits. Time is in seconds of a clock that never steps.
"""

from __future__ import annotations

import math
import random

from qss.model.simulator_settings import SimulatorSettings

BUFFER_S = 0.25
"""Without a buffer's size in the settings it holds what comes in this time."""

_ROUNDING_BITS = 1.0  # what sums of many small times may be wrong by; it is not lost, but comes a moment early


class Distilling:
    """The bits of one device, from `start` on; whole blocks of them are taken."""

    def __init__(self, settings: SimulatorSettings, block_bits: int, dice: random.Random) -> None:
        """Take lengths of blocks and outages from `dice`."""
        self._settings = settings
        self._block_bits = block_bits
        self._dice = dice
        self._held = 0.0
        self._lost = 0.0
        self._at = math.inf  # nothing is distilled before the start
        self._ready_at = 0.0
        self._out = False
        self._turns_at = math.inf
        self._needed = 0.0

    @property
    def settings(self) -> SimulatorSettings:
        """What the device is set to."""
        return self._settings

    @property
    def lost_bits(self) -> int:
        """How much did not find room in the buffer, over all starts."""
        return int(self._lost)

    def start(self, now: float) -> None:
        """Begin with nothing."""
        self._held, self._at = 0.0, now
        self._ready_at = now + self._settings.start_up_s
        self._plan_outages(now)
        self._plan_block()

    def stop(self, now: float) -> None:
        """Distil no more, until the next start."""
        self._advance(now)
        self._at = math.inf

    def change(self, settings: SimulatorSettings, now: float) -> None:
        """Go on with other settings from now on. Another start-up time counts from the next start on."""
        self._advance(now)
        before, self._settings = self._settings, settings
        self._keep(0.0)
        if (before.outage_every_s, before.outage_s) != (settings.outage_every_s, settings.outage_s):
            self._plan_outages(now)

    def take(self, now: float) -> float:
        """Take a block and return 0; if there is none yet, return for how many seconds there will be none at least."""
        self._advance(now)
        missing = self._needed - self._held
        if missing > _ROUNDING_BITS:
            turn = self._next_turn() - now
            return min(turn, missing / self._settings.rate_bps) if self._yields(now) else turn
        self._held -= self._needed
        self._plan_block()
        return 0.0

    def trouble(self, now: float) -> str:
        """Return why nothing is distilled now; empty if something is."""
        self._advance(now)
        if self._settings.trouble:
            return self._settings.trouble
        if now < self._ready_at:
            return f"it starts up for {self._ready_at - now:.1f} s more"
        return "an outage" if self._out else ""

    # --- time ---------------------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Add up what was distilled until now."""
        while self._at < now:
            until = min(now, self._next_turn())
            if self._yields(self._at):
                self._distil(until - self._at)
            self._at = until
            if self._at >= self._turns_at:
                self._turn()

    def _distil(self, seconds: float) -> None:
        self._keep(self._settings.rate_bps * seconds)

    def _keep(self, came: float) -> None:
        """Take what came into the buffer, and lose what has no room in it."""
        settings = self._settings
        buffer = settings.rate_bps * BUFFER_S if settings.buffer_bits is None else settings.buffer_bits
        most = buffer + max(self._block_bits, self._needed)  # the block that is next is not in the buffer
        held = self._held + came
        self._held = min(held, most)
        self._lost += held - self._held

    def _yields(self, at: float) -> bool:
        return not self._settings.trouble and at >= self._ready_at and not self._out

    def _next_turn(self) -> float:
        """Return when it may begin or cease to yield by itself."""
        return self._ready_at if self._at < self._ready_at < self._turns_at else self._turns_at

    def _plan_outages(self, now: float) -> None:
        self._out = False
        every = self._settings.outage_every_s
        self._turns_at = math.inf if every is None else now + self._lasts(every)

    def _turn(self) -> None:
        self._out = not self._out
        every = self._settings.outage_every_s
        assert every is not None
        self._turns_at = self._at + self._lasts(self._settings.outage_s if self._out else every)

    def _lasts(self, mean: float) -> float:
        return self._dice.expovariate(1.0 / mean)

    def _plan_block(self) -> None:
        """Say how many bits' time the next block takes."""
        jitter = self._settings.jitter
        self._needed = self._block_bits * (1.0 + jitter * self._dice.uniform(-1.0, 1.0) if jitter else 1.0)
