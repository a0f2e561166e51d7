"""What is odd about the audit log that a start finds, or a page: said, counted by kind, and recorded in the log itself.

Refused here: reading the log (`recovery`), and what is done about it (`scribe`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qss.app.audit.anchor import Anchored
from qss.app.audit.recovery import Cannot, Ends

FINDINGS = ("damaged", "foreign", "changed", "missing", "restored", "segments", "anchor")
"""What can be found: why a chain had to begin, segments that are gone, and no anchor to tell what should be there."""


@dataclass(frozen=True, slots=True)
class Odd:
    """Something that is not as the site left it."""

    finding: str
    """One of `FINDINGS`."""
    told: str
    """For the log."""
    reason: str


def odd_change(reason: str) -> Odd:
    """Return what is odd about a log that was changed while its site ran."""
    return Odd("changed", "the audit log was changed while this site ran: a new chain has begun", reason)


def oddities(
    folder: Path, found: Ends | Cannot, segments: Sequence[int], known: Anchored | None, doubt: str
) -> Iterator[Odd]:
    """Yield what is odd about the log in `folder`, of which a start has `found` that, and `segments`.

    `known` is what its anchor remembers; `doubt` says why it remembers nothing.
    """
    restored = isinstance(found, Ends) and found.restored
    if isinstance(found, Cannot):
        if found.reason:
            yield Odd(found.because, "the audit log cannot be gone on with: a new chain has begun", found.reason)
    elif restored:
        was = "unknown" if known is None else known.last.noted
        yield Odd("restored", "the audit log was begun anew by `qss restore`", f"it had come to record {was}")
    elif known is None:
        told = "nothing tells whether the audit log is an older copy: compare it with a checkpoint that was noted"
        yield Odd("anchor", told, doubt)
    yield from odd_gaps(folder, segments, min(segments, default=1) if known is None or restored else known.first)


def odd_gaps(folder: Path, segments: Sequence[int], first: int) -> Iterator[Odd]:
    """Yield what is odd about the `segments` in `folder`, if any is missing from `first` to the last of them."""
    missing = gone(segments, first)
    if missing:
        told = "segments of the audit log are missing that this site has not removed"
        yield Odd("segments", told, f"not in {folder}: {', '.join(missing)}")


def gone(segments: Sequence[int], first: int) -> list[str]:
    """Return which segments are missing from `first` to the last one that is there."""
    missing, due = [], first
    for segment in segments:
        if segment > due:
            missing.append(str(due) if segment == due + 1 else f"{due} to {segment - 1}")
        due = max(due, segment + 1)
    return missing


def unbroken(segments: Sequence[int]) -> int:
    """Return the first of the last segments, of which there is at least one, among which none is missing."""
    first = segments[-1]
    for segment in reversed(segments[:-1]):
        if segment != first - 1:
            break
        first = segment
    return first
