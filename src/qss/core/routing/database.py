"""The link state database: the newest instance of each LSA that is known, how old it is, and what has been (Routing 7).

An age is the word of whoever sent the LSA on: no signature is over it. So of several words for one instance the one
that makes it younger counts, but it is never taken to be younger than it has been known here. Whoever makes an LSA
older than it is, to have it forgotten, is put right by the next one who does not; and nobody makes one live longer, at
a site that has known it, than its lifetime.

Held here: which instance is newer, ages, the digest, what stays of an LSA that has passed its lifetime (its header, so
that it cannot come back), and how much there is room for. Not here: who may say what (`admission`), and who is told
(`flooding`). Time is in seconds of a clock that never steps.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from qss.wire.routing import CARRIED_BYTES, MAX_LSAS, Authentication, Carried, Header, Key, Preamble, header_digest

MAX_ORIGINS = 4096
"""Most origins that are known (Routing 10)."""

MAX_ORIGIN_BYTES = 4 << 20
"""Most bytes of bodies of one origin (Routing 10). Certificates do not count: anybody may add them (Routing 2.4)."""

MAX_BYTES = 256 << 20
"""Most bytes of bodies of all origins."""

YOUNGER = 3
"""A younger copy counts if it is younger by this part of the lifetime: what is less, the next refresh makes good."""

_SLACK = 64
"""Ends that may be kept beyond two for each LSA."""


@dataclass(frozen=True, slots=True)
class Instance:
    """An LSA as it was signed, what that says, when it began to be, and when it was first heard of here."""

    header: Header
    encoded: bytes
    body: Preamble
    authentication: Authentication
    born_at: float
    heard_at: float

    @property
    def size(self) -> int:
        """At least as many bytes as it has on its way."""
        return CARRIED_BYTES + len(self.encoded) + self.authentication.size

    def ends_at(self) -> float:
        """When its lifetime passes."""
        return self.born_at + self.body.lifetime_s

    def carried(self, forwarder: str, now: float) -> Carried:
        """Return it as `forwarder` sends it on."""
        age_ms = min(max(0, round(1000 * (now - self.born_at))), 1000 * self.body.lifetime_s)
        return Carried(forwarder, age_ms, self.encoded, self.authentication)


class Freshness(StrEnum):
    """How new an instance is, compared with what the database has (Routing 3.2)."""

    NEWER = "newer"
    SAME = "same"
    OLDER = "older"


class LinkStates(Protocol):
    """What may be asked of a database by whoever does not keep it."""

    @property
    def digest(self) -> bytes:
        """What tells two databases apart (Routing 4.6), 8 bytes."""
        ...

    def __iter__(self) -> Iterator[Instance]: ...

    def __len__(self) -> int: ...

    def get(self, key: Key) -> Instance | None:
        """Return the newest instance of an LSA, if it has not passed its lifetime."""
        ...

    def headers(self) -> list[Header]:
        """Return what is known, in the order of keys."""
        ...


class Database:
    """The LSAs of a network, as one RM knows them."""

    def __init__(self) -> None:
        self._instances: dict[Key, Instance] = {}
        self._gone: dict[Key, Instance] = {}
        """Of LSAs that have passed their lifetime, the last instance: none before it may come back (Routing 7.1)."""
        self._lsas: dict[str, int] = {}
        """How many LSAs of each origin were ever known."""
        self._bytes: dict[str, int] = {}
        """Of the bodies of each origin."""
        self._all_bytes = 0
        self._ends: list[tuple[float, Key]] = []
        self._digest = 0

    def __iter__(self) -> Iterator[Instance]:
        """Yield what has not passed its lifetime."""
        return iter(self._instances.values())

    def __len__(self) -> int:
        return len(self._instances)

    def get(self, key: Key) -> Instance | None:
        """Return the newest instance of an LSA, if it has not passed its lifetime."""
        return self._instances.get(key)

    def newest(self, key: Key) -> Instance | None:
        """Return the newest instance that was ever known, whether it has passed its lifetime or not."""
        return self._instances.get(key) or self._gone.get(key)

    def last(self, key: Key) -> Header | None:
        """Return the header of the newest instance that was ever known."""
        newest = self.newest(key)
        return None if newest is None else newest.header

    def heard_at(self, header: Header, now: float) -> float:
        """Return when an instance was first heard of: now, if it is another one than is known."""
        newest = self.newest(header.key)
        return now if newest is None or newest.header != header else newest.heard_at

    def is_younger(self, instance: Instance, now: float) -> bool:
        """Whether a copy of what is known, or was, is so much younger that its age counts (Routing 7.6)."""
        known = self._instances.get(instance.header.key)
        known_ends_at = now if known is None else known.ends_at()
        return instance.ends_at() - known_ends_at >= instance.body.lifetime_s / YOUNGER

    def freshness(self, header: Header) -> Freshness:
        """Tell how new an instance is, compared with what is known (Routing 3.2)."""
        last = self.last(header.key)
        if last is None or header.version > last.version:
            return Freshness.NEWER
        return Freshness.SAME if header.version == last.version else Freshness.OLDER

    def has_room(self, key: Key) -> bool:
        """Whether an LSA of this origin may be installed."""
        return key.origin in self._lsas or len(self._lsas) < MAX_ORIGINS

    def has_room_for(self, key: Key, size: int) -> bool:
        """Whether this LSA may be installed, with a body of so many bytes (Routing 10)."""
        known = self.newest(key)
        more = size - (0 if known is None else len(known.encoded))
        is_new = known is None
        return (
            self._bytes.get(key.origin, 0) + more <= MAX_ORIGIN_BYTES
            and self._all_bytes + more <= MAX_BYTES
            and not (is_new and self._lsas.get(key.origin, 0) >= MAX_LSAS)
        )

    @property
    def digest(self) -> bytes:
        """What tells two databases apart (Routing 4.6), 8 bytes."""
        return self._digest.to_bytes(8)

    def headers(self) -> list[Header]:
        """Return what is known, in the order of keys."""
        return [self._instances[key].header for key in sorted(self._instances)]

    def install(self, instance: Instance) -> None:
        """Take in an instance that is newer than what is known, or a younger copy of that."""
        header = instance.header
        key = header.key
        self._forget(key)
        gone = self._gone.pop(key, None)
        if gone is None:
            self._lsas[key.origin] = self._lsas.get(key.origin, 0) + 1
        else:
            self._weigh(gone, -1)
        self._instances[key] = instance
        self._weigh(instance, 1)
        self._digest ^= header_digest(header)
        heapq.heappush(self._ends, (instance.ends_at(), key))
        if len(self._ends) > 2 * len(self._instances) + _SLACK:  # most are of instances that are no more
            self._ends = [(each.ends_at(), key) for key, each in self._instances.items()]
            heapq.heapify(self._ends)

    def age(self, now: float) -> list[Key]:
        """Drop what has passed its lifetime, and return which LSAs these were (Routing 7.1)."""
        dropped = []
        while self._ends and self._ends[0][0] <= now:
            ends_at, key = heapq.heappop(self._ends)
            instance = self._instances.get(key)
            if instance is not None and instance.ends_at() == ends_at:
                self._forget(key)
                self._gone[key] = instance
                self._weigh(instance, 1)
                self._lsas[key.origin] = self._lsas.get(key.origin, 0) + 1
                dropped.append(key)
        return dropped

    def _forget(self, key: Key) -> None:
        instance = self._instances.pop(key, None)
        if instance is not None:
            self._digest ^= header_digest(instance.header)
            self._lsas[key.origin] -= 1
            self._weigh(instance, -1)

    def _weigh(self, instance: Instance, times: int) -> None:
        origin, weight = instance.header.key.origin, times * len(instance.encoded)
        self._bytes[origin] = self._bytes.get(origin, 0) + weight
        self._all_bytes += weight
