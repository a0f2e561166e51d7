"""A folder that is there whole or not at all: it is built beside its place under another name, and renamed.

Refused here: what goes into it, and overwriting. A crash may leave a folder whose name begins with a dot and ends in
`.making`; it stands in nobody's way.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qss.model.errors import StoreError, StoreUnavailable
from qss.pki.durable import sync_folder


def vacant(folder: Path) -> Path:
    """Return the real path of a folder that is empty or not there. Raises `StoreError` otherwise."""
    try:
        folder = folder.resolve()
        if not folder.parent.is_dir():
            raise StoreError(f"there is no folder {folder.parent}; make it first: `mkdir -p {folder.parent}`")
        if not folder.is_dir():
            if folder.exists():
                raise StoreError(f"{folder} is no folder; choose another place")
        elif any(folder.iterdir()):
            raise StoreError(f"{folder} is not empty and is left as it is; choose another place, or empty it first")
    except OSError as error:
        raise StoreUnavailable(f"{folder} cannot be looked at ({error.strerror}); check its owner") from error
    return folder


@contextmanager
def being_made(folder: Path) -> Iterator[Path]:
    """Yield a folder, mode 0700, to be filled with durable files; it gets the name `folder`, durably, at the end.

    `folder` is vacant. If anything is raised, nothing is left behind. Raises `StoreError` or `StoreUnavailable`, also
    for any `OSError` of the filling.
    """
    making = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.making")
    try:
        making.mkdir(mode=0o700)
        yield making
        sync_folder(making)
        making.rename(folder)
        try:
            sync_folder(folder.parent)
        except OSError:
            folder.rename(making)  # in one piece, to be removed there
            raise
    except OSError as error:
        raise _cannot_make(folder, error) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _cannot_make(folder: Path, error: OSError) -> StoreError | StoreUnavailable:
    if error.errno in {errno.EBUSY, errno.EXDEV}:
        return StoreError(f"{folder} is a mount point; name a folder inside it, such as {folder / 'data'}")
    if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
        return StoreError(f"{folder} was made by another process meanwhile and is left as it is")
    return StoreUnavailable(f"{folder} cannot be made ({error.strerror}); check the disk and the parent folder's owner")
