"""What the parts of one site's relay share: settings, neighbours, transfers, the time of the event at hand, effects.

Held here: data, and what is done in a line or two. Each part has the steps of its chapter (see `qss.core.relay`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from qss.core.relay import events as ev
from qss.core.relay.phases import KeyPhase, KeyStep
from qss.core.relay.settings import RelaySettings
from qss.core.relay.transfer import Transfer
from qss.model.identifiers import QksId, TransferId
from qss.wire.relay import Message, Reason


@dataclass(slots=True)
class Shared:
    """What all parts see."""

    here: QksId
    settings: RelaySettings
    neighbours: frozenset[QksId]
    connected: set[QksId] = field(default_factory=set)
    transfers: dict[TransferId, Transfer] = field(default_factory=dict)
    begun_by: Counter[QksId] = field(default_factory=Counter)
    """How many of these each neighbour has begun here, and this site itself."""
    bytes_by: Counter[QksId] = field(default_factory=Counter)
    """What these carry."""
    failed_here: Counter[Reason] = field(default_factory=Counter)
    """Transfers of others that could not go on at this site, by the reason that it gave."""
    leaving: bool = False
    now: float = 0.0
    effects: list[ev.Effect] = field(default_factory=list)
    messages: dict[QksId, list[Message]] = field(default_factory=dict)

    def send(self, peer: QksId, message: Message) -> None:
        """Say something to a neighbour, if it is connected: one that is not learns of all by that."""
        if peer in self.connected:
            self.messages.setdefault(peer, []).append(message)

    def drop(self, peer: QksId, transfer: TransferId, reason: ev.DropReason) -> None:
        """Pass something over."""
        self.effects.append(ev.Dropped(peer, transfer, reason))

    def end_key(self, transfer: Transfer, peer: QksId) -> None:
        """Return the key for a hop: used or not (Relay 3.3)."""
        used = transfer.keys[peer] is KeyPhase.SPENT
        transfer.take_key(peer, KeyStep.RETURNED)
        self.effects.append(ev.EndDraw(peer, transfer.id, peer == transfer.outward, used))

    def has_room(self, by: QksId, length: int) -> bool:
        """Whether a neighbour, or this site itself, may begin one more transfer, of so many bytes (Relay 4.10)."""
        settings = self.settings
        return (
            self.begun_by[by] < settings.max_transfers_of_neighbour
            and self.bytes_by[by] + length <= settings.max_bytes_of_neighbour
        )

    def add(self, transfer: Transfer) -> None:
        """A transfer is taken."""
        by = transfer.inward or self.here
        self.transfers[transfer.id] = transfer
        self.begun_by[by] += 1
        self.bytes_by[by] += transfer.begin.length

    def remove(self, transfer: Transfer) -> None:
        """Nothing is kept of a transfer any more."""
        by = transfer.inward or self.here
        del self.transfers[transfer.id]
        self.begun_by[by] -= 1
        self.bytes_by[by] -= transfer.begin.length
        if not self.begun_by[by]:
            del self.begun_by[by], self.bytes_by[by]

    def begin(self, now: float) -> None:
        """An event is at hand."""
        self.now = now
        self.messages.clear()
        self.effects.clear()

    def all_effects(self) -> ev.Effects:
        """Return what came of the event, what is to be sent before the rest."""
        sent = (ev.Send(peer, tuple(messages)) for peer, messages in self.messages.items())
        return (*sent, *self.effects)
