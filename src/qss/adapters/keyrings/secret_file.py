"""Files that hold a secret: read only if nobody else can read them, never shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial

MAX_SECRET_BYTES = 4096
"""No secret of ours is longer."""


def read_private(path: Path, what: str) -> KeyMaterial:
    """Return a file's bytes. `what` names it in errors, such as "the key file".

    Raises `KeyRingError` if it is absent, too long, or open to others than its owner.
    """
    return _read(path, what, forbidden=stat.S_IRWXG | stat.S_IRWXO)


def read_guarded(path: Path, what: str) -> KeyMaterial:
    """As `read_private`, for a folder that its maker guards: only what everybody can read is refused.

    systemd gives a service access to its credentials by an access control list, which shows as group bits.
    """
    return _read(path, what, forbidden=stat.S_IRWXO)


def _read(path: Path, what: str, forbidden: int) -> KeyMaterial:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & forbidden:
                raise KeyRingError(
                    f"{what} {path} can be read by others than its owner (mode {stat.S_IMODE(mode):04o}); "
                    f"change that with `chmod 600 {path}`, and replace the secret if somebody may have read it"
                )
            secret = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise KeyRingError(f"{what} {path} cannot be read ({error.strerror}); check the path and the owner") from error
    if len(secret) > MAX_SECRET_BYTES:
        raise KeyRingError(f"{what} {path} is longer than {MAX_SECRET_BYTES} bytes; name the right file")
    return KeyMaterial(secret)
