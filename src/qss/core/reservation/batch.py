"""What has changed since the last commit was made: the next commit, while it gathers.

Rows are kept as they were left last, in the order in which they were first touched; None says that one is forgotten.
A stream's row is made when the commit is, because it counts the commits that touched it (see `state`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qss.core.reservation.events import Commit
from qss.core.reservation.ledger import StreamLedger
from qss.model.answers import AnswerRecord
from qss.model.identifiers import ReservationId, StreamId
from qss.model.records import PeerRecord, RecallRecord, ReservationRecord


class Batch:
    """One commit that gathers, and what waits for it. It is made into a `Commit` once."""

    def __init__(self) -> None:
        self._streams: dict[StreamId, StreamLedger] = {}
        self._dropped_streams: list[StreamId] = []
        self._rows: dict[ReservationId, ReservationRecord | None] = {}
        self._answers: dict[bytes, AnswerRecord | None] = {}
        self._recalls: dict[int, RecallRecord | None] = {}
        self._keys: list[tuple[StreamId, int, int]] = []
        self._peer = False
        self._then: list[Callable[[], None]] = []
        self.in_a_hurry = False
        """Somebody waits for this commit."""

    def __bool__(self) -> bool:
        # Reservations, answers and key touch their streams.
        return bool(self._streams or self._dropped_streams or self._recalls or self._peer or self._then)

    def touch(self, ledger: StreamLedger) -> None:
        """Write this stream's row."""
        self._streams[ledger.stream] = ledger

    def drop_stream(self, stream: StreamId) -> None:
        """Forget a stream."""
        self._streams.pop(stream, None)
        self._dropped_streams.append(stream)

    def put_row(self, row: ReservationRecord) -> None:
        """Write a reservation's row."""
        self._rows[row.id] = row

    def drop_row(self, reservation: ReservationId) -> None:
        """Forget a reservation."""
        self._rows[reservation] = None

    def put_answer(self, record: AnswerRecord) -> None:
        """Keep an answer."""
        self._answers[record.name.digest] = record

    def drop_answer(self, digest: bytes) -> None:
        """Forget an answer."""
        self._answers[digest] = None

    def put_recall(self, record: RecallRecord) -> None:
        """Keep a recall."""
        self._recalls[record.number] = record

    def drop_recall(self, number: int) -> None:
        """Forget a recall."""
        self._recalls[number] = None

    def put_key(self, stream: StreamId, start: int, handle: int) -> None:
        """Store the bytes under `handle`."""
        self._keys.append((stream, start, handle))

    def handles(self) -> tuple[int, ...]:
        """Return the handles of the key that is to be stored."""
        return tuple(handle for _, _, handle in self._keys)

    def touch_peer(self) -> None:
        """What is remembered of the peer has changed."""
        self._peer = True

    def wait(self, then: Callable[[], None]) -> None:
        """Do something once this is durable."""
        self._then.append(then)

    def made(self, token: int, peer: PeerRecord | None) -> tuple[Commit, list[Callable[[], None]]]:
        """Return the commit, and what is to be done once it is durable. `peer` is what is to be remembered of it."""
        freed = [partial(ledger.erasable, ledger.take_freed()) for ledger in self._streams.values()]
        commit = Commit(
            token,
            tuple(ledger.next_version() for ledger in self._streams.values()),
            tuple(self._dropped_streams),
            tuple(row for row in self._rows.values() if row is not None),
            tuple(reservation for reservation, row in self._rows.items() if row is None),
            tuple(self._keys),
            tuple(answer for answer in self._answers.values() if answer is not None),
            tuple(digest for digest, answer in self._answers.items() if answer is None),
            tuple(recall for recall in self._recalls.values() if recall is not None),
            tuple(number for number, recall in self._recalls.items() if recall is None),
            peer,
        )
        return commit, [*self._then, *freed]
