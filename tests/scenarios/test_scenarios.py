"""No seed breaks an invariant, a seed replays exactly, and the checker does see what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from qss.core.reservation import ledger
from qss.model.identifiers import ReservationId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key
from qss.model.ranges import Range
from scenarios.checks import Book
from scenarios.runs import report, run_seed, run_seeds
from scenarios.scenario import PAIR
from scenarios.world import World

SEEDS = int(os.environ.get("SEEDS") or ("2000" if os.environ.get("CI") == "true" else "200"))
ALICE, BOB, BELLA = map(SaeId, ("alice", "bob", "bella"))


def test_no_seed_breaks_an_invariant() -> None:
    runs = deliveries = faults = 0
    for outcome in run_seeds(range(SEEDS)):
        assert not outcome.violations, report(outcome)
        runs, deliveries, faults = runs + 1, deliveries + outcome.deliveries, faults + outcome.faults
    assert runs == SEEDS
    assert deliveries > 20 * runs
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
