"""Answers that can be given again, and the bytes that they keep from being erased."""

from __future__ import annotations

from collections import Counter

from qss.model.answers import AnswerRecord, KeyRun
from qss.model.identifiers import ReservationId, StreamId
from qss.model.ranges import Range


class KeptAnswers:
    """Answers, to be found by the digest of their name, and by the reservations and streams that their keys are of."""

    def __init__(self) -> None:
        self._answers: dict[bytes, AnswerRecord] = {}
        self._runs: dict[ReservationId, list[KeyRun]] = {}
        self._names: dict[ReservationId, dict[bytes, None]] = {}
        self._runs_in: Counter[StreamId] = Counter()

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._answers

    def get(self, digest: bytes) -> AnswerRecord | None:
        """Return the answer under the name of this digest."""
        return self._answers.get(digest)

    def put(self, record: AnswerRecord) -> None:
        """Keep an answer."""
        self._answers[record.name.digest] = record
        for run in record.keys:
            self._runs.setdefault(run.reservation, []).append(run)
            self._names.setdefault(run.reservation, {})[record.name.digest] = None
            self._runs_in[run.stream] += 1

    def drop(self, record: AnswerRecord) -> None:
        """Keep an answer no more."""
        del self._answers[record.name.digest]
        for run in record.keys:
            runs = self._runs[run.reservation]
            runs.remove(run)
            self._names[run.reservation].pop(record.name.digest, None)
            if not runs:
                del self._runs[run.reservation], self._names[run.reservation]
            self._runs_in[run.stream] -= 1

    def expired(self, wall: float) -> list[AnswerRecord]:
        """Return the answers whose grace time has ended."""
        return [record for record in self._answers.values() if record.until <= wall]

    def having(self, reservation: ReservationId) -> list[AnswerRecord]:
        """Return the answers that hold a key of this reservation."""
        return [self._answers[digest] for digest in self._names.get(reservation, ())]

    def bytes_of(self, reservation: ReservationId) -> list[Range]:
        """Return the bytes of one reservation that answers keep."""
        return [run.range for run in self._runs.get(reservation, ())]

    def bytes_in(self, stream: StreamId) -> list[Range]:
        """Return the bytes of one stream that answers keep."""
        return [run.range for runs in self._runs.values() for run in runs if run.stream == stream]

    def has_any_in(self, stream: StreamId) -> bool:
        """Whether answers keep any byte of this stream."""
        return self._runs_in[stream] > 0
