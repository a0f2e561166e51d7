"""The check of a whole audit log, also while its site writes it: is all there, in its order, as the site wrote it?

It takes the memory of one record, whatever the log's size. What it cannot tell: whether records were cut off behind the
last checkpoint, or whole pages at the end, unless a later one was noted; and whether the site wrote the truth. Where
something is damaged, what is behind can be checked by itself, and vouches for nothing before. Refused here: repairing
anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qss.app.audit.findings import Findings
from qss.app.audit.following import Follower, Signatures
from qss.app.audit.segments import follow, log_in, segment_file, segments_in, unreadable
from qss.app.data_key_file import DATA_KEY, read_data_key
from qss.model.errors import AuditLogDamaged, StoreError
from qss.model.identifiers import QksId
from qss.wire import audit as wire

_MOST_READINGS = 5


def verify(
    folder: Path, authority: Path | None, noted: Sequence[tuple[int, str]] = (), *, from_segment: int = 0
) -> Findings:
    """Check the log in a data folder, or in a copy of its `audit`, by the certificates in `authority`, if given.

    `noted` are numbers and hashes of records that must be in it. With `from_segment` it is checked from there on, and
    nothing before is looked at. Raises `AuditLogDamaged` at the first thing that is wrong, `PkiError` if the authority
    cannot be used, `StoreUnavailable` if a file cannot be read.
    """
    place, site = log_in(folder), _site_of(folder)
    for _ in range(_MOST_READINGS):
        reading = _Reading(place, authority, noted, from_segment)
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

    def __init__(
        self, place: Path, authority: Path | None, noted: Sequence[tuple[int, str]], from_segment: int
    ) -> None:
        self._place = place
        self._found = Findings(judged=authority is not None, from_segment=from_segment)
        self._follower = Follower(None if authority is None else Signatures(authority))
        self._missing = set(noted)
        self._noted = sorted(self._missing)
        self._numbers = {seq for seq, _ in noted}

    def read(self, site: QksId | None) -> Findings:
        segments = self._segments()
        for segment in segments:
            self._read_segment(segment, segments)
        self._look_at_end(segments[-1])
        found, standing = self._found, self._follower.standing
        if standing is None or found.first is None:
            raise AuditLogDamaged(f"{self._place} has no whole record: start the site, and check again")
        if found.judged and found.checkpoint is None:
            raise AuditLogDamaged(
                f"{self._place} has no checkpoint: the site writes one when it starts; start it, and check again"
            )
        if site is not None and found.site != site:
            raise AuditLogDamaged(f"{self._place} is the log of site {found.site}, in the data folder of site {site}")
        if found.first.seq and not found.from_segment and found.removed_before < segments[0]:
            raise AuditLogDamaged(
                f"{self._place} begins with segment {segments[0]}, and nothing in it says that the site has removed "
                f"those before: put them back there, check a copy that has them, or {_behind(segments[0])}"
            )
        found.last = standing.position
        self._look_for_noted(found.first, found.last)
        return found

    def _segments(self) -> list[int]:
        """Return the segments to be read, none of which is missing."""
        there, wanted = segments_in(self._place), self._found.from_segment
        segments = [segment for segment in there if segment >= wanted]
        if not segments:
            raise AuditLogDamaged(f"{self._place} has no segment {wanted}: its last one is {max(there, default=0)}")
        for segment, due in zip(segments, range(wanted or segments[0], segments[-1] + 1), strict=False):
            if segment != due:
                raise AuditLogDamaged(
                    f"{segment_file(self._place, due)} is not there, and later segments are: put it back from a copy "
                    f"of the log, or {_behind(segment)}"
                )
        return segments

    def _read_segment(self, segment: int, segments: Sequence[int]) -> None:
        path, records = segment_file(self._place, segment), self._found.records
        self._follower.enter(segment)
        try:
            torn = follow(path, self._follower, self._note)
        except AuditLogDamaged as error:
            # If its first line does not go on with what is before, it may be whole by itself.
            behind = segment if self._found.records == records and segment != segments[0] else segment + 1
            if behind > segments[-1]:
                raise
            raise AuditLogDamaged(f"{error}; {_behind(behind)}") from error
        self._found.segments += 1
        self._found.torn_bytes = torn
        if segment != segments[-1] and (torn or self._found.records == records):
            raise AuditLogDamaged(
                f"{path} ends without a whole record, and there is a later segment: its end was cut off, or something "
                f"was put behind it; put it back from a copy of the log, or {_behind(segment + 1)}"
            )

    def _look_at_end(self, segment: int) -> None:
        try:
            self._follower.look_at_end()
        except AuditLogDamaged as error:
            earlier = ", or give an earlier segment with --from" if self._found.from_segment > 1 else ""
            raise AuditLogDamaged(
                f"{segment_file(self._place, segment)}: {error}; a site signs as soon as it has started, or begun a "
                f"chain: check again in a moment, start it if it does not run{earlier}"
            ) from error

    def _look_for_noted(self, first: wire.Position, last: wire.Position) -> None:
        for seq, _ in sorted(self._missing):
            if seq > last.seq:
                why = f"the log ends with record {last.seq}: what came after was taken out, or this is an older copy"
            elif seq < first.seq and self._found.from_segment:
                why = f"what was looked at begins with record {first.seq}: give an earlier segment with --from"
            elif seq < first.seq:
                why = f"the log begins with record {first.seq} now: note a later one"
            else:
                why = "the record of this number has another hash: the log was made anew, or a new chain has begun"
            raise AuditLogDamaged(f"{self._place}: record {seq} is not there as it was noted; {why}")
        self._found.noted = [f"{seq}:{digest}" for seq, digest in self._noted]

    def _note(self, record: wire.Record) -> None:
        standing = self._follower.standing
        assert standing is not None  # a record was taken
        self._found.add(record, standing)
        if record.seq in self._numbers:
            self._missing.discard((record.seq, standing.digest.hex()))


def _behind(segment: int) -> str:
    """Return how the segments from this one on are checked by themselves."""
    return f"check what is behind it alone with --from {segment}"
