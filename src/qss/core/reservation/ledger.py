"""The ledger of one key stream at one end: where every ingested bit went.

A stream is one line of bytes. `head` moves over it and never turns back: what lies before it is allocated or burned,
what lies behind it, up to the end, is available::

    0 ─────────── head ─────────────── mark          while the stream is open
    allocated or     available
    burned

    0 ─────────── head ──────── limit ──────── mark  when both ends have closed it
                     available          burned (held at one end only)

Invariant 4 holds after every operation: ingested = available + reserved + delivered + relayed + burned, in bits.
`check` states it, and every change goes through `_moved`, which calls it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum

from qss.model.errors import LocalProtocolError, StoreDamaged
from qss.model.identifiers import PairId, StreamId
from qss.model.ranges import Range, subtract, union
from qss.model.records import COVERED_FROM, BurnReason, StreamRecord, Tally


class Bucket(StrEnum):
    """Where an allocated bit can be, besides burned."""

    RESERVED = "reserved"
    DELIVERED = "delivered"
    RELAYED = "relayed"


def loaded(record: StreamRecord) -> StreamLedger:
    """Return the ledger of a stored row. Raises `StoreDamaged` unless every ingested bit is accounted for."""
    ledger = StreamLedger(record)
    try:
        ledger.check()
    except LocalProtocolError as error:
        raise StoreDamaged(
            f"the ledger's row of key stream {record.stream} does not balance; {StoreDamaged.REMEDY}"
        ) from error
    return ledger


class StreamLedger:
    """One stream's row, in memory ahead of the store: what is changed here becomes durable with the next commit."""

    def __init__(self, record: StreamRecord, pair: PairId | None = None) -> None:
        self._record = record
        self.pair = pair
        """The device pair that fills the stream; None for a stream from before this process, which nothing fills."""
        self.durable_mark = record.mark
        """Bytes held durably here: `record.mark` less what is being written."""
        self.peer_mark = 0
        """Bytes that the peer has reported as durable."""
        self.peer_head = 0
        """The peer has given up what lies below, whoever held it (KRP 3.7)."""
        self.peer_final: int | None = None
        """The peer's final mark, once it has closed the stream."""
        self._freed: list[Range] = []
        self._erasable: list[Range] = []

    @property
    def record(self) -> StreamRecord:
        """The row as it is now."""
        return self._record

    @property
    def stream(self) -> StreamId:
        """The stream's ID."""
        return self._record.stream

    @property
    def end(self) -> int:
        """Where this end's usable bytes end."""
        return self._record.end

    @property
    def available(self) -> int:
        """Bytes ingested and neither allocated nor burned."""
        return self._record.available

    @property
    def allocatable(self) -> int:
        """Bytes that both ends hold durably and that are not allocated. Never negative."""
        return max(0, min(self.end, self.durable_mark, self.peer_mark) - self._record.head)

    def next_version(self) -> StreamRecord:
        """Return the row to write: it builds on the one that was written last."""
        self._record = replace(self._record, version=self._record.version + 1)
        return self._record

    def note_repeaters(self, repeaters: int) -> bool:
        """Have the row say that its key passes through so many repeaters; return whether it said less before."""
        known = self._record.repeaters
        self._record = replace(self._record, repeaters=max(known, repeaters))
        return repeaters > known

    # --- growth ---------------------------------------------------------------------------------------------------

    def ingest(self, length: int) -> int:
        """Take `length` more bytes in; return their start. They count as held when `durable_mark` says so."""
        if self._record.closed:
            raise LocalProtocolError("a closed key stream takes no more key")
        start = self._record.mark
        self._moved(mark=start + length)
        return start

    def close(self) -> None:
        """Take no more key at this end."""
        self._moved(closed=True)

    def agree_limit(self, limit: int) -> None:
        """Both ends have closed the stream and hold `limit` bytes: burn what lies beyond, here."""
        limit = min(max(limit, self._record.head), self._record.mark)
        self._moved(
            closed=True,
            limit=limit,
            tally=self._burned(BurnReason.CLOSED, self.end - limit),
        )
        self._freed.append(Range(limit, self._record.mark))
        self.skip_to(self.peer_head, BurnReason.SKIPPED)

    # --- allocation -----------------------------------------------------------------------------------------------

    def allocate(self, length: int, bucket: Bucket) -> Range:
        """Set the next `length` bytes aside; the owner's part. The caller has checked `allocatable`."""
        if length > self.allocatable:
            raise LocalProtocolError("more was allocated than both ends hold")
        start = self._record.head
        self._moved(head=start + length, tally=self._added(bucket, length))
        return Range(start, start + length)

    def accept(self, part: Range, bucket: Bucket) -> None:
        """Set aside what the owner allocated; the non-owner's part. What the head skips is burned."""
        self.skip_to(part.start, BurnReason.SKIPPED)
        if part.start != self._record.head or part.stop > self.end:
            raise LocalProtocolError("a range was accepted that is not available here")
        self._moved(head=part.stop, tally=self._added(bucket, len(part)))

    def skip_to(self, head: int, reason: BurnReason) -> None:
        """Raise the head to `head` (or to the end, if that is lower), burning what lies between."""
        start, stop = self._record.head, min(head, self.end)
        if stop > start:
            self._moved(head=stop, tally=self._burned(reason, stop - start))
            self._freed.append(Range(start, stop))

    # --- afterwards -----------------------------------------------------------------------------------------------

    def deliver_reserved(self, length: int) -> None:
        """The last local recipient of `length` reserved bytes has fetched them."""
        tally = self._record.tally
        self._moved(tally=replace(tally, reserved=tally.reserved - 8 * length, delivered=tally.delivered + 8 * length))

    def burn(self, parts: Sequence[Range], bucket: Bucket, reason: BurnReason) -> None:
        """Give up allocated ranges that have not left, and never will. Whoever gives them up frees them as well."""
        length = sum(map(len, parts))
        tally = self._added(bucket, -length)
        self._moved(tally=tally + Tally(burned={reason: 8 * length}) if length else tally)

    # --- erasure --------------------------------------------------------------------------------------------------

    def free(self, parts: Iterable[Range]) -> None:
        """Note that nobody needs these bytes any more, once what has changed is durable."""
        self._freed.extend(parts)

    def take_freed(self) -> list[Range]:
        """Return, and forget, what the commit that is being made frees."""
        freed, self._freed = self._freed, []
        return freed

    def erasable(self, parts: Sequence[Range]) -> None:
        """Note that these bytes may be erased: nothing durable says that they are needed."""
        self._erasable.extend(parts)

    def erasable_except(self, needed: list[Range]) -> None:
        """After a start: all before the head, and beyond the limit, may be erased except `needed`.

        So may keys that came under what lies before the head.
        """
        self._erasable.extend(subtract(Range(0, self._record.head), needed))
        self._erasable.extend(subtract(Range(COVERED_FROM, COVERED_FROM + self._record.head), needed))
        if self.end < self._record.mark:
            self._erasable.append(Range(self.end, self._record.mark))

    def take_erasable(self, busy: list[Range]) -> tuple[Range, ...]:
        """Return, and forget, what is to be erased; ranges being read (`busy`) or not stored yet wait for next time."""
        ready: list[Range] = []
        later: list[Range] = []
        in_use = union(busy)
        for part in union(self._erasable):
            at = bisect_right(in_use, part.start, key=lambda used: used.stop)  # the first that ends behind its start
            used = at < len(in_use) and in_use[at].start < part.stop
            unstored = self.durable_mark < part.stop < COVERED_FROM
            (later if used or unstored else ready).append(part)
        self._erasable = later
        return tuple(ready)

    # --- balance --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `LocalProtocolError` unless every ingested bit is accounted for."""
        tally = self._record.tally
        accounted = 8 * self.available + tally.reserved + tally.delivered + tally.relayed + tally.burned_total
        least = min(self.available, tally.reserved, tally.delivered, tally.relayed)
        if accounted != 8 * self._record.mark or least < 0:
            raise LocalProtocolError(f"key stream {self.stream} does not balance: {self._record}")

    def _added(self, bucket: Bucket, length: int) -> Tally:
        tally = self._record.tally
        match bucket:
            case Bucket.RESERVED:
                return replace(tally, reserved=tally.reserved + 8 * length)
            case Bucket.DELIVERED:
                return replace(tally, delivered=tally.delivered + 8 * length)
            case Bucket.RELAYED:
                return replace(tally, relayed=tally.relayed + 8 * length)

    def _burned(self, reason: BurnReason, length: int) -> Tally:
        return self._record.tally + Tally(burned={reason: 8 * length}) if length else self._record.tally

    def _moved(
        self,
        *,
        head: int | None = None,
        mark: int | None = None,
        closed: bool | None = None,
        limit: int | None = None,
        tally: Tally | None = None,
    ) -> None:
        old = self._record
        self._record = replace(
            old,
            head=old.head if head is None else head,
            mark=old.mark if mark is None else mark,
            closed=old.closed if closed is None else closed,
            limit=old.limit if limit is None else limit,
            tally=old.tally if tally is None else tally,
        )
        self.check()
