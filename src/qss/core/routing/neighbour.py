"""A connected neighbour: what is known of it, and what gathers for it until the event that is at hand is dealt with.

Held here: into which messages LSAs, acknowledgements and the rest are put. Not here: what is sent to whom (`router`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from qss.core.routing.adjacency import Adjacency
from qss.core.routing.database import Instance
from qss.core.routing.flooding import Unacknowledged
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
        runs = list(_in_runs(headers)) or [()]
        for number, run in enumerate(runs, 1):
            self.messages.append(Summary(run, number < len(runs)))

    def ask(self, keys: Iterable[Key]) -> None:
        """Ask for LSAs (Routing 5.2)."""
        self.messages += map(Request, _in_runs(sorted(keys)))

    def flush(self, here: str, now: float) -> tuple[Message, ...]:
        """Return what has gathered, as messages of `here`, and note what has to be acknowledged."""
        for run in _fitting(self.updates.values()):
            self.messages.append(Update(tuple(instance.carried(here, now) for instance in run)))
            for instance in run:
                self.unacknowledged.sent(instance.header, now)
        self.messages += map(Ack, _in_runs(self.acks))
        messages = tuple(self.messages)
        self.updates.clear()
        self.acks.clear()
        self.messages.clear()
        return messages


def _in_runs[T](items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    for at in range(0, len(items), MAX_HEADERS):
        yield tuple(items[at : at + MAX_HEADERS])


def _fitting(instances: Iterable[Instance]) -> list[list[Instance]]:
    runs: list[list[Instance]] = []
    room = 0
    for instance in instances:
        size = len(instance.encoded)
        if not runs or size > room or len(runs[-1]) == MAX_CARRIED:
            runs.append([])
            room = UPDATE_BYTES
        runs[-1].append(instance)
        room -= size
    return runs
