"""What is durable at one end of a link: streams, reservations, and what is remembered of the peer.

These are the rows of every store and the state that a core starts from. They hold no key: ranges only. All sizes of
ranges are bytes of the key stream; tallies are bits, as the balance of invariant 4 is stated in bits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum

from qss.model.answers import KeyRun
from qss.model.identifiers import KeyId, QksId, ReservationId, SaeId, StreamId
from qss.model.ranges import Range


class Side(StrEnum):
    """Which party of a reservation lives at this end."""

    MASTER = "master"
    SLAVE = "slave"


class Part(StrEnum):
    """What one reservation is of a request, whose slaves may be at home in several sites (KRP 4.15)."""

    WHOLE = "whole"
    """All slaves are at home in one site. So says the site of the first slave in any case."""
    FIRST = "first"
    """The first slave's site: its bytes are the keys of all."""
    FURTHER = "further"
    """Another site: its bytes cover the keys, which come in a Cover."""


TAG_KEY_BYTES = 32
"""By how much the range of a further part is longer than what it covers."""

COVERED_FROM = 1 << 62
"""Where keys lie that came under a key stream: at the place of what covered them, so far up.

No stream is ever that long. So no place of a stream is written twice, and what was stored there before never opens.
"""


def length_of(count: int, key_bytes: int, part: Part) -> int:
    """Return how many bytes of a key stream a reservation takes."""
    return count * key_bytes + (TAG_KEY_BYTES if part is Part.FURTHER else 0)


class BurnReason(StrEnum):
    """Why a bit was given up. A burned bit always has one."""

    SKIPPED = "skipped"
    """Allocated by the owner, never accepted here."""
    REFUSED = "refused"
    """Allocated here, refused by the other end."""
    UNCONFIRMED = "unconfirmed"
    """Allocated, but not every site of the reservation is known to hold it."""
    EXPIRED = "expired"
    """Reserved, and not fetched in time."""
    CLOSED = "closed"
    """Held at one end only when the stream ended, or too little for a key."""
    RESTORED = "restored"
    """In doubt, because one end's store was restored from a back-up."""
    AGED = "aged"
    """Held for longer than a key stream may last."""
    UNREADABLE = "unreadable"
    """Stored, and damaged or gone."""
    VOIDED = "voided"
    """Reserved, and recalled before it was fetched."""
    ABANDONED = "abandoned"
    """Set aside for a relay that was given up before it was used."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Where the ingested bits of one end and stream went. All in bits."""

    reserved: int = 0
    delivered: int = 0
    relayed: int = 0
    burned: dict[BurnReason, int] = field(default_factory=dict)

    @property
    def burned_total(self) -> int:
        """Bits burned, for whatever reason."""
        return sum(self.burned.values())

    def __add__(self, other: Tally) -> Tally:
        reasons = {**self.burned, **other.burned}
        return Tally(
            self.reserved + other.reserved,
            self.delivered + other.delivered,
            self.relayed + other.relayed,
            {reason: self.burned.get(reason, 0) + other.burned.get(reason, 0) for reason in reasons},
        )


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One key stream, as one end holds it.

    `[0, mark)` is ingested and durable here; `[0, head)` is allocated or burned; what lies between is available.
    `version` counts the changes of this row: a commit names the version it builds on, and fails if it finds another.
    """

    stream: StreamId
    peer: QksId
    chunk_bytes: int
    version: int = 0
    head: int = 0
    mark: int = 0
    closed: bool = False
    """No more key comes at this end."""
    limit: int | None = None
    """Agreed end of the stream: what both ends held when it closed. Bytes beyond it are burned."""
    tally: Tally = field(default_factory=Tally)
    opened_at: float = 0.0
    """Seconds since the epoch, by this end's clock."""
    policy: str = ""
    """How its key comes: empty for a device pair's own, else the text of the policy that it is relayed by (Relay 6)."""
    repeaters: int = 0
    """No key of it has passed through more repeaters than so many; 0 for a device pair's own."""

    @property
    def end(self) -> int:
        """Where this end's usable bytes end."""
        return self.mark if self.limit is None else min(self.limit, self.mark)

    @property
    def available(self) -> int:
        """Bytes ingested and neither allocated nor burned."""
        return self.end - self.head


