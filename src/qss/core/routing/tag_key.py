"""Key to tag with, of one neighbour: which ranges there are, and how far each is used (Routing 12.3, 12.4 and 12.6).

A range is of the end that drew it, which tags with it, piece after piece; the other end checks. Each piece is taken
once here, and accepted once there, because a place only ever rises: also where tags, or whole ranges, got lost on the
way, or one of both ends has started anew. Ranges outlive connections, and do not outlive the process.

Held here: places, and when the next range is drawn. Not here: bytes, which the shell has and forgets as it is told to
(`forgotten`), nor whether a tag is good. Places and lengths are bytes of key streams, times seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from qss.model.identifiers import StreamId
from qss.model.ranges import Range
from qss.wire.external import MAX_TAGS_BYTES
from qss.wire.routing import MAX_HELD, HeldRange

PIECE_BYTES = 32
"""Key that one tag takes."""

RANGE_BYTES = 2048
"""Key that is drawn at a time."""

MAX_RANGE_BYTES = MAX_TAGS_BYTES
"""Longest range that is taken of a neighbour."""

UNHELD_S = 10.0
"""For how long an own range waits to be told held by the neighbour."""

DRAWING_S = 30.0
"""For how long a draw is waited for: whoever draws has limits of its own, which are shorter."""

PAUSE_S, LONGEST_PAUSE_S = 1.0, 64.0
"""After a range was not had, or lost, and after several of which none was used: twice as long each time."""


@dataclass(slots=True)
class TagRange:
    """A range, and the place in it that is next."""

    stream: StreamId
    part: Range
    place: int
    is_held: bool = False
    """Of an own range: whether the neighbour has told on this connection that it holds it."""
    was_held: bool = False
    """Whether it ever has."""
    since: float = 0.0
    """Since when it is waited for that."""

    @property
    def left(self) -> int:
        """How many tags can be made yet."""
        return (self.part.stop - self.place) // PIECE_BYTES

    def has(self, place: int) -> bool:
        """Whether a piece begins here that was not used."""
        whole = Range(place, place + PIECE_BYTES) in self.part
        return whole and place >= self.place and (place - self.part.start) % PIECE_BYTES == 0


def is_range(part: Range) -> bool:
    """Whether tags can be made with a range of this length."""
    return 0 < len(part) <= MAX_RANGE_BYTES and len(part) % PIECE_BYTES == 0


@dataclass(slots=True)
class _Ranges:
    ranges: list[TagRange] = field(default_factory=list)
    """In the order in which they were drawn."""
    forgotten: list[TagRange] = field(default_factory=list)
    """What the shell has to forget, too; whoever tells it takes them from here."""

    def came(self, stream: StreamId, part: Range, now: float) -> None:
        """A range is here; of too many the oldest is forgotten."""
        self.ranges.append(TagRange(stream, part, part.start, since=now))
        if len(self.ranges) > MAX_HELD:
            self._forget(lambda each: each is self.ranges[0])

    def _forget(self, concerned: Callable[[TagRange], bool]) -> bool:
        """Forget these ranges; return whether there were any."""
        gone = [each for each in self.ranges if concerned(each)]
        self.forgotten += gone
        self.ranges = [each for each in self.ranges if each not in gone]
        return bool(gone)

    def _use(self, used: TagRange, place: int) -> None:
        """The piece at this place is used: none before it will be, nor any range that was drawn before."""
        used.place = place + PIECE_BYTES
        before = self.ranges[: self.ranges.index(used)]
        self._forget(lambda each: each in before or each.left == 0)


@dataclass(slots=True)
class OwnKey(_Ranges):
    """What this end has drawn, and tags with."""

    _drawing_since: float | None = None
    _draw_at: float = 0.0
    _pause_s: float = PAUSE_S

    def connected(self, now: float) -> None:
        """What the neighbour holds has to be told anew."""
        for each in self.ranges:
            each.is_held, each.since = False, now

    def told(self, held: tuple[HeldRange, ...], now: float) -> None:
        """The neighbour tells what it holds: all of it, and nothing else (Routing 12.4).

        What it held once and holds no more, it has lost, in a restart perhaps.
        """
        for each in self.ranges:
            ends = (each.stream.value, each.part.stop)
            place = next((theirs.place for theirs in held if (theirs.stream, theirs.stop) == ends), None)
            each.is_held = place is not None and _lies_in(each, place)
            if each.is_held and place is not None:
                each.place, each.was_held = max(each.place, place), True
        if self._forget(lambda each: each.left == 0 or (each.was_held and not each.is_held)):
            self._pause(now)

    @property
    def left(self) -> int:
        """How many tags can be made now."""
        return sum(each.left for each in self.ranges if each.is_held)

    def take(self) -> TagRange:
        """Return a range as it was before its next piece is taken, which is hereby used. There must be one `left`."""
        used = next(each for each in self.ranges if each.is_held)
        taken = TagRange(used.stream, used.part, used.place)
        self._use(used, used.place)
        self._pause_s = PAUSE_S
        return taken

    def wants(self, now: float) -> bool:
        """Whether a range is to be drawn now; that it is drawn is noted."""
        if self._forget(lambda each: not each.is_held and now - each.since >= UNHELD_S):
            self._pause(now)
        if self._drawing_since is not None and now - self._drawing_since >= DRAWING_S:
            self.failed(now)
        left = sum(each.left for each in self.ranges)
        if self._drawing_since is not None or now < self._draw_at or left > RANGE_BYTES // PIECE_BYTES // 2:
            return False
        self._drawing_since = now
        return True

    def came(self, stream: StreamId, part: Range, now: float) -> None:
        """What was drawn is here."""
        self._drawing_since = None
        _Ranges.came(self, stream, part, now)

    def failed(self, now: float) -> None:
        """A draw was in vain: the next one has to wait."""
        self._drawing_since = None
        self._pause(now)

    def _pause(self, now: float) -> None:
        self._draw_at = now + self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)


@dataclass(slots=True)
class NeighboursKey(_Ranges):
    """What the neighbour has drawn and tags with, as far as it is held here."""

    @property
    def told(self) -> tuple[HeldRange, ...]:
        """What Tags says (Routing 12.4)."""
        return tuple(HeldRange(each.stream.value, each.place, each.part.stop) for each in self.ranges)

    def find(self, stream: bytes, place: int) -> TagRange | None:
        """Return the range whose piece at this place may be accepted, if it is held and that piece was not used."""
        return next((each for each in self.ranges if each.stream.value == stream and each.has(place)), None)

    def accept(self, used: TagRange, place: int) -> None:
        """A tag under the piece at this place was good (Routing 12.6)."""
        self._use(used, place)


def _lies_in(own: TagRange, place: int) -> bool:
    """Whether a neighbour may be at this place of a range of ours, whatever has got lost on the way."""
    return own.part.start <= place <= own.part.stop and (place - own.part.start) % PIECE_BYTES == 0
