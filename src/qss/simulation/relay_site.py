"""One life of a simulated site that relays: the core, and what a shell keeps for it; sealing is real, key made up.

Held here: content, what Carry brought, drawn ranges, and the work that `Pass` asks for. Not here: who hears what when
(`relay`). Raises `AssertionError` for what no site may ever do: use a range twice, or end one that it does not have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from qss.core.relay import Relay
from qss.core.relay import events as ev
from qss.crypto.hops import open_sealed, seal
from qss.model.identifiers import QksId, StreamId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.model.relay_policy import Hop
from qss.wire.relay import Carry, hop_context


@dataclass(slots=True, eq=False)
class DrawnRange:
    """A range of a link's key, drawn by its upstream end."""

    drawer: QksId
    other: QksId
    transfer: TransferId
    stream: StreamId
    part: Range
    waiting: set[QksId] = field(default_factory=set)
    """Ends that are to be told that it is ready, or is not had."""
    held: set[QksId] = field(default_factory=set)
    """Ends that have it ready, and have not ended it."""
    asked: set[QksId] = field(default_factory=set)
    """Ends whose cores have asked for it to be used."""
    used: set[QksId] = field(default_factory=set)
    """Ends that have used it."""

    def seen_from(self, end: QksId) -> tuple[QksId, TransferId, bool]:
        """Return its names at one end: the neighbour, the transfer, and whether it is this end's."""
        ours = end == self.drawer
        return self.other if ours else self.drawer, self.transfer, ours

    @property
    def key(self) -> KeyMaterial:
        """The same bytes at both ends, and in no other range."""
        return KeyMaterial(hashlib.shake_128(self.stream.value + self.part.start.to_bytes(8)).digest(len(self.part)))


@dataclass(slots=True, eq=False)
class Site:
    """One site, from its start to its end."""

    name: QksId
    core: Relay
    contents: dict[TransferId, KeyMaterial] = field(default_factory=dict)
    """What it is the source of, or has as the destination."""
    kept: dict[TransferId, Carry] = field(default_factory=dict)
    ranges: dict[tuple[QksId, TransferId, bool], DrawnRange] = field(default_factory=dict)
    """What is ready, by neighbour, transfer, and whether this site drew it."""
    passing: set[TransferId] = field(default_factory=set)
    """What `Pass` was asked of, and may still leave."""
    bend: Callable[[bytes], bytes] = bytes
    """What a repeater that lies makes of what it passes on."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of any transfer."""
        left = (self.contents, self.kept, self.ranges, self.passing, self.core.phases, self.core.early)
        return not any(left)

    def has_any_of(self, effect: ev.Pass) -> bool:
        """Whether any byte of what was passed on, or of key for it, is here."""
        name = effect.transfer
        ranges = {(effect.inward, name, False), (effect.outward, name, True)}
        return not ranges.isdisjoint(self.ranges) or name in self.contents or name in self.kept

    def ask(self, effect: ev.Pass) -> None:
        """Note what `Pass` asks to be used."""
        self.passing.add(effect.transfer)
        for peer, ours in ((effect.inward, False), (effect.outward, True)):
            if peer is not None:
                self.ranges[peer, effect.transfer, ours].asked.add(self.name)

    def carry_on(self, effect: ev.Pass) -> Carry | None:
        """Do as `Pass` asks, and return what is to leave, or None if it was kept. Raises `TransferVoid`."""
        begin, name, hop = effect.begin, effect.transfer, Hop(effect.begin.hop)
        if effect.inward is None:
            content = self.contents[name]
        else:
            carry, range_ = self.kept.pop(name), self._use(effect.inward, name, ours=False)
            context = hop_context(begin, effect.inward, self.name, effect.place - 1, range_.stream, range_.part)
            content = open_sealed(hop, range_.key, context, carry.sealed, carry.tag)
        if effect.outward is None:
            self.contents[name] = content
            return None
        range_ = self._use(effect.outward, name, ours=True)
        context = hop_context(begin, self.name, effect.outward, effect.place, range_.stream, range_.part)
        sealed = seal(hop, range_.key, context, KeyMaterial(self.bend(content.reveal())))
        return Carry(name.value, sealed.sealed, sealed.tag)

    def end(self, effect: ev.EndDraw) -> DrawnRange:
        """Have a range no more; return it."""
        range_ = self.ranges.pop((effect.peer, effect.transfer, effect.ours), None)
        if range_ is None:
            raise AssertionError(f"{self.name} ended a range that it does not have")
        if effect.used is not (self.name in range_.asked):
            raise AssertionError(f"{self.name} says the wrong thing of a range that it ends: {effect}")
        range_.held.discard(self.name)
        return range_

    def _use(self, peer: QksId, transfer: TransferId, *, ours: bool) -> DrawnRange:
        range_ = self.ranges[peer, transfer, ours]
        if self.name in range_.used or ours is not (range_.drawer == self.name):
            raise AssertionError(f"{self.name} used a range twice, or in the wrong direction")
        range_.used.add(self.name)
        return range_
