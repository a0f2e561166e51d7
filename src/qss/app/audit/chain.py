"""The chain of an audit log's records: what may follow what, and the making of lines.

    where                what may come there
    ───────────────────  ─────────────────────────────────────────────────────────────────────────────────────
    first of a segment   begin: number 0; if there is a chain before, it ends with what this one follows
                         segment: the next number, of the same site and chain; it names the hash of the last
    anywhere else        any other kind: the next number; after 256 of them without a checkpoint, that alone

Each record's hash is over the one before. So whoever changes, removes, swaps or adds a record has to make all hashes
after it anew, up to the next checkpoint, and that one takes the site's key. Refused here: reading (`following`) and
files (`segments`).
"""

from __future__ import annotations

import msgspec

from qss.model.identifiers import QksId
from qss.pki.statements import Signer
from qss.wire import audit as wire

MAX_UNSIGNED = 256
"""Records from one checkpoint to the next; those with which a segment begins do not count."""


class Standing(msgspec.Struct, frozen=True):
    """Where a chain stands after a record."""

    site: QksId
    chain: str
    segment: int
    seq: int
    digest: bytes
    unsigned: int = 0
    """Records since the last checkpoint."""
    signed: bool = False
    """The chain has a checkpoint."""
    stopped: bool = False
    """The last record but checkpoints says that the site stopped."""

    @property
    def position(self) -> wire.Position:
        """The record."""
        return wire.Position(self.chain, self.seq, self.digest.hex())

    def after(self, record: wire.Record, digest: bytes) -> Standing:
        """Return where the chain stands after one more record, the first one of a chain excepted."""
        segment, unsigned, signed, stopped = self.segment, self.unsigned + 1, self.signed, self.stopped
        match record:
            case wire.Checkpoint():
                unsigned, signed = 0, True
            case wire.Segment():
                segment, unsigned, stopped = record.segment, self.unsigned, False
            case _:
                stopped = isinstance(record, wire.Stop)
        return Standing(self.site, self.chain, segment, self.seq + 1, digest, unsigned, signed, stopped)


def begun(record: wire.Begin) -> tuple[bytes, Standing]:
    """Return the line with which a chain begins, and where the chain stands then."""
    line, digest = wire.seal(record, wire.NOTHING)
    return line, Standing(record.site, record.chain, record.segment, 0, digest)


def gone_on(standing: Standing, at: str) -> tuple[bytes, Standing]:
    """Return the line with which a chain goes on in its next segment, and where the chain stands then."""
    record = wire.Segment(
        seq=standing.seq + 1,
        at=at,
        site=standing.site,
        chain=standing.chain,
        segment=standing.segment + 1,
        previous=standing.digest.hex(),
    )
    line, digest = wire.seal(record, standing.digest)
    return line, standing.after(record, digest)


class Page:
    """Lines that are about to be written, with the checkpoints that are due among them."""

    def __init__(self, standing: Standing, signer: Signer, at: str) -> None:
        """Begin after `standing`; `at` is the time of checkpoints."""
        self.standing = standing
        """Where the chain stands after these lines."""
        self.checkpoint: wire.Position | None = None
        """The last checkpoint among them."""
        self._signer = signer
        self._at = at
        self._lines: list[bytes] = []

    def add(self, record: wire.Record) -> None:
        """Add a record, give it its number, and sign if so many have none after them."""
        self._put(msgspec.structs.replace(record, seq=self.standing.seq + 1))
        if self.standing.unsigned >= MAX_UNSIGNED:
            self.sign()

    def sign(self) -> None:
        """Add a checkpoint."""
        standing, seq = self.standing, self.standing.seq + 1
        text = wire.checkpoint_text(standing.site, standing.chain, seq, self._at, standing.digest)
        signature, signer = self._signer.sign(text), self._signer
        self._put(
            wire.Checkpoint(
                seq=seq,
                at=self._at,
                algorithm=signer.algorithm,
                certificates=signer.certificates,
                signature=signature,
            )
        )
        self.checkpoint = self.standing.position

    def _put(self, record: wire.Record) -> None:
        line, digest = wire.seal(record, self.standing.digest)
        self._lines.append(line)
        self.standing = self.standing.after(record, digest)

    @property
    def content(self) -> bytes:
        """The lines."""
        return b"".join(self._lines)
