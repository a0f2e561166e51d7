"""The exchange of databases with one neighbour: what its Summaries say, and what it was asked for (Routing 5).

What a neighbour says it has may never come: because it has lied, because the LSA has passed its lifetime since, or
because it cannot be taken here (of a later version, say). So it is asked for twice and then let be, until the next
Summaries. Held here: what is told and asked, within limits. Not here: who is sent what (`exchange`). Time in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from qss.core.routing.buckets import Bucket
from qss.core.routing.database import MAX_ORIGINS, Database, Freshness, Instance
from qss.model.errors import RemoteProtocolError
from qss.wire.routing import MAX_LSAS, Header, Key, Summary

MAX_TOLD = MAX_LSAS * MAX_ORIGINS
"""Most headers in one run of Summaries."""

MAX_ASKED = 8 * 2048
"""Most LSAs that are asked for. What is beyond comes unasked (Routing 5.2)."""

ASKS = 2
"""How often one LSA is asked for."""

RUNS_BURST, RUNS_PER_SECOND = 3, 1.0
"""Whole runs of Summaries that are taken: the database is gone through for each. Honest ones come every 5 s."""


@dataclass(slots=True)
class _Asked:
    at: float
    times: int = 1


@dataclass(slots=True)
class RequestList:
    """What one neighbour has told and was asked for, on one connection."""

    asked: dict[Key, _Asked] = field(default_factory=dict)
    """In the order of time."""
    _told: dict[Key, Header] = field(default_factory=dict)
    """Of LSAs that are known here, what the neighbour has, by its Summaries so far."""
    _newer: set[Key] = field(default_factory=set)
    """What it has and is newer, by its Summaries so far."""
    _headers: int = 0
    _runs: Bucket = field(default_factory=lambda: Bucket(RUNS_BURST, RUNS_PER_SECOND))

    def take(self, summary: Summary, database: Database) -> None:
        """Note what a Summary says. Raises `RemoteProtocolError` if they do not end."""
        self._headers += len(summary.headers)
        if self._headers > MAX_TOLD:
            raise RemoteProtocolError(f"Summaries of more than {MAX_TOLD} LSAs came")
        for header in summary.headers:
            if database.get(header.key) is not None:
                self._told[header.key] = header
            if database.freshness(header) is Freshness.NEWER and len(self._newer) < MAX_ASKED:
                self._newer.add(header.key)

    def complete(self, database: Database, now: float) -> tuple[list[Key], list[Instance]] | None:
        """Take the run of Summaries as complete: return what is to be asked for, and what the neighbour lacks.

        None if it is a run too many, which is as if it had not come.
        """
        told, newer = self._told, self._newer
        self._told, self._newer, self._headers = {}, set(), 0
        if not self._runs.has_room(now):
            return None
        self._runs.add(now)
        # What it tells no more it has no more: nobody waits for that.
        self.asked = {key: asked for key, asked in self.asked.items() if key in newer}
        ask = sorted(newer - self.asked.keys())
        self.asked.update((key, _Asked(now)) for key in ask)
        lacking = [lsa for lsa in database if _is_older(told.get(lsa.header.key), lsa.header)]
        return ask, lacking

    def came(self, key: Key) -> None:
        """An instance of this LSA has come."""
        self.asked.pop(key, None)

    def overdue(self, now: float, after_s: float) -> list[Key]:
        """Return what has to be asked for once more now; what was asked for often enough is let be."""
        late = list(self._late(now, after_s))
        again = []
        for key in late:
            asked = self.asked.pop(key)
            if asked.times < ASKS:
                self.asked[key] = _Asked(now, asked.times + 1)
                again.append(key)
        return again

    def _late(self, now: float, after_s: float) -> Iterator[Key]:
        for key, asked in self.asked.items():
            if now - asked.at < after_s:
                return  # all others are later
            yield key


def _is_older(theirs: Header | None, ours: Header) -> bool:
    return theirs is None or theirs.version < ours.version
