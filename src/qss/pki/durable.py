"""Files that are still there, and whole, after a power cut: their content is synced, and the folder that names them.

Held here: the making and the replacing of a small file, for certificates, keys and whatever else a site keeps beside
its store. Refused: words. These functions raise `OSError`, and the caller says what it means.
"""

from __future__ import annotations

import os
from pathlib import Path


def create_file(path: Path, content: bytes, mode: int) -> None:
    """Write a new file, with `mode` from its first byte. Raises `FileExistsError` if there is something at `path`.

    Raises `OSError` if it cannot be written; nothing is left behind then.
    """
    # O_EXCL decides between two processes that do so at the same time.
    _write(path, content, mode, os.O_EXCL)
    try:
        sync_folder(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file, or put another content in its place, in one piece: at any time there is the old one or the new.

    Not for two writers of one file at a time. Raises `OSError` if it cannot be written; the old content stays then.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)  # one that a crash left, or that somebody else put there
    _write(new, content, mode, os.O_EXCL | os.O_NOFOLLOW)
    try:
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there. Raises `OSError`."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make durable what a folder's entries are called. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes, mode: int, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
