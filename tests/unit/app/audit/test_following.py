"""What may follow what, also where all hashes fit, as whoever makes a log up can have them fit."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from qss.app.audit.chain import MAX_UNSIGNED, Standing, begun, gone_on
from qss.app.audit.following import Follower
from qss.model.errors import AuditLogDamaged
from qss.model.identifiers import QksId
from qss.wire import audit as wire

AT = "2026-11-23T04:00:02.000123Z"
BEGIN = wire.Begin(at=AT, site=QksId("A"), chain="0f" * 16, segment=1, because="first", follows=None)
EVENT = wire.Event(at=AT, event="keys recalled", level="info", fields=msgspec.Raw(b"{}"))
CHECKPOINT = wire.Checkpoint(at=AT, algorithm="ed25519", certificates=(), signature=b"")


class Forger:
    """Writes lines whose hashes fit, and has them followed."""

    def __init__(self) -> None:
        self.follower = Follower()
        self.follower.enter(1)
        line, self.standing = begun(BEGIN)
        self.follower.take(line)

    def put(self, record: wire.Record) -> None:
        """A record with the next number."""
        self.put_as_it_is(msgspec.structs.replace(record, seq=self.standing.seq + 1))

    def put_as_it_is(self, record: wire.Record) -> None:
        before = wire.NOTHING if isinstance(record, wire.Begin) else self.standing.digest
        line, digest = wire.seal(record, before)
        self.follower.take(line)
        self.standing = self.standing.after(record, digest)

    def next_segment(self, change: Callable[[wire.Segment], wire.Segment] = lambda record: record) -> None:
        line, _ = gone_on(self.standing, AT)
        found = wire.decode(wire.split(line)[0])
        assert isinstance(found, wire.Segment)
        self.put_as_it_is(change(found))


def changed(**members: object) -> Callable[[wire.Segment], wire.Segment]:
    return lambda record: msgspec.structs.replace(record, **members)


@pytest.fixture
def forger() -> Forger:
    made = Forger()
    made.put(EVENT)
    return made


def refused(act: Callable[[], None], says: str) -> None:
    with pytest.raises(AuditLogDamaged, match=says):
        act()


def test_records_have_the_next_number(forger: Forger) -> None:
    for seq in (0, 1, 3, 2**62):
        refused(lambda seq=seq: forger.put_as_it_is(msgspec.structs.replace(EVENT, seq=seq)), "and 2 is the next")
    forger.put(EVENT)


def test_segments_and_chains_begin_where_a_segment_does(forger: Forger) -> None:
    refused(forger.next_segment, "the first record of a segment, and no other, begins a chain")
    refused(lambda: forger.put_as_it_is(msgspec.structs.replace(BEGIN, segment=2)), "the first record of a segment")
    forger.follower.enter(2)
    refused(lambda: forger.put(EVENT), "the first record of a segment, and no other, begins a chain")
    forger.next_segment()
    forger.put(EVENT)


@pytest.mark.parametrize(
    "members", [{"site": "B"}, {"chain": "0" * 32}, {"segment": 1}, {"segment": 3}, {"previous": "0" * 64}]
)
def test_a_segment_goes_on_with_the_chain_that_is_there(forger: Forger, members: dict[str, object]) -> None:
    forger.follower.enter(2)
    refused(lambda: forger.next_segment(changed(**members)), "not the beginning of the segment that comes here")
    forger.next_segment()


def test_a_segment_has_the_number_of_its_file(forger: Forger) -> None:
    forger.follower.enter(3)
    refused(forger.next_segment, "it is the beginning of segment 2")
    alone = Follower()
    alone.enter(3)
    refused(lambda: alone.take(gone_on(forger.standing, AT)[0]) and None, "it is the beginning of segment 2")
    alone.enter(2)
    alone.take(gone_on(forger.standing, AT)[0])


def test_a_chain_follows_the_last_record_of_the_one_before(forger: Forger) -> None:
    last = forger.standing.position
    forger.follower.enter(2)
    begin = msgspec.structs.replace(BEGIN, segment=2, chain="1" * 32, because="changed")
    for follows in (None, msgspec.structs.replace(last, seq=0), msgspec.structs.replace(last, hash="0" * 64)):
        wrong = msgspec.structs.replace(begin, follows=follows)
        refused(lambda wrong=wrong: forger.put_as_it_is(wrong), "when this one began: records were taken out")
    of_another = msgspec.structs.replace(begin, follows=last, site="B")
    refused(lambda: forger.put_as_it_is(of_another), "it is of site B, and what comes before of site A")
    late = msgspec.structs.replace(begin, follows=last, seq=1)
    refused(lambda: forger.put_as_it_is(late), "it is the beginning of segment 2, number 1")
    forger.put_as_it_is(msgspec.structs.replace(begin, follows=last))
    assert forger.follower.standing is not None
    assert forger.follower.standing.chain == "1" * 32


def test_so_many_records_without_a_checkpoint_are_too_many(forger: Forger) -> None:
    for _ in range(MAX_UNSIGNED - 1):
        forger.put(EVENT)
    refused(lambda: forger.put(EVENT), "256 records before it have no checkpoint")
    forger.follower.enter(2)
    forger.next_segment()  # it does not count
    refused(lambda: forger.put(EVENT), "256 records before it have no checkpoint")
    forger.put(CHECKPOINT)
    forger.put(EVENT)


def test_what_is_refused_changes_nothing_and_the_right_line_is_taken_after_it(forger: Forger) -> None:
    before = forger.follower.standing
    for line in (b"", b"\n", b"{}\n", wire.seal(EVENT, wire.NOTHING)[0]):
        refused(lambda line=line: forger.follower.take(line) and None, "hash")
        assert forger.follower.standing == before
    forger.put(EVENT)


def test_where_it_stands() -> None:
    made = Forger()
    seen: list[tuple[int, bool, bool]] = []
    for record in (EVENT, wire.Stop(at=AT), CHECKPOINT, CHECKPOINT, EVENT):
        made.put(record)
        standing = made.follower.standing
        assert isinstance(standing, Standing)
        assert standing == made.standing
        seen.append((standing.unsigned, standing.signed, standing.stopped))
    assert seen == [(1, False, False), (2, False, True), (0, True, True), (0, True, True), (1, True, False)]
