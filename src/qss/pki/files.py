"""Files of certificates and keys: read with a remedy in every error, written once and never over another.

A set of files is written whole or not at all. Private keys have mode 0600 from their first byte, and are read only if
nobody else can.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qss.model.errors import PkiError
from qss.pki.durable import create_file, make_folder

MAX_FILE_BYTES = 1 << 20
"""Largest certificate, key, request or bundle that is read."""

_PUBLIC = 0o644
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be written."""

    path: Path
    content: bytes = field(repr=False)
    mode: int


def public_file(path: Path, content: bytes) -> NewFile:
    """Return a file that everybody may read."""
    return NewFile(path, content, _PUBLIC)


def private_file(path: Path, content: bytes) -> NewFile:
    """Return a file that its owner alone may read."""
    return NewFile(path, content, _PRIVATE)


def refuse_existing(paths: Sequence[Path]) -> None:
    """Raise `PkiError` if there is something at one of `paths`, be it a dangling link."""
    for path in paths:
        if os.path.lexists(path):
            raise PkiError(f"{path} is there already and is not overwritten: move it away, or choose another place")


def write_new(files: Sequence[NewFile]) -> None:
    """Write `files` durably, making their folders. Raises `PkiError`, and then leaves none of them behind."""
    refuse_existing([file.path for file in files])
    written: list[Path] = []
    try:
        for file in files:
            make_folder(file.path.parent)
            create_file(file.path, file.content, file.mode)
            written.append(file.path)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise PkiError(
                f"{error.filename or files[0].path} cannot be written ({error.strerror}); nothing was left behind: "
                "check the folder's permissions and free space"
            ) from error
        raise


def read(path: Path) -> bytes:
    """Return a file's content. Raises `PkiError` if it cannot be read or exceeds `MAX_FILE_BYTES`."""
    return _read(path, lambda _: None)


def read_private(path: Path) -> bytes:
    """As `read`, for a private key. Raises `PkiError` also if others than its owner can use the file.

    The rule is PostgreSQL's: no bits for group and others; but a group may read what root owns, which is how a key
    that an administrator keeps is handed to the user that a node runs as (by systemd's credentials, for one).
    """
    return _read(path, lambda found: _refuse_open(path, found))


def _refuse_open(path: Path, found: os.stat_result) -> None:
    handed_down = found.st_uid == 0 and os.geteuid() != 0
    allowed = stat.S_IRGRP if handed_down else 0
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~allowed:
        remedy = f"chmod 640 {path}" if handed_down else f"chmod 600 {path}"
        raise PkiError(
            f"the private key {path} can be used by others than its owner (mode {stat.S_IMODE(found.st_mode):04o}); "
            f"change that with `{remedy}`, and make a new pair if somebody may have read it"
        )


def _read(path: Path, look: Callable[[os.stat_result], None]) -> bytes:
    try:
        with path.open("rb") as stream:
            look(os.fstat(stream.fileno()))
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PkiError(f"{path} cannot be read ({error.strerror}): check the path and the permissions") from error
    if len(content) > MAX_FILE_BYTES:
        raise PkiError(f"{path} is larger than {MAX_FILE_BYTES} bytes: it is no certificate or key")
    return content