@dataclass(frozen=True, slots=True)
class ReservationRecord:
    """One reservation, as one end holds it: `count` keys of `key_bytes`, one after the other from `start`."""

    id: ReservationId
    stream: StreamId
    peer: QksId
    side: Side
    start: int
    count: int
    key_bytes: int
    master: SaeId
    slaves: tuple[SaeId, ...]
    expires_at: float
    """Seconds since the epoch, by this end's clock."""
    confirmed: bool = False
    """Every site of the reservation is known to hold it."""
    fetched: tuple[int, ...] = ()
    """For each slave, the positions it has fetched, as a bit mask (bit p: position p). Empty at the master's side."""
    part: Part = Part.WHOLE
    covered: bool = False
    """The keys of a further part are stored at the slaves' side (KRP 4.18). Never so at the master's."""

    @property
    def range(self) -> Range:
        """The bytes of the stream that are set aside."""
        return Range(self.start, self.start + length_of(self.count, self.key_bytes, self.part))

    @property
    def keys(self) -> Range:
        """Where the keys lie, one after the other."""
        start = self.start + (COVERED_FROM if self.covered else 0)
        return Range(start, start + self.count * self.key_bytes)

    @property
    def awaits_cover(self) -> bool:
        """Whether the keys have yet to come, and all that is held is what will cover them."""
        return self.side is Side.SLAVE and self.part is Part.FURTHER and not self.covered

    @property
    def run(self) -> KeyRun:
        """All keys of the reservation."""
        return KeyRun(self.id, self.stream, self.keys.start, self.key_bytes, 0, self.count)

    def key_range(self, position: int) -> Range:
        """The bytes of the key at `position`."""
        start = self.keys.start + position * self.key_bytes
        return Range(start, start + self.key_bytes)

    def fetched_by_all(self, position: int) -> bool:
        """Whether every slave at this end has fetched the key at `position`."""
        return all(mask >> position & 1 for mask in self.fetched)

    @property
    def complete(self) -> bool:
        """Whether every slave at this end has fetched every key."""
        return all(mask == (1 << self.count) - 1 for mask in self.fetched)

    @property
    def awaits_only_confirm(self) -> bool:
        """Whether nobody at this end has anything left to fetch, and the master's site must be heard before the end."""
        return self.side is Side.SLAVE and self.complete and not self.confirmed

    def without(self, mask: int) -> ReservationRecord:
        """Return the row with the keys at the positions of the bit mask out of every slave's reach."""
        return replace(self, fetched=tuple(fetched | mask for fetched in self.fetched))

    def unfetched(self) -> tuple[Range, ...]:
        """Return the bytes that some slave at this end has yet to fetch, neighbouring keys as one range."""
        return self.ranges_of(self.unfetched_mask())

    def unfetched_mask(self) -> int:
        """Return the positions of keys that some slave at this end has yet to fetch, as a bit mask."""
        everything = fetched = (1 << self.count) - 1
        for mask in self.fetched:
            fetched &= mask
        return everything ^ fetched

    def ranges_of(self, mask: int) -> tuple[Range, ...]:
        """Return the bytes of the keys at the positions of a bit mask, neighbouring keys as one range.

        What is to cover keys is one whole, with its tag.
        """
        if self.awaits_cover:
            return (self.range,) if mask else ()
        first, positions = self.keys.start, f"{mask:0{self.count}b}"[::-1]  # a "1" for each key
        return tuple(
            Range(first + run.start() * self.key_bytes, first + run.end() * self.key_bytes)
            for run in re.finditer("1+", positions)
        )


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """What one end remembers of the other."""

    peer: QksId
    incarnation: int = 0
    """That of the last exchange of states."""
    commit_seen: int = 0
    """Its durable commit number then, or the highest it has reported since; a lower one means a restored store."""
    commit_proof: bytes = b""
    """What came with that number: shows the peer that the number is its own (KRP 2.8)."""
    base: int = 0
    """This end's commit number when states were last exchanged, or at its first start since: what it cannot have
    forgotten."""
    exchanged: bool = False
    """States were exchanged since this end's last start; its next start raises `base`."""
    must_burn: bool = False
    """This end's store was restored, and the link's key has not been burned yet."""
    past: Tally = field(default_factory=Tally)
    """Tallies of this link's streams that are gone."""
    past_ingested: int = 0
    """Bits ingested by this link's streams that are gone."""
    recall_made: int = 0
    """The number of the last recall that this end has made."""
    recall_seen: int = 0
    """The number of the peer's last recall that was carried out here."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which keys a recall is for: these (`key_ids`), all that an SAE has a part in (`sae`), or else all of the link."""

    key_ids: tuple[KeyId, ...] = ()
    sae: SaeId | None = None

    def __str__(self) -> str:
        if self.key_ids:
            return f"{len(self.key_ids)} keys"
        return f"all keys of {self.sae}" if self.sae is not None else "all keys of the link"


@dataclass(frozen=True, slots=True)
class RecallRecord:
    """A recall that this end has carried out, and the peer is not known to have."""

    peer: QksId
    number: int
    """Recalls of one end count from 1."""
    scope: Scope
