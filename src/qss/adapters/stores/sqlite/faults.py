"""What SQLite's errors mean to an operator. Every text names the file and the remedy; none carries a value of a row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from qss.model.errors import QssError, StoreDamaged, StoreError, StoreUnavailable

_ALMOST_NOTHING_BYTES = 1 << 20
"""SQLite asks for its shared memory before it writes, and calls a disk that has no room for that a failing one."""


@contextmanager
def as_store_errors(path: Path) -> Iterator[None]:
    """Raise what SQLite says about the store at `path` as a type of the error tree."""
    try:
        yield
    except apsw.Error as error:
        raise store_error(error, path) from error


@contextmanager
def as_making_errors(path: Path) -> Iterator[None]:
    """Raise what SQLite says about the new file at `path`, which nobody uses yet, as a type of the error tree."""
    try:
        yield
    except (apsw.FullError, apsw.IOError) as error:
        full = isinstance(error, apsw.FullError) or _is_full(path)
        what = "the disk is full" if full else "the disk refuses"
        raise StoreUnavailable(
            f"{path} cannot be written ({what}); nothing was made. Check the disk and its quota, and try again"
        ) from error
    except apsw.Error as error:
        raise store_error(error, path) from error


def store_error(error: apsw.Error, path: Path) -> QssError:
    """Return the error of the tree that `error` stands for."""
    match error:
        case apsw.FullError():
            return _full(path)
        case apsw.IOError() if _is_full(path):
            return _full(path)
        case apsw.NotADBError():
            return StoreDamaged(f"{path} is no qss store, or its beginning is damaged; {StoreDamaged.REMEDY}")
        case apsw.CorruptError() | apsw.FormatError():
            return StoreDamaged(f"{path} is damaged; {StoreDamaged.REMEDY}")
        case apsw.CantOpenError():
            return StoreError(
                f"{path} cannot be opened; check the owner and the mode (0600) of it and of the files beside it "
                "whose names begin with its own, and that the folder is mounted"
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return StoreUnavailable(
                f"{path} cannot be written; check the owner and the mode (0600) of it and of the files beside it "
                "whose names begin with its own, and that the file system is not mounted read-only"
            )
        case apsw.BusyError() | apsw.LockedError():
            return StoreUnavailable(f"another program holds the write lock of {path}; end that program")
        case apsw.IOError():
            return StoreUnavailable(
                f"reading or writing {path} failed; check the disk, its quota and the system log. "
                "Once it works again a node that runs goes on by itself, and one that ended can be started"
            )
        case apsw.NoMemError():
            return StoreUnavailable(f"no memory is left to work on {path}; give this process more")
        case _:
            return StoreError(f"{path} refused an operation ({type(error).__name__}); this is a defect in qss")


def _full(path: Path) -> StoreUnavailable:
    return StoreUnavailable(
        f"the disk of {path} is full; nothing was written. Make room: then a node that runs goes on by itself, "
        "and one that ended can be started"
    )


def _is_full(path: Path) -> bool:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _ALMOST_NOTHING_BYTES
