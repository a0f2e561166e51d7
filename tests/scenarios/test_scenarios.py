"""No seed breaks an invariant, a seed replays exactly, and the checker does see what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from qss.barrier import Barrier
from qss.barrier.sealer import Sealer
from qss.core.reservation import Link, LinkSettings, asking, holding, ledger
from qss.core.reservation.answers import Answers
from qss.core.reservation.erasing import Erasing
from qss.core.reservation.holding import Holding
from qss.core.reservation.kept_answers import KeptAnswers
from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.streams import Streams
from qss.model.identifiers import QksId, ReservationId, SaeId, StreamId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key
from qss.model.ranges import Range
from qss.ports.store import SealedBlock
from qss.runtime.relay.relaying import Relaying
from scenarios import world as worlds
from scenarios.checks import Book
from scenarios.runs import report, run_seed, run_seeds
from scenarios.scenario import PAIR
from scenarios.world import World

SEEDS = int(os.environ.get("SEEDS") or ("300" if os.environ.get("CI") == "true" else "60"))
ALICE, BOB, BELLA = map(SaeId, ("alice", "bob", "bella"))


def test_no_seed_breaks_an_invariant() -> None:
    runs = deliveries = relayed = faults = 0
    for outcome in run_seeds(range(SEEDS)):
        assert not outcome.violations, report(outcome)
        runs, deliveries, faults = runs + 1, deliveries + outcome.deliveries, faults + outcome.faults
        relayed += outcome.relayed
    assert runs == SEEDS
    assert deliveries > 20 * runs
    assert relayed > 2 * runs
    assert faults > 2 * runs


def test_a_seed_replays_exactly() -> None:
    first, second = run_seed(7), run_seed(7)
    assert first == second
    assert first.events


def test_key_that_is_given_out_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger whose head lags behind: the worst that could be wrong in it."""
    allocate = ledger.StreamLedger.allocate

    def allocate_again(self: ledger.StreamLedger, length: int, bucket: ledger.Bucket) -> Range:
        part = allocate(self, length, bucket)
        return Range(max(0, part.start - 1), max(0, part.start - 1) + length)

    monkeypatch.setattr(ledger.StreamLedger, "allocate", allocate_again)
    assert any(run_seed(seed).violations for seed in range(3))


def test_a_pad_that_overlaps_another_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that begins one byte too early, at both ends of all links: everything opens, and keys come."""
    drawn = Relaying.drawn

    def drawn_early(
        self: Relaying, peer: QksId, transfer: TransferId, stream: StreamId, part: Range, *, own: bool
    ) -> None:
        early = Range(part.start - 1, part.stop - 1) if part.start else part
        drawn(self, peer, transfer, stream, early, own=own)

    monkeypatch.setattr(Relaying, "drawn", drawn_early)
    assert seen("is a pad at")


# --- what is broken is seen -------------------------------------------------------------------------------------------


def seen(what: str) -> bool:
    """Whether the checker says this of some run."""
    return any(what in violation for seed in range(8) for violation in run_seed(seed).violations)


def test_burned_bits_that_are_not_counted_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamLedger, "check", lambda _: None)  # or the ledger would notice by itself
    monkeypatch.setattr(StreamLedger, "_burned", lambda self, *_: self.record.tally)
    assert seen("does not balance")


def test_fetched_keys_that_still_count_as_reserved_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamLedger, "deliver_reserved", lambda *_: None)
    assert seen("bits, its rows")


def test_bytes_that_are_erased_though_an_answer_keeps_them_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptAnswers, "bytes_of", lambda *_: [])
    assert seen("are not on the disk of")


def told(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    """Have all links of a world told this."""
    monkeypatch.setattr(worlds, "LinkSettings", lambda *args, **others: LinkSettings(*args, **(others | settings)))


def test_a_link_with_more_reservations_than_it_may_hold_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, max_reservations=5)
    for room in (asking, holding):
        monkeypatch.setattr(room, "is_full", lambda _: False)
    assert seen("reservations with")


def test_a_link_that_never_stops_taking_key_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Link, "wants_key", lambda *_: True)
    assert seen("bytes with")


def test_key_in_the_clear_on_a_disk_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A barrier that writes the first bytes of a block behind the sealed ones."""
    seal, unseal = Sealer.seal, Sealer.open

    def seal_and_tell(self: Sealer, stream: StreamId, start: int, secret: bytes) -> SealedBlock:
        block = seal(self, stream, start, secret)
        return replace(block, sealed=block.sealed + secret[:16].ljust(16))

    def open_all_the_same(self: Sealer, block: SealedBlock) -> bytes:
        return unseal(self, replace(block, sealed=block.sealed[:-16]))

    monkeypatch.setattr(Sealer, "seal", seal_and_tell)
    monkeypatch.setattr(Sealer, "open", open_all_the_same)
    assert seen("is not sealed on the disk")


def test_used_key_that_is_only_forgotten_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A barrier that erases nothing, and says that it did."""

    async def erase_nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(Barrier, "erase_key", erase_nothing)
    assert seen("is still on the disk")


@pytest.mark.parametrize(("part", "what"), [(Holding, "expire"), (Answers, "expire"), (Streams, "age")])
def test_what_outlives_its_time_is_seen(monkeypatch: pytest.MonkeyPatch, part: type, what: str) -> None:
    monkeypatch.setattr(part, what, lambda _: None)
    assert seen("has outlived its time")


def test_used_key_that_no_link_has_erased_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Erasing, "erase", lambda _: None)
    assert seen("is still on the disk")


# --- the book by itself -----------------------------------------------------------------------------------------------


@pytest.fixture
def world() -> Iterator[World]:
    world = World(1, *PAIR)
    yield world
    world.loop.close()


def key(content: bytes, position: int = 0) -> Key:
    return Key(ReservationId.from_entropy(bytes(16)).key_id(position), KeyMaterial(content))


def test_the_book_knows_the_right_party(world: World) -> None:
    book = Book(world)
    book.asked((key(b"k" * 16),), 1, 128, ALICE, (BOB,))
    book.fetched((key(b"k" * 16),), (key(b"").key_id,), BOB)
    assert world.violations == []
    book.fetched((key(b"k" * 16),), (key(b"").key_id,), BELLA)
    assert "who has no part in it" in world.violations[-1]
    book.fetched((key(b"k" * 16),), (key(b"").key_id,), BOB)
    assert "delivered to bob twice" in world.violations[-1]


def test_the_book_knows_two_keys_under_one_id(world: World) -> None:
    book = Book(world)
    book.asked((key(b"k" * 16),), 1, 128, ALICE, (BOB,))
    book.fetched((key(b"j" * 16),), (key(b"").key_id,), BOB)
    assert "stands for two keys" in world.violations[-1]


def test_the_book_knows_fewer_keys_than_asked_for(world: World) -> None:
    Book(world).asked((key(b"k" * 16),), 2, 128, ALICE, (BOB,))
    assert "asked for 2 keys" in world.violations[-1]
