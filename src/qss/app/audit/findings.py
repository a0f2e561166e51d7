"""What the check of an audit log has found, gathered record by record.

Held here: what a reader is told of a log that is whole. Refused: judging whether it is (`verification`).
"""

from __future__ import annotations

import msgspec

from qss.app.audit.chain import Standing
from qss.wire import audit as wire


class Findings(msgspec.Struct, kw_only=True):
    """What a log that is whole says."""

    site: str = ""
    records: int = 0
    segments: int = 0
    from_segment: int = 0
    """Nothing before this segment was looked at, though there may be something; 0: all that is there was."""
    before: wire.Position | None = None
    """What the first record here says that it comes after."""
    first: wire.Position | None = None
    first_at: str = ""
    last: wire.Position | None = None
    last_at: str = ""
    checkpoint: wire.Position | None = None
    """The last one."""
    checkpoint_at: str = ""
    judged: bool
    """Checkpoints were judged by an authority."""
    noted: list[str] = msgspec.field(default_factory=list)
    """Records that had been noted, and are there."""
    unsigned: int = 0
    """Records after the last checkpoint."""
    unsigned_since: str = ""
    """When the first of them was made; empty if there is none."""
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

    def add(self, record: wire.Record, standing: Standing) -> None:
        """Add a record, after which the log stands so."""
        self.records += 1
        self.last_at, self.unsigned = record.at, standing.unsigned
        if self.records == 1:
            self._begin(record, standing)
        if not self.unsigned:
            self.unsigned_since = ""
        elif not self.unsigned_since:
            self.unsigned_since = record.at
        match record:
            case wire.Event():
                self.events += 1
            case wire.Checkpoint():
                self.checkpoint, self.checkpoint_at = standing.position, record.at
            case wire.Lost():
                self.lost += record.records
            case wire.Start(clean=False):
                self.crashes += 1
            case wire.Removed():
                self.removed_before = max(self.removed_before, record.before)
            case wire.Begin() if record.because != "first":
                self.began.append(record)

    def _begin(self, record: wire.Record, standing: Standing) -> None:
        self.site, self.first, self.first_at = standing.site, standing.position, record.at
        match record:
            case wire.Begin():
                self.before = record.follows
            case wire.Segment() if record.seq:
                self.before = wire.Position(record.chain, record.seq - 1, record.previous)
