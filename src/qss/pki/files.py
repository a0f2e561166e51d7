"""Files of certificates and keys: read with a remedy in every error, written once and never over another.

A set of files is written whole or not at all. Private keys have mode 0600 from their first byte.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PkiError(f"{path} cannot be read ({error.strerror}): check the path and the permissions") from error
    if len(content) > MAX_FILE_BYTES:
        raise PkiError(f"{path} is larger than {MAX_FILE_BYTES} bytes: it is no certificate or key")
    return content
