"""Records that wait to be written: in their order, bounded, and counted where they would be if there is no room.

Any thread may put records in; one takes them out. Refused here: what records say, and writing them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec

from qss.wire import audit as wire

MAX_WAITING_BYTES = 8 << 20
"""Room for records that wait."""

MAX_PAGE = 2000
"""Most records that are taken at a time."""

_RECORD_BYTES = 600
"""What a record takes in memory beside its fields, about."""

Waiting = wire.Event | wire.Lost


class Inbox:
    """What waits to be written."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._ended = threading.Event()
        self._records: deque[Waiting] = deque()
        self._taken = 0
        self._bytes = 0
        self.lost = 0
        """Records for which there was no room."""

    def put(self, record: wire.Event) -> bool:
        """Add a record, or count it as lost if there is no room; return False if nothing is taken any more."""
        size = _bytes_of(record)
        with self._turn:
            if self._ended.is_set():
                return False
            if self._bytes + size > MAX_WAITING_BYTES:
                self._lose(record.at)
            else:
                self._records.append(record)
                self._bytes += size
            self._turn.notify()
            return True

    def _lose(self, at: str) -> None:
        self.lost += 1
        last = self._records[-1] if len(self._records) > self._taken else None
        if isinstance(last, wire.Lost):
            self._records[-1] = msgspec.structs.replace(last, records=last.records + 1)
        else:
            self._records.append(wire.Lost(at=at, records=1))

    def close(self) -> None:
        """Take no more records, and keep nobody waiting."""
        with self._turn:
            self._ended.set()
            self._turn.notify()

    def wait(self, seconds: float | None) -> bool:
        """Wait until there is a record, or so many seconds at most; return whether nothing more will come."""
        with self._turn:
            self._turn.wait_for(lambda: self._records or self._ended.is_set(), seconds)
            return self._ended.is_set()

    def pause(self, seconds: float) -> None:
        """Let records gather for so many seconds; no longer than until nothing more will come."""
        self._ended.wait(seconds)  # and not for `_turn`, which each record would have to wake

    def first(self) -> Sequence[Waiting]:
        """Return the records that come first. They stay until they are `written`."""
        with self._turn:
            page = list(islice(self._records, MAX_PAGE))
            self._taken = len(page)
            return page

    def written(self) -> None:
        """Let go of the records that `first` gave last."""
        with self._turn:
            for _ in range(self._taken):
                self._bytes -= _bytes_of(self._records.popleft())
            self._taken = 0


def _bytes_of(record: Waiting) -> int:
    return _RECORD_BYTES + memoryview(record.fields).nbytes if isinstance(record, wire.Event) else 0
