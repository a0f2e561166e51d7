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
        self._runs: dict[ReservationId, dict[bytes, list[KeyRun]]] = {}
        """By reservation and name: a recall of all that a link holds looks up each reservation once."""
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
        digest = record.name.digest
        self._answers[digest] = record
        for run in record.keys:
            self._runs.setdefault(run.reservation, {}).setdefault(digest, []).append(run)
            self._runs_in[run.stream] += 1

    def drop(self, record: AnswerRecord) -> None:
        """Keep an answer no more."""
        digest = record.name.digest
        del self._answers[digest]
        for reservation in {run.reservation for run in record.keys}:
            by_name = self._runs[reservation]
            del by_name[digest]
            if not by_name:
                del self._runs[reservation]
        for run in record.keys:
            self._runs_in[run.stream] -= 1
            if not self._runs_in[run.stream]:
                del self._runs_in[run.stream]

    def expired(self, wall: float) -> list[AnswerRecord]:
        """Return the answers whose grace time has ended."""
        return [record for record in self._answers.values() if record.until <= wall]

    def having(self, reservation: ReservationId) -> list[AnswerRecord]:
        """Return the answers that hold a key of this reservation."""
        return [self._answers[digest] for digest in self._runs.get(reservation, ())]

    def bytes_of(self, reservation: ReservationId) -> list[Range]:
        """Return the bytes of one reservation that answers keep."""
        return [run.range for runs in self._runs.get(reservation, {}).values() for run in runs]

    def bytes_in(self, stream: StreamId) -> list[Range]:
        """Return the bytes of one stream that answers keep."""
        return [
            run.range
            for by_name in self._runs.values()
            for runs in by_name.values()
            for run in runs
            if run.stream == stream
        ]

    def has_any_in(self, stream: StreamId) -> bool:
        """Whether answers keep any byte of this stream."""
        return stream in self._runs_in
