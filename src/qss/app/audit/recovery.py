"""What a start finds of the audit log: where to go on, what a crash left unfinished, or that a new chain must begin.

Only the last segment is read: it says by itself whose it is and what it goes on with. Whether those before it are whole
is for whoever checks the log. What the anchor remembers must be there: a log that ends before is an older copy, or was
cut off. Damage stays where it is, under its name; a new chain begins behind it. Refused here: changing anything
(`scribe`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qss.app.audit.anchor import Anchored
from qss.app.audit.chain import Standing
from qss.app.audit.following import Follower
from qss.app.audit.segments import follow, segment_file, segments_in
from qss.model.errors import AuditLogDamaged
from qss.model.identifiers import QksId
from qss.wire import audit as wire

_PIECE_BYTES = 1 << 16

Because = Literal["first", "restored", "damaged", "changed", "foreign", "missing"]


@dataclass(frozen=True, slots=True)
class Ends:
    """The log ends like this, and can be gone on with."""

    standing: Standing
    """As far as the last segment alone tells: it may be longer without a checkpoint."""
    size: int
    """Bytes of the last segment that count."""
    torn_bytes: int
    """What a crash has left behind them, and in `unbegun`."""
    unbegun: int | None
    """A segment that a crash kept from beginning, if there is one."""
    restored: bool
    """`qss restore` began it, and the site has not written in it yet."""


@dataclass(frozen=True, slots=True)
class Cannot:
    """No chain can be gone on with: one must begin in this segment, and say why."""

    segment: int
    because: Because
    follows: wire.Position | None
    reason: str
    """For the log; empty if nothing is wrong."""
    torn_bytes: int
    """As in `Ends`; what is damaged is left alone."""
    unbegun: int | None
    """As in `Ends`."""


def recover(folder: Path, site: QksId, known: Anchored | None, *, has_run: bool) -> Ends | Cannot:
    """Look at the log of `site` in `folder`, which may not be there. Raises `OSError`.

    `known` is what its anchor remembers; `has_run` that the site has run before, and so has had a log.
    """
    segments = segments_in(folder)
    torn, unbegun = 0, None
    if segments and not _has_line(segment_file(folder, segments[-1])):
        unbegun = segments.pop()
        torn = segment_file(folder, unbegun).stat().st_size
    following = max(unbegun or (segments[-1] + 1 if segments else 1), 1 if known is None else known.segment + 1)
    follows = None if known is None else known.last
    if not segments:
        if not has_run and known is None:
            return Cannot(following, "first", None, "", torn, unbegun)
        return Cannot(
            following, "missing", follows, f"{folder} has no log, and this site has run before", torn, unbegun
        )
    path = segment_file(folder, segments[-1])
    seen = _Seen(known)
    seen.follower.enter(segments[-1])
    try:
        cut = follow(path, seen.follower, seen.take)
    except AuditLogDamaged as error:
        last = None if seen.follower.standing is None else seen.follower.standing.position
        return Cannot(following, "damaged", last, str(error), torn, unbegun)
    standing = seen.follower.standing
    assert standing is not None  # it has a whole line
    if standing.site != site:
        return Cannot(following, "foreign", standing.position, f"{path} is of site {standing.site}", torn, unbegun)
    restored = seen.begin is not None and seen.begin.because == "restored" and not standing.seq
    doubt = "" if known is None or restored else seen.doubt(standing, known.last)
    if doubt:
        return Cannot(following, "missing", follows, f"{path} {doubt}", torn, unbegun)
    return Ends(standing, path.stat().st_size - cut, torn + cut, unbegun, restored)


class _Seen:
    """The last segment, as it is read."""

    def __init__(self, known: Anchored | None) -> None:
        self.follower = Follower()
        self.begin: wire.Begin | None = None
        """The beginning of its chain, if that is in it."""
        self._known = None if known is None else known.last.seq
        self._hash: str | None = None

    def take(self, record: wire.Record) -> None:
        """A record was followed."""
        if isinstance(record, wire.Begin):
            self.begin = record
        if record.seq == self._known and self.follower.standing is not None:
            self._hash = self.follower.standing.digest.hex()

    def doubt(self, standing: Standing, known: wire.Position) -> str:
        """Return why a log that ends so is not the one of which a record is known; empty if it may be."""
        if standing.chain == known.chain:
            if standing.seq < known.seq:
                return (
                    f"ends with record {standing.seq}, and the log had come to record {known.noted}: its end was cut "
                    "off, or an older copy is in its place"
                )
            return "" if self._hash in {None, known.hash} else f"has another record {known.seq} than {known.noted}"
        follows = None if self.begin is None else self.begin.follows
        if follows is not None and follows.chain == known.chain and follows.seq >= known.seq:
            return ""  # a crash came before the anchor knew of this chain
        return f"is of another chain than record {known.noted}, to which the log had come: another log is in its place"


def _has_line(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b"\n" in piece for piece in iter(lambda: file.read(_PIECE_BYTES), b""))
