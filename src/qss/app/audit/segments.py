"""The files of an audit log: numbered segments in the folder `audit` of the data folder, one record a line.

Held here: their names, their reading line by line, and where the last record stands. Refused: writing (`scribe`), and
what a record may be (`following`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

from qss.app.audit.following import Follower
from qss.model.errors import AuditLogDamaged, BadRequest, StoreUnavailable
from qss.wire import audit as wire

AUDIT = "audit"
"""The folder in the data folder; `audit.lock` beside it is held by the process that writes there."""

_NAME = re.compile(r"(\d{6,15})\.jsonl")
_PIECE_BYTES = 1 << 16
_WHOLE = re.compile(rb'.*?,"hash":"[0-9a-f]{64}"\}', re.DOTALL)


def segment_file(folder: Path, segment: int) -> Path:
    """Return the file of a segment, counted from 1."""
    return folder / f"{segment:06}.jsonl"


def segments_in(folder: Path) -> list[int]:
    """Return which segments are there, in their order; none if there is no folder. Raises `OSError`."""
    try:
        found = [_NAME.fullmatch(path.name) for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for match in found if match is not None)


def log_in(folder: Path) -> Path:
    """Return where the segments are of a data folder, or of a copy of its `audit`. Raises `AuditLogDamaged` if none."""
    for place in (folder / AUDIT, folder):
        try:
            if segments_in(place):
                return place
        except NotADirectoryError:
            continue
        except OSError as error:
            raise unreadable(place, error) from error
    raise AuditLogDamaged(
        f"there is no audit log in {folder}: name the data folder of a site that has run, or a copy of its {AUDIT!r}"
    )


def follow(path: Path, follower: Follower, each: Callable[[wire.Record], None] = lambda _: None) -> int:
    """Have all whole lines of a segment taken, and `each` of their records; return the bytes of a torn last line.

    Raises `AuditLogDamaged` with file, line and remedy at the first line that is not taken, `OSError`.
    """
    with path.open("rb") as file:
        for number, line in enumerate(lines_of(file), 1):
            try:
                if not line.endswith(b"\n"):
                    return _torn(file, line, follower)
                record = follower.take(line)
            except AuditLogDamaged as error:
                raise AuditLogDamaged(
                    f"{path}, line {number}: {error}; compare from there on with a copy of the log, and find out who "
                    "could write to these files"
                ) from error
            each(record)
    return 0


def lines_of(file: BufferedReader) -> Iterator[bytes]:
    """Yield lines, each with its newline, but a last one without, or the beginning of one that is too long.

    The file may grow meanwhile: a line that is being written is read on while more of it comes.
    """
    line = b""
    while piece := file.readline(wire.MAX_LINE_BYTES + 1 - len(line)):
        line += piece
        if line.endswith(b"\n"):
            yield line
            line = b""
        elif len(line) > wire.MAX_LINE_BYTES:
            break
    if line:
        yield line


def records_in(folder: Path) -> Iterator[tuple[str, bytes, wire.Record | None]]:
    """Yield the records of the log in a data folder, or in a copy of its `audit`: file and line, the line, the record.

    Nothing is checked: a line that is no record comes with None, one that is not finished not at all. Raises
    `AuditLogDamaged` if there is no log, `StoreUnavailable` if a file cannot be read.
    """
    place = log_in(folder)
    for path in (segment_file(place, segment) for segment in segments_in(place)):
        try:
            with path.open("rb") as file:
                for number, line in enumerate(lines_of(file), 1):
                    if line.endswith(b"\n") or len(line) > wire.MAX_LINE_BYTES:
                        yield f"{path}, line {number}", line, _record(line)
        except FileNotFoundError:  # the site has removed it meanwhile, to make room
            continue
        except OSError as error:
            raise unreadable(path, error) from error


def _record(line: bytes) -> wire.Record | None:
    try:
        return wire.decode(wire.split(line)[0])
    except BadRequest:
        return None


def _torn(file: BufferedReader, line: bytes, follower: Follower) -> int:
    """Return the length of a line without newline if a crash can have left it so."""
    size = len(line)
    while len(line) > wire.MAX_LINE_BYTES and (piece := file.read(_PIECE_BYTES)):
        if b"\n" in piece:
            raise AuditLogDamaged(f"it is longer than {wire.MAX_LINE_BYTES} bytes")
        size += len(piece)
    whole = _WHOLE.match(line)
    if whole is not None and len(whole[0]) < size and follower.would_take(whole[0] + b"\n"):
        raise AuditLogDamaged("it is whole, and something else than a newline comes after it")
    return size


def last_position(data: Path) -> wire.Position | None:
    """Return the last whole record of a data folder's log, as its line tells it; None if none can be read.

    Nothing is checked, and the site may run meanwhile.
    """
    folder = data / AUDIT
    try:
        for segment in reversed(segments_in(folder)):
            found = _last_of(segment_file(folder, segment))
            if found is not None:
                return found
    except (OSError, BadRequest):
        pass
    return None


def _last_of(path: Path) -> wire.Position | None:
    head = last = None
    with path.open("rb") as file:
        for line in lines_of(file):
            if line.endswith(b"\n"):
                head, last = head or line, line
    if head is None or last is None:
        return None
    first, (text, digest) = wire.decode(wire.split(head)[0]), wire.split(last)
    if not isinstance(first, wire.Begin | wire.Segment):
        return None
    return wire.Position(first.chain, wire.decode(text).seq, digest.hex())


def unreadable(path: Path, error: OSError) -> StoreUnavailable:
    """Return what to raise for a file or folder of the log that cannot be read."""
    return StoreUnavailable(f"{path} cannot be read ({error.strerror}); check its owner and mode")
