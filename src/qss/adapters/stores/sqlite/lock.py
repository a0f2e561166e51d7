"""The lock beside the store: one process at a time. It goes with the process, so a crash leaves none behind."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from qss.model.errors import StoreError, StoreInUse


def take_lock(store: Path) -> int:
    """Lock the file `<store>.lock` (made if need be) and return its descriptor; closing it lets go.

    Raises `StoreInUse` if another holds it, also within this process.
    """
    path = _lock_of(store)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened ({error.strerror}); check the owner of {path.parent}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreInUse(
            f"another process has the data folder {store.parent} open; "
            "stop it first, or give this site a data folder of its own"
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise StoreError(
            f"{path} cannot be locked ({error.strerror}); put the data folder on a local file system"
        ) from error
    return descriptor


def was_started(store: Path) -> bool:
    """Return whether a process has ever had the store at `store` open: its lock file stays."""
    return _lock_of(store).exists()


def _lock_of(store: Path) -> Path:
    return store.with_name(store.name + ".lock")
