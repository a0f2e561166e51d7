"""What the audit log costs: a record in processor time, in bulk and at a steady rate, its bytes, and their check.

In bulk all records wait when the log starts, so that pages are full. At a steady rate the same loop runs without a log
first, and what it takes is not the record's.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Line

from qss.app.audit.anchor import SUFFIX, AuditAnchor
from qss.app.audit.log import AuditLog
from qss.app.audit.scribe import Scribe
from qss.app.audit.segments import AUDIT
from qss.app.audit.verification import verify
from qss.model.identifiers import QksId
from qss.pki.folder import PkiFolder
from qss.pki.statements import Signer

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

HERE = QksId("A")

ROUNDS = 20
BULK = 8000
"""Records of a round: as many as the log keeps in memory."""

PER_SECOND = 500
SECONDS = 20.0

KEEP_BYTES = 1 << 30
PIECE_BYTES = 1 << 20

FIELDS: dict[str, object] = {
    "peer": "B",
    "sae": "sae:alice",
    "slaves": ["sae:bob"],
    "keys": ["5b0c3f0e-8d1c-8f3a-9b62-1f4f0c6c0000"],
    "bits": 256,
    "policy": "link",
}
"""What is recorded of each key that a master gets."""


class AuditedSite:
    """A site without anything but certificates, and audit logs in data folders of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        pki = PkiFolder(folder / "pki")
        pki.create("benchmark", days=2)
        pki.issue_site(HERE, ("localhost",), 1)
        pair, self.authority = pki.site(HERE), pki.authority.certificate
        self._signer = Signer(pair.certificate, pair.key)

    def data(self, name: str) -> Path:
        """Return one of its data folders."""
        return self._folder / name

    def log(self, name: str) -> AuditLog:
        """Return the log in a new data folder, not started."""
        data = self.data(name)
        data.mkdir()
        anchor = AuditAnchor(data.with_name(data.name + SUFFIX), has_run=False)
        return AuditLog(Scribe(data, HERE, self._signer, KEEP_BYTES, _clocks, anchor), _clocks, _fail)


async def audit() -> AsyncIterator[Line]:
    """Processor time of a record, bytes per second against bare writes, and the check against SHA-256 alone."""
    with tempfile.TemporaryDirectory(prefix="qss-bench-") as folder:
        site = AuditedSite(Path(folder))
        async for line in _bulk(site):
            yield line
        yield Line("audit_steady_us", await _steady(site), "us/rec")
        for line in _checked(site):
            yield line


async def _bulk(site: AuditedSite) -> AsyncIterator[Line]:
    processor, elapsed, written, bare = 0.0, 0.0, 0, 0.0
    for number in range(ROUNDS):
        log, data = site.log(f"bulk{number}"), site.data(f"bulk{number}")
        with _syncs_counted() as syncs:
            began, began_processor = time.perf_counter(), time.process_time()
            for _ in range(BULK):
                log.keep("keys were given to their master", "info", FIELDS)
            log.start()
            await log.stop()
            processor += time.process_time() - began_processor
            elapsed += time.perf_counter() - began
        if log.lost:
            raise RuntimeError(f"records were lost: {log.lost} of {BULK}; have fewer in a round")
        size = sum(path.stat().st_size for path in data.joinpath(AUDIT).iterdir())
        written += size
        bare += _write_bare(data / "bare", size, len(syncs))
    records = ROUNDS * BULK
    yield Line("audit_bulk_us", 1e6 * processor / records, "us/rec")
    yield Line("audit_bulk_records", records / elapsed, "1/s")
    yield Line("audit_record_bytes", written / records, "B")
    yield Line("audit_written_mb_s", written / elapsed / 1e6, "MB/s")
    yield Line("audit_bare_mb_s", written / bare / 1e6, "MB/s")
    yield Line("audit_written_ratio", bare / elapsed, "x")


async def _steady(site: AuditedSite) -> float:
    """Return the processor time of a record at a steady rate, in microseconds."""
    without = await _at_rate(lambda: None)
    log = site.log("steady")
    log.start()
    with_records = await _at_rate(lambda: log.keep("keys were given to their master", "info", FIELDS))
    await log.stop()
    return 1e6 * (with_records - without) / (PER_SECOND * SECONDS)


async def _at_rate(act: Callable[[], object]) -> float:
    """Act so often a second; return the processor time that the whole process took, in seconds."""
    before, due = time.process_time(), time.perf_counter()
    for _ in range(int(PER_SECOND * SECONDS)):
        act()
        due += 1 / PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    return time.process_time() - before


def _checked(site: AuditedSite) -> Iterator[Line]:
    """Check what `_bulk` has written, in turns with SHA-256 over the same bytes."""
    checking = hashing = 0.0
    size = 0
    for number in range(ROUNDS):
        data = site.data(f"bulk{number}")
        began = time.process_time()
        verify(data, site.authority)
        checked = time.process_time()
        size += _hash_bare(data / AUDIT)
        checking, hashing = checking + checked - began, hashing + time.process_time() - checked
    yield Line("audit_verify_mb_s", size / checking / 1e6, "MB/s")
    yield Line("audit_sha256_mb_s", size / hashing / 1e6, "MB/s")
    yield Line("audit_verify_ratio", hashing / checking, "x")


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _fail(error: BaseException) -> None:
    raise error


@contextmanager
def _syncs_counted() -> Iterator[list[FileDescriptorLike]]:
    """Gather what is synced meanwhile, in this process."""
    synced: list[FileDescriptorLike] = []
    before = os.fsync

    def fsync(fd: FileDescriptorLike) -> None:
        synced.append(fd)
        before(fd)

    os.fsync = fsync
    try:
        yield synced
    finally:
        os.fsync = before


def _write_bare(path: Path, size: int, syncs: int) -> float:
    """Write as many bytes with as many syncs, and nothing else; return the seconds that it took."""
    pieces = [os.urandom(size // syncs)] * (syncs - 1)
    pieces.append(os.urandom(size - sum(map(len, pieces))))
    began = time.perf_counter()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for piece in pieces:
        os.write(descriptor, piece)
        os.fsync(descriptor)
    os.close(descriptor)
    return time.perf_counter() - began


def _hash_bare(folder: Path) -> int:
    """Take SHA-256 over all files of a folder; return how many bytes they have."""
    digest, size = sha256(), 0
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
    return size
