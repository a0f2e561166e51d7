"""Lines of an audit log, mutated and in any order: they are taken or refused, and nothing else comes of them."""

from __future__ import annotations

from functools import cache

import msgspec

from qss.app.audit.chain import Standing, begun, gone_on
from qss.app.audit.following import Follower
from qss.model.errors import AuditLogDamaged
from qss.model.identifiers import QksId
from qss.wire import audit as wire

_AT = "2026-11-23T04:00:02.000123Z"
_KINDS: tuple[wire.Record, ...] = (
    wire.Start(at=_AT, release="0.1.0", clean=True),
    wire.Event(at=_AT, event="keys recalled", level="warning", fields=msgspec.Raw(b'{"by":"site A","key_ids":[]}')),
    wire.Checkpoint(at=_AT, algorithm="ed25519", certificates=(b"certificate",), signature=bytes(64)),
    wire.Lost(at=_AT, records=3),
    wire.Recovered(at=_AT, cut_bytes=17),
    wire.Removed(at=_AT, before=1),
    wire.Stop(at=_AT),
)


@cache
def seeds() -> list[bytes]:
    """Return the lines of a log with all kinds of records, one by one."""
    record = wire.Begin(at=_AT, site=QksId("A"), chain="0" * 32, segment=1, because="first", follows=None)
    line, standing = begun(record)
    lines = [line]
    for kind in _KINDS:
        line, standing = _next(standing, kind)
        lines.append(line)
    return [*lines, gone_on(standing, _AT)[0]]


def _next(standing: Standing, record: wire.Record) -> tuple[bytes, Standing]:
    numbered = msgspec.structs.replace(record, seq=standing.seq + 1)
    line, digest = wire.seal(numbered, standing.digest)
    return line, standing.after(numbered, digest)


def one(data: bytes) -> None:
    """Follow lines; the first byte says how many good ones come before."""
    follower = Follower()
    follower.enter(1)
    good = seeds()[: data[0] % len(seeds())] if data else []
    for line in (*good, *data[1:].splitlines(keepends=True)):
        before = follower.standing
        try:
            follower.take(line)
        except AuditLogDamaged:
            assert follower.standing == before  # what was refused has changed nothing
