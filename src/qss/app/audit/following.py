"""Following the lines of an audit log, one after the other, and refusing what its site did not write there.

Held here: the chain's rules (`chain`) for a reader, in the memory of one record. Refused: files (`segments`).
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from qss.app.audit.chain import MAX_UNSIGNED, Standing
from qss.model.errors import AuditLogDamaged, BadRequest, Unauthorised
from qss.pki.statements import Judge
from qss.wire import audit as wire

_FIRST = (wire.Begin, wire.Segment)
"""Records with which segments begin."""

_CHANGED = "its hash does not fit: it was changed, or a record before it was taken out, put in, moved or changed"


class Signatures:
    """Judges checkpoints by the certificates of the network's authority, each as of the time that it tells."""

    def __init__(self, authority: Path) -> None:
        """Trust the certificates in the file `authority`. Raises `PkiError`."""
        self._at = ""
        self._judge = Judge(authority, now=lambda: wire.moment(self._at))

    def check(self, standing: Standing, record: wire.Checkpoint) -> None:
        """Raise `AuditLogDamaged` unless the site has signed that its chain stood so when this record was made."""
        self._at = record.at
        text = wire.checkpoint_text(standing.site, standing.chain, record.seq, record.at, standing.digest)
        try:
            self._judge.check(standing.site, text, record.algorithm, record.certificates, record.signature)
        except Unauthorised as error:
            raise AuditLogDamaged(f"this checkpoint is not the site's: {error}") from error


class Follower:
    """Takes lines in their order. Without `signatures` whoever has made them is not asked."""

    def __init__(self, signatures: Signatures | None = None) -> None:
        self.standing: Standing | None = None
        """Where the chain stands after the last line; None before the first one."""
        self._signatures = signatures
        self._entering: int | None = None

    def enter(self, segment: int) -> None:
        """The next line is the first one of this segment."""
        self._entering = segment

    def take(self, line: bytes) -> wire.Record:
        """Return the record of a line, with the newline at its end. Raises `AuditLogDamaged`, and then stays."""
        try:
            text, told = wire.split(line)
            record = wire.decode(text)
        except BadRequest as error:
            raise AuditLogDamaged(str(error)) from error
        before = self._before(record)
        digest = sha256((wire.NOTHING if before is None else before.digest) + text).digest()
        if digest != told:
            raise AuditLogDamaged(_CHANGED)
        if isinstance(record, wire.Begin):
            self._look_at_beginning(record)
            self.standing = Standing(record.site, record.chain, record.segment, 0, digest)
        else:
            assert before is not None
            self._look_at(record, before)
            self.standing = before.after(record, digest)
        self._entering = None
        return record

    def would_take(self, line: bytes) -> bool:
        """Whether a line would be taken next; nothing changes."""
        trial = Follower(self._signatures)
        trial.standing, trial._entering = self.standing, self._entering
        try:
            trial.take(line)
        except AuditLogDamaged:
            return False
        return True

    def _before(self, record: wire.Record) -> Standing | None:
        """Return where the chain stands that this record goes on with, as far as it is known."""
        first = isinstance(record, _FIRST)
        if first != (self._entering is not None):
            raise AuditLogDamaged("the first record of a segment, and no other, begins a chain or goes on with one")
        if isinstance(record, wire.Begin):
            return None
        if self.standing is None and isinstance(record, wire.Segment):
            # Earlier segments are not there: their hash is taken as told, and the next checkpoint stands for it.
            digest = bytes.fromhex(record.previous)
            return Standing(record.site, record.chain, record.segment - 1, record.seq - 1, digest)
        return self.standing

    def _look_at_beginning(self, record: wire.Begin) -> None:
        last = self.standing
        if (record.seq, record.segment) != (0, self._entering):
            raise AuditLogDamaged(f"it is the beginning of segment {record.segment}, number {record.seq}")
        if last is None:
            return
        if record.site != last.site:
            raise AuditLogDamaged(f"it is of site {record.site}, and what comes before of site {last.site}")
        if record.follows != last.position:
            told = "none" if record.follows is None else f"{record.follows.noted} of chain {record.follows.chain}"
            raise AuditLogDamaged(
                f"the chain before it ends with record {last.position.noted} of chain {last.chain} here, and with "
                f"{told} when this one began: records were taken out"
            )
        self.look_at_end()

    def _look_at(self, record: wire.Record, before: Standing) -> None:
        if record.seq != before.seq + 1:
            raise AuditLogDamaged(f"it has number {record.seq}, and {before.seq + 1} is the next")
        if isinstance(record, wire.Segment):
            told = (record.site, record.chain, record.segment, record.previous)
            if told != (before.site, before.chain, before.segment + 1, before.digest.hex()):
                raise AuditLogDamaged("it is not the beginning of the segment that comes here")
            if record.segment != self._entering:
                raise AuditLogDamaged(f"it is the beginning of segment {record.segment}")
        elif isinstance(record, wire.Checkpoint):
            if self._signatures is not None:
                self._signatures.check(before, record)
        elif before.unsigned >= MAX_UNSIGNED:
            raise AuditLogDamaged(f"{MAX_UNSIGNED} records before it have no checkpoint, and a site signs no later")

    def look_at_end(self) -> None:
        """Raise `AuditLogDamaged` if nobody can tell whose the chain is that ends here, though signatures count."""
        last = self.standing
        if last is not None and last.seq and not last.signed and self._signatures is not None:
            raise AuditLogDamaged(f"the chain {last.chain} that ends here has no checkpoint: anybody can have made it")
