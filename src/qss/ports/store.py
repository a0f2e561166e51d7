"""The store: where one site's ledger and sealed key blocks are durable.

A store is trusted to keep what it acknowledged and to order its commits. It is *not* trusted with secrets: blocks come
sealed (see `barrier`), so a store that alters, moves or swaps them is noticed, and one that is copied tells nothing
but sizes and the ledger. A store that silently goes back in time is noticed elsewhere (`core.reservation.restores`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from qss.model.answers import AnswerRecord
from qss.model.identifiers import QksId, ReservationId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.model.records import PeerRecord, RecallRecord, ReservationRecord, StreamRecord


@dataclass(frozen=True, slots=True)
class PutStream:
    """Write a stream's row, if the stored one has version `record.version - 1`; for version 1, if there is none."""

    record: StreamRecord


@dataclass(frozen=True, slots=True)
class DropStream:
    """Forget a stream, its reservations and all its blocks."""

    stream: StreamId


@dataclass(frozen=True, slots=True)
class PutReservation:
    """Write a reservation's row, whether it is new or not. Links do not share names: the peer belongs to the key."""

    record: ReservationRecord


@dataclass(frozen=True, slots=True)
class DropReservation:
    """Forget a reservation; no error if there is none."""

    peer: QksId
    reservation: ReservationId


@dataclass(frozen=True, slots=True)
class PutPeer:
    """Write what is remembered of a peer."""

    record: PeerRecord


@dataclass(frozen=True, slots=True)
class PutAnswer:
    """Write an answer that can be given again, whether it is new or not."""

    record: AnswerRecord


@dataclass(frozen=True, slots=True)
class DropAnswer:
    """Forget the answer under this name's digest; no error if there is none."""

    peer: QksId
    digest: bytes


@dataclass(frozen=True, slots=True)
class PutRecall:
    """Write a recall that the peer is to hear of."""

    record: RecallRecord


@dataclass(frozen=True, slots=True)
class DropRecall:
    """Forget a recall; no error if there is none."""

    peer: QksId
    number: int


@dataclass(frozen=True, slots=True)
class RaiseCommitNumber:
    """Let commit numbers go on from at least this one (after a restore was noticed)."""

    at_least: int


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """Sealed bytes `start` to `start + length` of a stream. `sealed` is opaque to the store."""

    stream: StreamId
    start: int
    length: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class PutBlock:
    """Write a sealed block; it is an error if there is one at this place."""

    block: SealedBlock


@dataclass(frozen=True, slots=True)
class DropBlock:
    """Erase the block that begins at `start`; no error if there is none."""

    stream: StreamId
    start: int


LedgerChange = (
    PutStream
    | DropStream
    | PutReservation
    | DropReservation
    | PutPeer
    | PutAnswer
    | DropAnswer
    | PutRecall
    | DropRecall
    | RaiseCommitNumber
)
Change = LedgerChange | PutBlock | DropBlock


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store held when it was started, without the blocks."""

    incarnation: int
    """The fence of this start, raised durably at every start: 23 bits that count, then 40 random ones.

    So it grows, and two lives of a store that was copied or restored never share one.
    """
    commit_number: int
    """Durable commits so far, in all incarnations; never falls unless the store was restored. A start is none."""
    streams: tuple[StreamRecord, ...] = ()
    reservations: tuple[ReservationRecord, ...] = ()
    peers: tuple[PeerRecord, ...] = ()
    answers: tuple[AnswerRecord, ...] = ()
    recalls: tuple[RecallRecord, ...] = ()


class Store(Protocol):
    """One site's durable state. One process at a time; `start` fences all others off."""

    async def start(self) -> Contents:
        """Begin a new incarnation, durably, and return what is there.

        Raises `StoreInUse` if another process has it, `StoreError` if it is none of ours or damaged.
        """
        ...

    async def commit(self, batch: Sequence[Change], fence: int) -> int:
        """Make all of `batch` durable, or nothing; return the commit number.

        Batches commit in the order in which they were submitted. Several may share one transaction; each has a
        verdict of its own. Raises `FenceLost` if `fence` is not this start's incarnation, `HeadMismatch` if a
        `PutStream` does not find the version that it builds on, `StoreUnavailable` if the disk refuses.
        """
        ...

    async def contents(self) -> Contents:
        """Return what is durable now, without a new incarnation."""
        ...

    async def blocks(self, stream: StreamId, part: Range) -> tuple[SealedBlock, ...]:
        """Return the blocks that share a byte with `part`, in order."""
        ...

    async def places(self, stream: StreamId, part: Range) -> tuple[Range, ...]:
        """Return where these blocks lie, without reading them."""
        ...

    async def check_in_place(self) -> None:
        """Raise `StoreDamaged` if what is committed goes nowhere: the files are gone, or others are in their place."""
        ...

    async def close(self) -> None:
        """Finish submitted commits and let go of everything. Can be called twice."""
        ...


# --- what the runtime sees: the same, behind the barrier ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PutKey:
    """Seal and write bytes of a stream from `start`."""

    stream: StreamId
    start: int
    material: KeyMaterial


SealedChange = LedgerChange | PutKey


class SealedStore(Protocol):
    """A `Store` behind the barrier: it takes and gives key material. The only store that a runtime takes."""

    async def start(self) -> Contents:
        """As `Store.start`."""
        ...

    async def commit(self, batch: Sequence[SealedChange], fence: int) -> int:
        """As `Store.commit`. Raises `Sealed` without the master key."""
        ...

    async def contents(self) -> Contents:
        """As `Store.contents`."""
        ...

    async def read_key(self, stream: StreamId, part: Range) -> KeyMaterial:
        """Return the bytes of `part`. Raises `Tampered` if any is missing or does not open at its place."""
        ...

    async def erase_key(self, stream: StreamId, parts: Sequence[Range], fence: int) -> None:
        """Erase these bytes for good; what shares a block with them is sealed anew. Absent bytes are no error."""
        ...

    async def check_in_place(self) -> None:
        """As `Store.check_in_place`."""
        ...

    def prove(self, peer: QksId, incarnation: int, commit_number: int) -> bytes:
        """Return what shows this site, also after a restore, that it told `peer` these numbers. Raises `Sealed`."""
        ...

    async def close(self) -> None:
        """As `Store.close`; afterwards sealed."""
        ...


def link_of(contents: Contents, peer: QksId) -> Contents:
    """Return the part of `contents` that belongs to one neighbour."""
    return Contents(
        contents.incarnation,
        contents.commit_number,
        tuple(s for s in contents.streams if s.peer == peer),
        tuple(r for r in contents.reservations if r.peer == peer),
        tuple(p for p in contents.peers if p.peer == peer),
        tuple(a for a in contents.answers if a.peer == peer),
        tuple(r for r in contents.recalls if r.peer == peer),
    )
