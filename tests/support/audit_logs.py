"""Audit logs of a made-up site, written page by page without a thread, under clocks that tests set."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from qss.app.audit.anchor import AuditAnchor
from qss.app.audit.findings import Findings
from qss.app.audit.scribe import Scribe
from qss.app.audit.segments import AUDIT, segment_file, segments_in
from qss.app.audit.verification import verify
from qss.model.identifiers import QksId
from qss.pki.statements import Signer
from qss.wire import audit as wire
from support.pki import Pki

A = QksId("A")


@dataclass
class AuditedSite:
    """A site whose audit log is written. `clock` are the two clocks, in seconds; the second one from 1970."""

    folder: Path
    pki: Pki
    keep_bytes: int = 1 << 30
    clock: list[float] = field(default_factory=lambda: [1000.0, 0.0])
    name: QksId = A
    scribe: Scribe | None = None
    has_run: bool = False
    """Its store says that it ran before."""

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "A.data"

    @property
    def log(self) -> Path:
        """Where the segments are."""
        return self.data / AUDIT

    @property
    def anchor(self) -> Path:
        """What remembers how far its log has come."""
        return self.folder / "A.data.anchor.audit"

    def start(self) -> Scribe:
        """Begin to write, as a start of the site does; what wrote before is forgotten, as by kill -9."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.die()
        pair = self.pki.site(self.name)
        signer = Signer(pair.certificate, pair.key)
        anchor = AuditAnchor(self.anchor, has_run=self.has_run)
        self.scribe = Scribe(
            self.data, self.name, signer, self.keep_bytes, lambda: (self.clock[0], self.clock[1]), anchor
        )
        return self.scribe

    def die(self) -> None:
        """End without a word."""
        if self.scribe is not None:
            self.scribe.close()  # as the operating system does
            self.scribe = None

    def write(self, *events: str) -> None:
        """Write events on one page."""
        scribe = self.scribe or self.start()
        scribe.write([self.event(each) for each in events])

    def event(self, name: str, **fields: object) -> wire.Event:
        """An event of now."""
        at = wire.time_text(self.clock[1])
        return wire.Event(at=at, event=name, level="info", fields=msgspec.Raw(msgspec.json.encode(fields)))

    def stop(self) -> None:
        """Stop as a site does."""
        scribe = self.scribe or self.start()
        scribe.write([], stopping=True)
        self.die()

    def verify(self, *noted: tuple[int, str]) -> Findings:
        """Check the log by the network's authority."""
        return verify(self.data, self.pki.authority, noted)

    def files(self) -> list[Path]:
        """The segments, in their order."""
        return [segment_file(self.log, segment) for segment in segments_in(self.log)]

    def records(self) -> list[wire.Record]:
        """All that is written, but a line that is not whole."""
        lines = [line for path in self.files() for line in path.read_bytes().splitlines(keepends=True)]
        return [wire.decode(wire.split(line)[0]) for line in lines if line.endswith(b"\n")]

    def events(self) -> list[str]:
        """The names of all events that are written."""
        return [record.event for record in self.records() if isinstance(record, wire.Event)]

    def kinds(self) -> list[str]:
        """The kinds of all records."""
        return [str(record.__struct_config__.tag) for record in self.records()]


def made_site(folder: Path) -> AuditedSite:
    """Make a site in a folder, with a certificate that is good now."""
    pki = Pki(folder / "pki")
    pki.site(A)
    return AuditedSite(folder, pki, clock=[1000.0, time.time()])
