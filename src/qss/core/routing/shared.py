"""What the parts of one routing module share: settings, database, neighbours, the time of the event at hand, effects.

Held here: data, and nothing that decides. Each part has the steps of its chapter (see `qss.core.routing`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from qss.core.routing import events as ev
from qss.core.routing.cost import CostWeights
from qss.core.routing.database import Database
from qss.core.routing.neighbour import Neighbour
from qss.model.identifiers import QksId
from qss.wire.routing import Key


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Times of Hellos (Routing 4.1, 4.3, 4.6), Requests (5.4) and ticks (8.2), in seconds; and the cost (8.1)."""

    hello_s: float = 1.0
    dead_s: float = 4.0
    request_s: float = 5.0
    resync_s: float = 5.0
    cost_tick_s: float = 1.0
    weights: CostWeights = field(default_factory=CostWeights)


@dataclass(slots=True)
class Shared:
    """What all parts see."""

    here: QksId
    settings: RouterSettings
    database: Database = field(default_factory=Database)
    neighbours: dict[QksId, Neighbour] = field(default_factory=dict)
    """Those that are connected."""
    dropped: Counter[tuple[QksId, ev.Reason]] = field(default_factory=Counter)
    happened: Counter[tuple[QksId, ev.Happening]] = field(default_factory=Counter)
    effects: list[ev.Effect] = field(default_factory=list)
    now: float = 0.0
    wall: float = 0.0

    def note(self, peer: QksId, what: ev.Happening) -> None:
        """Count what has happened with a neighbour, and have it told."""
        self.happened[peer, what] += 1
        self.effects.append(ev.Happened(peer, what))

    def drop(self, peer: QksId, reason: ev.Reason, key: Key | None) -> None:
        """Count what a neighbour sent and is not taken, and have it told (Routing 6.2)."""
        self.dropped[peer, reason] += 1
        self.effects.append(ev.Dropped(peer, reason, key))
