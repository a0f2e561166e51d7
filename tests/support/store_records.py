"""Records, blocks and strategies for tests of stores."""

from __future__ import annotations

from hypothesis import strategies as st

from qss.model.answers import AnswerRecord, AskName, KeyRun
from qss.model.identifiers import KeyId, QksId, ReservationId, SaeId, StreamId
from qss.model.records import (
    BurnReason,
    Part,
    PeerRecord,
    RecallRecord,
    ReservationRecord,
    Scope,
    Side,
    StreamRecord,
    Tally,
)
from qss.ports.store import Contents, SealedBlock

SITE = QksId("A")
PEER = QksId("B")


def stream_id(number: int) -> StreamId:
    return StreamId(number.to_bytes(16))


def reservation_id(number: int) -> ReservationId:
    return ReservationId.from_entropy(bytes(9) + (number << 16).to_bytes(7))


def stream_record(number: int = 1, version: int = 1, head: int = 0, mark: int = 0) -> StreamRecord:
    return StreamRecord(stream_id(number), PEER, 4096, version, head, mark)


def reservation_record(number: int = 1, stream: int = 1, start: int = 0, count: int = 1) -> ReservationRecord:
    return ReservationRecord(
        reservation_id(number),
        stream_id(stream),
        PEER,
        Side.SLAVE,
        start,
        count,
        32,
        SaeId("sae:alice"),
        (SaeId("sae:bob"),),
        1000.5,
        fetched=(0,),
    )


def block(start: int, length: int = 16, stream: int = 1, sealed: bytes | None = None) -> SealedBlock:
    return SealedBlock(stream_id(stream), start, length, bytes([start % 251]) * length if sealed is None else sealed)


def in_order(contents: Contents) -> Contents:
    """Return the same contents with their rows in one order; a store may have any."""
    return Contents(
        contents.incarnation,
        contents.commit_number,
        tuple(sorted(contents.streams, key=lambda row: row.stream)),
        tuple(sorted(contents.reservations, key=lambda row: (row.peer, row.id))),
        tuple(sorted(contents.peers, key=lambda row: row.peer)),
        tuple(sorted(contents.answers, key=lambda row: (row.peer, row.name.digest))),
        tuple(sorted(contents.recalls, key=lambda row: (row.peer, row.number))),
    )


# --- any record that a core can make ------------------------------------------------------------------------------

positions = st.integers(0, 2**62)
counts = st.integers(0, 2**40)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
tallies = st.builds(Tally, counts, counts, counts, st.dictionaries(st.sampled_from(BurnReason), counts, max_size=3))
stream_ids = st.integers(1, 3).map(stream_id)
reservation_ids = st.integers(1, 4).map(reservation_id)
peers = st.sampled_from("BC").map(QksId)
saes = names.map(SaeId)

stream_records = st.builds(
    StreamRecord,
    stream=stream_ids,
    peer=peers,
    chunk_bytes=st.integers(1, 2**20),
    version=st.integers(1, 4),
    head=positions,
    mark=positions,
    closed=st.booleans(),
    limit=st.none() | positions,
    tally=tallies,
    opened_at=st.floats(0, 1e12),
    policy=st.sampled_from(["", "{}"]),
    repeaters=st.integers(0, 15),
)
reservation_records = st.builds(
    ReservationRecord,
    id=reservation_ids,
    stream=stream_ids,
    peer=peers,
    side=st.sampled_from(Side),
    start=positions,
    count=st.integers(1, 2**16),
    key_bytes=st.integers(1, 1024),
    master=saes,
    slaves=st.lists(saes, max_size=3).map(tuple),
    expires_at=st.floats(0, 1e12),
    confirmed=st.booleans(),
    fetched=st.lists(st.integers(0, 2**300) | st.just(2**65536 - 1), max_size=3).map(tuple),
    part=st.sampled_from(Part),
    covered=st.booleans(),
)
peer_records = st.builds(
    PeerRecord,
    peer=st.sampled_from([QksId("B"), QksId("C")]),
    incarnation=st.integers(0, 2**63 - 1),
    commit_seen=positions,
    commit_proof=st.binary(max_size=32),
    base=positions,
    exchanged=st.booleans(),
    must_burn=st.booleans(),
    recall_made=counts,
    recall_seen=counts,
    past=tallies,
    past_ingested=counts,
)

digests = st.integers(1, 3).map(lambda number: bytes([number]) * 32)
answer_records = st.builds(
    AnswerRecord,
    peer=peers,
    name=st.builds(AskName, digests, digests),
    keys=st.lists(
        st.builds(
            KeyRun, reservation_ids, stream_ids, positions, st.integers(1, 1024), st.integers(0, 99), st.integers(1, 99)
        ),
        max_size=3,
    ).map(tuple),
    until=st.floats(0, 1e12),
)
recall_numbers = st.integers(1, 3)
recall_records = st.builds(
    RecallRecord,
    peer=peers,
    number=recall_numbers,
    scope=st.builds(
        Scope, st.lists(st.binary(min_size=16, max_size=16).map(KeyId), max_size=3).map(tuple), st.none() | saes
    ),
)
