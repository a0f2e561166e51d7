"""A connected neighbour: what is known of it, and what gathers for it until it may be sent.

Most leaves with the event at hand. LSAs leave at a bounded rate, whatever the neighbour asks for: the rest waits here,
where the newest instance takes the place of the one before, and not in a queue that would end the connection.

Held here: into which messages LSAs, acknowledgements and the rest are put. Not here: what is sent to whom
(`exchange`, `flooding`), nor what is tagged (`tagging`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched, islice

from qss.core.routing.adjacency import Adjacency
from qss.core.routing.buckets import Bucket
from qss.core.routing.database import Instance
from qss.core.routing.link_tags import Leaving, LinkTags
from qss.core.routing.request_list import RequestList
from qss.core.routing.retransmission import Unacknowledged
from qss.wire.framing import fitting_runs
from qss.wire.routing import MAX_CARRIED, MAX_HEADERS, Ack, Header, Key, Message, Request, Summary, Update

UPDATE_BYTES = 128 * 1024
"""Most bytes of LSAs in one Update."""

SENT_BURST, SENT_PER_SECOND = 8 << 20, 8 << 20
"""Bytes of LSAs that are sent to one neighbour at once, and in a second after that."""


@dataclass(slots=True)
class Neighbour:
    """One neighbour."""

    adjacency: Adjacency = field(default_factory=Adjacency)
    tags: LinkTags = field(default_factory=LinkTags)
    requests: RequestList = field(default_factory=RequestList)
    unacknowledged: Unacknowledged = field(default_factory=Unacknowledged)
    updates: dict[Key, Instance] = field(default_factory=dict)
    """LSAs to be sent: of each the newest instance alone."""
    acks: list[Header] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    _sending: Bucket = field(default_factory=lambda: Bucket(SENT_BURST, SENT_PER_SECOND))

    @property
    def up_to_date(self) -> bool:
        """Whether it has acknowledged all that was for it."""
        return not (self.unacknowledged or self.updates)

    def summarise(self, headers: Sequence[Header]) -> None:
        """Say what is known (Routing 5.1)."""
        runs = list(batched(headers, MAX_HEADERS)) or [()]
        for number, run in enumerate(runs, 1):
            self.messages.append(Summary(run, number < len(runs)))

    def ask(self, keys: Iterable[Key]) -> None:
        """Ask for LSAs (Routing 5.2)."""
        self.messages += map(Request, batched(keys, MAX_HEADERS))

    def offer(self, instance: Instance) -> None:
        """Send an LSA that the neighbour seems to lack, unless it is on its way: then it comes again by itself."""
        if instance.header not in self.unacknowledged:
            self.updates[instance.header.key] = instance

    def drop(self, key: Key) -> None:
        """The LSA has passed its lifetime."""
        self.updates.pop(key, None)
        self.unacknowledged.drop(key)

    def flush(self, here: str, now: float, leaving: Leaving = Leaving.PLAIN) -> tuple[Message, ...]:
        """Return what has gathered, as messages of `here`, and note what has to be acknowledged.

        `leaving` says whether all Updates may leave, one or none.
        """
        for run in fitting_runs(self._leaving(now, leaving), lambda lsa: lsa.size, UPDATE_BYTES, MAX_CARRIED):
            self.messages.append(Update(tuple(instance.carried(here, now) for instance in run)))
            for instance in run:
                self.unacknowledged.sent(instance.header, now)
        self.messages += map(Ack, batched(self.acks, MAX_HEADERS))
        messages = tuple(self.messages)
        self.acks.clear()
        self.messages.clear()
        return messages

    def _leaving(self, now: float, leaving: Leaving) -> list[Instance]:
        """Return the LSAs that may be sent now; the others go on waiting."""
        if leaving is Leaving.WAITING:
            return []
        found = []
        for instance in self.updates.values() if leaving is Leaving.PLAIN else self._first_update():
            if not self._sending.has_room(now):
                break
            self._sending.add(now, instance.size)
            found.append(instance)
        if len(found) == len(self.updates):
            self.updates.clear()
        else:
            for instance in found:
                del self.updates[instance.header.key]
        return found

    def _first_update(self) -> Iterator[Instance]:
        """Yield what one Update has room for."""
        room = UPDATE_BYTES
        for number, instance in enumerate(islice(self.updates.values(), MAX_CARRIED)):
            if number and instance.size > room:
                return
            room -= instance.size
            yield instance
