"""Answers to asks for keys: which keys they hold, and the name under which one can be asked for again.

An answer names keys by where they lie in their key stream; it holds no key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qss.model.identifiers import KeyId, QksId, ReservationId, StreamId
from qss.model.ranges import Range


@dataclass(frozen=True, slots=True)
class KeyRun:
    """Neighbouring keys of one reservation: `count` keys of `key_bytes`, the first at `position` and byte `start`."""

    reservation: ReservationId
    stream: StreamId
    start: int
    key_bytes: int
    position: int = 0
    count: int = 1

    @property
    def range(self) -> Range:
        """The bytes of the stream that the keys are made of."""
        return Range(self.start, self.start + self.count * self.key_bytes)

    def key_ids(self) -> Iterator[KeyId]:
        """Yield the keys' IDs, in order."""
        return map(self.reservation.key_id, range(self.position, self.position + self.count))

    @property
    def ids_text(self) -> str:
        """The keys' IDs, for people to read: the only one, or the first and the last, `…..…`."""
        first, last = (self.reservation.key_id(self.position + i) for i in (0, self.count - 1))
        return str(first) if self.count == 1 else f"{first}..{last}"

    def is_followed_by(self, other: KeyRun) -> bool:
        """Whether `other` goes on where this run ends."""
        return (
            self.reservation == other.reservation
            and self.position + self.count == other.position
            and self.key_bytes == other.key_bytes
        )


def joined(runs: Iterator[KeyRun]) -> tuple[KeyRun, ...]:
    """Return the same keys, in the same order, as the fewest runs."""
    whole: list[KeyRun] = []
    for run in runs:
        if whole and whole[-1].is_followed_by(run):
            last = whole[-1]
            whole[-1] = KeyRun(
                last.reservation, last.stream, last.start, last.key_bytes, last.position, last.count + run.count
            )
        else:
            whole.append(run)
    return tuple(whole)


@dataclass(frozen=True, slots=True)
class AskName:
    """An idempotency name (invariant 7): the same ask under the same name gets the same keys.

    `digest` (32 bytes) stands for who asks, by which method, with whom, and the name that it chose; `request`
    (32 bytes) for what it asks.
    """

    digest: bytes
    request: bytes


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """An answer that one end gives again, to the same ask under the same name, until its grace time ends."""

    peer: QksId
    name: AskName
    keys: tuple[KeyRun, ...]
    until: float
    """Seconds since the epoch, by this end's clock: when the grace time ends."""
