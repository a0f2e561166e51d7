"""The check of a whole audit log, also while its site writes it: is all there, in its order, as the site wrote it?

It takes the memory of one record, whatever the log's size. What it cannot tell: whether records were cut off behind the
last checkpoint, or whole pages at the end, unless a later one was noted; and whether the site wrote the truth. Refused
here: repairing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from qss.app.audit.following import Follower, Signatures
from qss.app.audit.segments import follow, log_in, segment_file, segments_in, unreadable
from qss.app.data_key_file import DATA_KEY, read_data_key
from qss.model.errors import AuditLogDamaged, StoreError
from qss.model.identifiers import QksId
from qss.wire import audit as wire

_MOST_READINGS = 5


class Findings(msgspec.Struct, kw_only=True):
    """What a log that is whole says."""

    site: str = ""
    records: int = 0
    segments: int = 0
    first: wire.Position | None = None
    first_at: str = ""
    last: wire.Position | None = None
    last_at: str = ""
    checkpoint: wire.Position | None = None
    """The last one."""
    checkpoint_at: str = ""
    judged: bool
    """Checkpoints were judged by an authority."""
    unsigned: int = 0
    """Records after the last checkpoint."""
    events: int = 0
    lost: int = 0
    """Records of which the log says that they could not be kept."""
    crashes: int = 0
    """Starts of the site before which it had not stopped."""
    torn_bytes: int = 0
    """Of a last line that is being written, or that a crash has left."""
    began: list[wire.Begin] = msgspec.field(default_factory=list)
    """Beginnings of chains in it, but the site's very first one."""
    removed_before: int = 0
    """The site has removed the segments below this one, to make room; 0: none."""


def verify(folder: Path, authority: Path | None, noted: Sequence[tuple[int, str]] = ()) -> Findings:
    """Check the log in a data folder, or in a copy of its `audit`, by the certificates in `authority`, if given.

    `noted` are numbers and hashes of records that must be in it. Raises `AuditLogDamaged` at the first thing that is
    wrong, `PkiError` if the authority cannot be used, `StoreUnavailable` if a file cannot be read.
    """
    place, site = log_in(folder), _site_of(folder)
    for _ in range(_MOST_READINGS):
        reading = _Reading(place, authority, noted)
        try:
            return reading.read(site)
        except FileNotFoundError:  # the site has removed an old segment meanwhile
            continue
        except OSError as error:
            raise unreadable(place, error) from error
    raise AuditLogDamaged(f"files of {place} vanish while they are read: copy it first, and check the copy")


def _site_of(folder: Path) -> QksId | None:
    """Return whose data folder it is, if it says so."""
    try:
        return read_data_key(folder).site if (folder / DATA_KEY).exists() else None
    except StoreError:
        return None


class _Reading:
    """One reading of a log."""

    def __init__(self, place: Path, authority: Path | None, noted: Sequence[tuple[int, str]]) -> None:
        self._place = place
        self._found = Findings(judged=authority is not None)
        self._follower = Follower(None if authority is None else Signatures(authority))
        self._missing = set(noted)
        self._numbers = {seq for seq, _ in noted}

    def read(self, site: QksId | None) -> Findings:
        segments = segments_in(self._place)
        for before, segment in pairwise(segments):
            if segment != before + 1:
                raise AuditLogDamaged(f"{segment_file(self._place, before + 1)} is not there, and later segments are")
        for segment in segments:
            self._read_segment(segment, is_last=segment == segments[-1])
        self._follower.look_at_end()
        found, standing = self._found, self._follower.standing
        if standing is None or found.first is None:
            raise AuditLogDamaged(f"{self._place} has no whole record: start the site, and look again")
        if found.judged and found.checkpoint is None:
            raise AuditLogDamaged(f"{self._place} has no checkpoint: the site writes one when it starts")
        if site is not None and found.site != site:
            raise AuditLogDamaged(f"{self._place} is the log of site {found.site}, in the data folder of site {site}")
        if found.first.seq and found.removed_before < segments[0]:
            raise AuditLogDamaged(
                f"{self._place} begins with segment {segments[0]}, and nothing in it says that the site has removed "
                "those before: put them back there, or check a copy that has them"
            )
        found.last, found.unsigned = standing.position, standing.unsigned
        self._look_for_noted(found.first, standing.position)
        return found

    def _read_segment(self, segment: int, *, is_last: bool) -> None:
        path, records = segment_file(self._place, segment), self._found.records
        self._follower.enter(segment)
        torn = follow(path, self._follower, self._note)
        self._found.segments += 1
        self._found.torn_bytes = torn
        if not is_last and (torn or self._found.records == records):
            raise AuditLogDamaged(f"{path} ends without a whole record, and there is a later segment")

    def _look_for_noted(self, first: wire.Position, last: wire.Position) -> None:
        for seq, _ in sorted(self._missing):
            if seq > last.seq:
                why = f"the log ends with record {last.seq}: what came after was taken out, or this is an older copy"
            elif seq < first.seq:
                why = f"the log begins with record {first.seq} now: note a later one"
            else:
                why = "the record of this number has another hash: the log was made anew, or a new chain has begun"
            raise AuditLogDamaged(f"{self._place}: record {seq} is not there as it was noted; {why}")

    def _note(self, record: wire.Record) -> None:
        found, standing = self._found, self._follower.standing
        assert standing is not None  # a record was taken
        found.records += 1
        found.last_at = record.at
        if found.records == 1:
            found.site, found.first, found.first_at = standing.site, standing.position, record.at
        match record:
            case wire.Event():
                found.events += 1
            case wire.Checkpoint():
                found.checkpoint, found.checkpoint_at = standing.position, record.at
            case wire.Lost():
                found.lost += record.records
            case wire.Start(clean=False):
                found.crashes += 1
            case wire.Removed():
                found.removed_before = max(found.removed_before, record.before)
            case wire.Begin() if record.because != "first":
                found.began.append(record)
        if record.seq in self._numbers:
            self._missing.discard((record.seq, standing.digest.hex()))
