"""What a start finds of the audit log: where to go on, what a crash left unfinished, or that a new chain must begin.

Only the last segment is read: it says by itself whose it is and what it goes on with. Whether those before it are whole
is for whoever checks the log. Damage stays where it is, under its name; a new chain begins behind it. Refused here:
changing anything (`scribe`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qss.app.audit.chain import Standing
from qss.app.audit.following import Follower
from qss.app.audit.segments import follow, segment_file, segments_in
from qss.model.errors import AuditLogDamaged
from qss.model.identifiers import QksId
from qss.wire import audit as wire

_PIECE_BYTES = 1 << 16

Because = Literal["first", "restored", "damaged", "changed", "foreign"]


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


def recover(folder: Path, site: QksId) -> Ends | Cannot:
    """Look at the log of `site` in `folder`, which may not be there. Raises `OSError`."""
    segments = segments_in(folder)
    torn, unbegun = 0, None
    if segments and not _has_line(segment_file(folder, segments[-1])):
        unbegun = segments.pop()
        torn = segment_file(folder, unbegun).stat().st_size
    if not segments:
        return Cannot(unbegun or 1, "first", None, "", torn, unbegun)
    path, following = segment_file(folder, segments[-1]), unbegun or segments[-1] + 1
    follower = Follower()
    follower.enter(segments[-1])
    try:
        cut = follow(path, follower)
    except AuditLogDamaged as error:
        last = None if follower.standing is None else follower.standing.position
        return Cannot(following, "damaged", last, str(error), torn, unbegun)
    standing = follower.standing
    assert standing is not None  # it has a whole line
    if standing.site != site:
        return Cannot(following, "foreign", standing.position, f"{path} is of site {standing.site}", torn, unbegun)
    return Ends(standing, path.stat().st_size - cut, torn + cut, unbegun)


def _has_line(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b"\n" in piece for piece in iter(lambda: file.read(_PIECE_BYTES), b""))
