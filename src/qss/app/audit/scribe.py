"""The writing of one site's audit log: where it goes on, its checkpoints, the next segment, the end of old ones.

What could not be written can be given again. Whatever is found to be other than the site left it is said, counted, and
recorded in the log itself. Held here: the log while its site runs. Refused: waiting, threads, and what is to be
recorded besides (`log`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from qss import __version__
from qss.app.audit import room
from qss.app.audit.anchor import Anchored, AuditAnchor
from qss.app.audit.chain import Page, Standing, begun, gone_on
from qss.app.audit.oddities import FINDINGS, Odd, odd_change, odd_gaps, oddities, unbroken
from qss.app.audit.pen import Pen, SegmentChanged
from qss.app.audit.recovery import Because, Cannot, recover
from qss.app.audit.segments import AUDIT, segment_file, segments_in
from qss.app.catalogue import lock_store
from qss.model.errors import PkiError, StoreError
from qss.model.identifiers import QksId
from qss.pki.statements import Signer
from qss.runtime.link import Clocks
from qss.wire import audit as wire

SEGMENT_BYTES = 16 << 20
"""Size from which on a segment is followed by the next one."""

CHECKPOINT_S = 10.0
"""Seconds that a record may wait for a checkpoint."""

MAX_CERTIFICATES_BYTES = 64 << 10
"""Largest certificates, all together, that go into a checkpoint."""

_log = structlog.get_logger(__name__)


class Scribe:
    """Writes the audit log of one site. For one thread; nobody else writes from the first page to `close`."""

    def __init__(
        self, data: Path, site: QksId, signer: Signer, keep_bytes: int, clocks: Clocks, anchor: AuditAnchor
    ) -> None:
        """Write into the data folder `data`, and keep `keep_bytes` of segments there.

        Raises `PkiError` if the site's certificates are too large for checkpoints.
        """
        if sum(map(len, signer.certificates)) > MAX_CERTIFICATES_BYTES:
            raise PkiError(
                f"the certificates of {site} are larger than {MAX_CERTIFICATES_BYTES} bytes together: leave its own in "
                "the file, and those between it and its authority"
            )
        self.folder = data / AUDIT
        self._site, self._signer = site, signer
        self._keep_bytes = keep_bytes
        self._clocks = clocks
        self._anchor = anchor
        self._first = 1
        self._findings = dict.fromkeys(FINDINGS, 0)
        self._lock: int | None = None
        self._pen = Pen(self.folder)
        self._standing: Standing | None = None
        self._preface: list[wire.Record] = []
        self._room_made_in = 0
        self._unsigned_since: float | None = None
        self.checkpoint: wire.Position | None = None
        """The last checkpoint that was written here."""

    @property
    def findings(self) -> Mapping[str, int]:
        """How often each of `FINDINGS` was found here."""
        return dict(self._findings)

    def due_in(self) -> float | None:
        """Return in how many seconds a page is due even if there are no records for it; None: never."""
        if self._standing is None or self._preface or not self._standing.seq:
            return 0.0  # a start is told, and a chain signed, at once; or a disk has refused that, and is to be tried
        if self._unsigned_since is None:
            return None
        return max(0.0, self._unsigned_since + CHECKPOINT_S - self._clocks()[0])

    def write(self, records: Sequence[wire.Record], *, stopping: bool = False) -> None:
        """Write records, and what is due besides; durable when this returns. `stopping`: they are the last.

        Raises `OSError` or `StoreError`; none of them counts then, and they can be given again.
        """
        standing = self._standing or self._opened()
        try:
            self._write(standing, records, stopping=stopping)
        except SegmentChanged as error:
            self._check_in_place()
            segment = max(self._pen.segment, *segments_in(self.folder), 0) + 1
            anew = self._begin(segment, "changed", standing.position)
            self._say(odd_change(str(error)))
            self._write(anew, records, stopping=stopping)

    def _check_in_place(self) -> None:
        """Raise `StoreError` if the whole data folder was taken away: there is nowhere to begin anew."""
        path = self.folder.with_name(f"{AUDIT}.lock")
        assert self._lock is not None  # it is held from the first page on
        if not path.exists() or not os.path.samestat(os.fstat(self._lock), path.stat()):
            raise StoreError(f"{path} was removed or replaced while this site ran: put its data folder, or disk, back")

    def close(self) -> None:
        """Let others write."""
        self._pen.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- a page -----------------------------------------------------------------------------------------------------

    def _write(self, standing: Standing, records: Sequence[wire.Record], *, stopping: bool) -> None:
        if self._pen.size >= SEGMENT_BYTES:
            standing = self._next_segment(standing)
        old = [] if self._room_made_in == self._pen.segment else room.beyond(self.folder, self._keep_bytes)
        at = self._now()  # one time, or a checkpoint would be older than what it signs
        page = Page(standing, self._signer, at)
        if self._preface and standing.seq and (standing.unsigned or not standing.signed):
            page.sign()  # how many records were written since the last checkpoint may show in earlier segments only
        for record in (*self._preface, *records):
            page.add(record)
        if old:
            self._first = old[-1] + 1
            page.add(wire.Removed(at=at, before=old[-1] + 1))
        if stopping:
            page.add(wire.Stop(at=at))
        if stopping or ((page.standing.unsigned or not page.standing.signed) and self.due_in() == 0.0):
            page.sign()
        if page.content:
            self._pen.add(page.content)
            self._note(page, at_once=stopping or bool(old or self._preface) or not standing.seq)
        self._room_made_in = self._pen.segment
        room.remove(self.folder, old)  # the log says already that they may be gone, and so does the anchor

    def _note(self, page: Page, *, at_once: bool) -> None:
        """A page is durable."""
        self._standing, self._preface = page.standing, []
        self.checkpoint = page.checkpoint or self.checkpoint
        if not page.standing.unsigned:
            self._unsigned_since = None
        elif page.checkpoint is not None or self._unsigned_since is None:
            self._unsigned_since = self._clocks()[0]
        now = self._clocks()[0]
        if at_once or self._anchor.is_due(now):
            self._look_for_gaps()
            anchored = Anchored(last=page.standing.position, segment=page.standing.segment, first=self._first)
            self._anchor.note(anchored, now)

    def _look_for_gaps(self) -> None:
        """Say once which segments somebody has removed."""
        with suppress(OSError):  # the page is durable, and must not be given again
            segments = segments_in(self.folder)
            for odd in odd_gaps(self.folder, segments, self._first):
                self._say(odd)
                self._first = unbroken(segments)

    def _say(self, odd: Odd) -> None:
        self._findings[odd.finding] += 1
        tell = _log.warning if odd.finding == "restored" else _log.error
        tell(odd.told, audit=True, reason=odd.reason)

    def _now(self) -> str:
        return wire.time_text(self._clocks()[1])

    # --- segments ---------------------------------------------------------------------------------------------------

    def _opened(self) -> Standing:
        """Find where the log ends, and what is to be said of that."""
        if self._lock is None:
            self._lock = lock_store(self.folder)
        known, doubt = self._known()
        found = recover(self.folder, self._site, known, has_run=self._anchor.has_run)
        if found.unbegun is not None:
            segment_file(self.folder, found.unbegun).unlink()
        segments = segments_in(self.folder)
        if isinstance(found, Cannot):
            standing, clean = self._begin(found.segment, found.because, found.follows), True
        else:
            self._pen.resume(found.standing.segment, found.size)
            standing = self._standing = found.standing
            self._first = unbroken(segments)
            clean = standing.stopped or not standing.seq
        for odd in oddities(self.folder, found, segments, known, doubt):
            self._say(odd)
        if found.torn_bytes:
            _log.warning("a line of the audit log was cut off that a crash had left", bytes=found.torn_bytes)
            self._preface.append(wire.Recovered(at=self._now(), cut_bytes=found.torn_bytes))
        self._preface.append(wire.Start(at=self._now(), release=__version__, clean=clean))
        return standing

    def _known(self) -> tuple[Anchored | None, str]:
        """Return what the anchor remembers, or why it remembers nothing."""
        try:
            return self._anchor.read(), f"{self._anchor.path} is missing"
        except StoreError as error:
            return None, str(error)

    def _begin(self, segment: int, because: Because, follows: wire.Position | None) -> Standing:
        """Begin a chain in a new segment."""
        record = wire.Begin(
            at=self._now(),
            site=self._site,
            chain=secrets.token_hex(16),
            segment=segment,
            because=because,
            follows=follows,
        )
        line, standing = begun(record)
        self._first = unbroken([*segments_in(self.folder), segment])
        self._pen.begin(segment, line)
        self._standing = standing
        return standing

    def _next_segment(self, standing: Standing) -> Standing:
        line, standing = gone_on(standing, self._now())
        self._pen.begin(standing.segment, line)
        self._standing = standing
        return standing
