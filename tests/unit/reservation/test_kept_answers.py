"""Answers that are kept: found by name, reservation and stream, and nothing is left of one that is dropped."""

from __future__ import annotations

from collections.abc import Iterator

from qss.core.reservation.kept_answers import KeptAnswers
from qss.model.answers import AnswerRecord, AskName, KeyRun
from qss.model.identifiers import RESERVATION_ENTROPY_BYTES, QksId, ReservationId, StreamId
from qss.model.ranges import Range

S, T = (StreamId(bytes([n]) * 16) for n in (1, 2))
R, Q = (ReservationId.from_entropy(bytes([n]) * RESERVATION_ENTROPY_BYTES) for n in (1, 2))


def answer(number: int, *keys: KeyRun) -> AnswerRecord:
    return AnswerRecord(QksId("B"), AskName(number.to_bytes(32), bytes(32)), keys, 60.0)


def test_an_answer_is_found_until_it_is_dropped() -> None:
    one = answer(1, KeyRun(R, S, 0, 16), KeyRun(Q, T, 0, 16), KeyRun(R, S, 32, 16, position=2))
    other = answer(2, KeyRun(R, S, 16, 16, position=1))
    kept = KeptAnswers()
    kept.put(one)
    kept.put(other)
    assert kept.having(R) == [one, other]
    assert kept.having(Q) == [one]
    assert sorted(kept.bytes_of(R), key=lambda part: part.start) == [Range(0, 16), Range(16, 32), Range(32, 48)]
    assert kept.bytes_in(T) == [Range(0, 16)]
    kept.drop(one)
    assert kept.having(R) == [other]
    assert kept.having(Q) == []
    assert kept.bytes_in(S) == [Range(16, 32)]
    assert (kept.has_any_in(S), kept.has_any_in(T)) == (True, False)


def test_nothing_is_left_of_answers_that_are_dropped() -> None:
    kept = KeptAnswers()
    for number in range(100):
        record = answer(number, KeyRun(R, StreamId(number.to_bytes(16)), 0, 16))
        kept.put(record)
        kept.drop(record)
    assert not any(vars(kept).values())


class Watched(AnswerRecord):
    """An answer that counts how often its keys are looked at."""

    looks = 0

    def __getattribute__(self, name: str) -> object:
        if name == "keys":
            Watched.looks += 1
        return super().__getattribute__(name)


def records(number: int) -> Iterator[AnswerRecord]:
    for n in range(number):
        reservation = ReservationId.from_entropy((n << 20).to_bytes(RESERVATION_ENTROPY_BYTES))
        yield Watched(QksId("B"), AskName(n.to_bytes(32), bytes(32)), (KeyRun(reservation, S, 16 * n, 16),), 60.0)


def test_forgetting_all_looks_at_each_answer_a_few_times_not_at_all_for_each() -> None:
    kept = KeptAnswers()
    held = list(records(200))
    for record in held:
        kept.put(record)
    reservations = [run.reservation for record in held for run in record.keys]
    Watched.looks = 0
    for reservation in reversed(reservations):
        for record in kept.having(reservation):
            kept.drop(record)
    assert len(kept) == 0
    assert Watched.looks < 5 * len(held)
