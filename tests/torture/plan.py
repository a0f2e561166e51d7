"""What will be broken, and when: all of it follows from the seed. (What is under way at that moment does not: processes
are real.)"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from qss.cli.demo.nodes import Name
from qss.model.identifiers import QksId

CUT, TEAR, STALL, CLOSE = "cut", "tear", "stall", "close"
"""What befalls a road: connections end, end within a record, stand still, end and are refused."""

STORM_EVERY_S = 2.0
"""Time between two storms, on average."""


@dataclass(frozen=True)
class Blow:
    """Kills of nodes and modules, all at once, some seconds after the network was seen to work. Each is started again
    after a while."""

    after_s: float
    victims: tuple[Name, ...]
    down_s: float
    again_s: float | None
    """Kill the first victim once more, so long after its start: while it recovers."""

    @property
    def kills(self) -> int:
        """How many processes end."""
        return len(self.victims) + (self.again_s is not None)


@dataclass(frozen=True)
class Storm:
    """Something befalls a road, some seconds after the one before."""

    after_s: float
    road: tuple[QksId, ...]
    what: str
    lasts_s: float


def blows(seed: int, processes: Sequence[Name], kills: int) -> Iterator[Blow]:
    """Yield blows that kill `kills` times in all."""
    chance = Random(f"blows {seed}")
    left = kills
    while left:
        many = 1 if left == 1 or chance.random() < 0.75 else 2
        victims = tuple(chance.sample(processes, many))
        again_s = chance.uniform(0.0, 1.2) if left > many and chance.random() < 0.25 else None
        blow = Blow(chance.uniform(0.0, 0.8), victims, chance.uniform(0.0, 0.8), again_s)
        left -= blow.kills
        yield blow


def storms(seed: int, roads: Sequence[tuple[QksId, ...]]) -> Iterator[Storm]:
    """Yield storms without end."""
    chance = Random(f"storms {seed}")
    while True:
        what = chance.choice((CUT, CUT, TEAR, STALL, STALL, CLOSE))
        # A stall is at times longer than the silence that ends a connection (5 s), mostly shorter.
        lasts_s = {CUT: 0.0, TEAR: 0.5, STALL: chance.choice((0.3, 1.5, 6.0)), CLOSE: chance.uniform(0.2, 2.0)}[what]
        yield Storm(chance.expovariate(1 / STORM_EVERY_S), chance.choice(list(roads)), what, lasts_s)
