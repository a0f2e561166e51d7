"""What two links gave to relays: notes each range, and checks agreement, no reuse and what is still needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from qss.core.reservation import events as ev
from qss.core.reservation.draws import OPEN_S
from qss.model.identifiers import QksId, StreamId, TransferId
from qss.model.ranges import Range
from qss.wire.external import Purpose

Place = tuple[StreamId, Range]


@dataclass
class DrawBook:
    """The draws of a pair of links, as their relays would see them. An end is named by its site."""

    places: dict[tuple[QksId, TransferId], Place] = field(default_factory=dict)
    """By who drew, and the name: the range, as whichever end had it first."""
    purposes: dict[tuple[QksId, TransferId], Purpose] = field(default_factory=dict)
    """By the same: what it was drawn for, as whoever heard of it first was told."""
    ready: dict[QksId, dict[TransferId, tuple[Place, float]]] = field(default_factory=dict)
    """What each end has in hands, and since when."""
    failed: dict[tuple[QksId, TransferId], list[ev.DrawFailure]] = field(default_factory=dict)
    kept: dict[QksId, int] = field(default_factory=dict)
    """Bits that each end's relays had, and did not give back unused."""

    def note_ready(self, here: QksId, peer: QksId, effect: ev.DrawReady, now: float) -> None:
        place = effect.stream, effect.part
        name = here if effect.own else peer, effect.draw
        assert self.places.setdefault(name, place) == place, "the ends differ"
        assert self.purposes.setdefault(name, effect.purpose) is effect.purpose, "it is for two purposes"
        mine = self.ready.setdefault(here, {})
        assert effect.draw not in mine, "given twice"
        mine[effect.draw] = place, now
        self.kept[here] = self.kept.get(here, 0) + 8 * len(effect.part)

    def note_failed(self, here: QksId, effect: ev.DrawFailed) -> None:
        self.failed.setdefault((here, effect.draw), []).append(effect.reason)
        if effect.own:
            assert self.purposes.get((here, effect.draw), effect.purpose) is effect.purpose, "it is for two purposes"
        if effect.reason is ev.DrawFailure.STOPPED:
            self.ready.get(here, {}).pop(effect.draw, None)

    def note_ended(self, here: QksId, event: ev.DrawEnded, now: float) -> None:
        place, since = self.ready.get(here, {}).pop(event.draw, (None, 0.0))
        if place is not None and not event.used and now < since + OPEN_S:
            self.kept[here] -= 8 * len(place[1])

    def forget(self, here: QksId) -> None:
        """The process that had these in hands is gone."""
        self.ready.pop(here, None)

    def all_places(self) -> Iterable[Place]:
        """The range of each draw that ever was in anybody's hands."""
        return self.places.values()

    def in_hands(self, here: QksId, now: float) -> Iterator[Place]:
        """What relays at one end may still read."""
        for place, since in self.ready.get(here, {}).values():
            if now < since + OPEN_S:
                yield place
