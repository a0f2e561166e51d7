"""Ranges of a key stream, in bytes, half open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Bytes `start` up to, not including, `stop` of one key stream."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"no range: [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start

    def __contains__(self, other: Range) -> bool:
        return self.start <= other.start and other.stop <= self.stop

    def intersection(self, other: Range) -> Range | None:
        """Return the common part, or None where there is none."""
        start, stop = max(self.start, other.start), min(self.stop, other.stop)
        return Range(start, stop) if start < stop else None


def subtract(whole: Range, holes: Iterable[Range]) -> list[Range]:
    """Return what is left of `whole` without `holes`, in order. Holes may overlap and come in any order."""
    rest: list[Range] = []
    position = whole.start
    for hole in sorted(holes):
        if hole.stop <= position:
            continue
        if hole.start >= whole.stop:
            break
        if hole.start > position:
            rest.append(Range(position, hole.start))
        position = hole.stop
    if position < whole.stop:
        rest.append(Range(position, whole.stop))
    return rest


def union(ranges: Iterable[Range]) -> list[Range]:
    """Return the same bytes as the fewest ranges, in order."""
    merged: list[Range] = []
    for part in sorted(part for part in ranges if len(part)):
        if merged and part.start <= merged[-1].stop:
            merged[-1] = Range(merged[-1].start, max(merged[-1].stop, part.stop))
        else:
            merged.append(part)
    return merged
