"""A connected neighbour: what is known of it, and what gathers for it until the event that is at hand is dealt with.

Held here: into which messages LSAs, acknowledgements and the rest are put. Not here: what is sent to whom (`router`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import batched

from qss.core.routing.adjacency import Adjacency
from qss.core.routing.database import Instance
from qss.core.routing.flooding import Unacknowledged
from qss.wire.framing import fitting_runs
from qss.wire.routing import MAX_CARRIED, MAX_HEADERS, Ack, Header, Key, Message, Request, Summary, Update

UPDATE_BYTES = 128 * 1024
"""Most bytes of bodies in one Update."""


@dataclass(slots=True)
class Neighbour:
    """One neighbour."""

    adjacency: Adjacency = field(default_factory=Adjacency)
    unacknowledged: Unacknowledged = field(default_factory=Unacknowledged)
    updates: dict[Key, Instance] = field(default_factory=dict)
    """LSAs to be sent: of each the newest instance alone."""
    acks: list[Header] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def summarise(self, headers: Sequence[Header]) -> None:
        """Say what is known (Routing 5.1)."""
        runs = list(batched(headers, MAX_HEADERS)) or [()]
        for number, run in enumerate(runs, 1):
            self.messages.append(Summary(run, number < len(runs)))

    def ask(self, keys: Iterable[Key]) -> None:
        """Ask for LSAs (Routing 5.2)."""
        self.messages += map(Request, batched(sorted(keys), MAX_HEADERS))

    def flush(self, here: str, now: float) -> tuple[Message, ...]:
        """Return what has gathered, as messages of `here`, and note what has to be acknowledged."""
        if not (self.updates or self.acks or self.messages):
            return ()  # so it is for most neighbours at most events
        for run in fitting_runs(self.updates.values(), lambda lsa: len(lsa.encoded), UPDATE_BYTES, MAX_CARRIED):
            self.messages.append(Update(tuple(instance.carried(here, now) for instance in run)))
            for instance in run:
                self.unacknowledged.sent(instance.header, now)
        self.messages += map(Ack, batched(self.acks, MAX_HEADERS))
        messages = tuple(self.messages)
        self.updates.clear()
        self.acks.clear()
        self.messages.clear()
        return messages
