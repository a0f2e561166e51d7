"""A master key in a file of 32 random bytes, mode 0600. Keep it on another medium than the data folder."""

from __future__ import annotations

import os
from pathlib import Path

from qss.adapters.keyrings.master_key import MASTER_KEY_BYTES, MasterKeyRing
from qss.adapters.keyrings.secret_file import read_private
from qss.model.errors import KeyRingError
from qss.pki.durable import create_file


def key_file_ring(path: Path) -> MasterKeyRing:
    """Return the key ring of the master key in `path`."""
    return MasterKeyRing("key-file", f"the key file {path}", lambda: read_private(path, "the key file"))


def make_key_file(path: Path) -> None:
    """Make a key file with fresh random bytes, durably. Raises `KeyRingError` if there is a file already."""
    try:
        create_file(path, os.urandom(MASTER_KEY_BYTES), 0o600)
    except FileExistsError as error:
        raise KeyRingError(
            f"{path} exists already and is not overwritten; use it as it is, or choose another path"
        ) from error
    except OSError as error:
        raise KeyRingError(f"{path} cannot be made ({error.strerror}); check the folder and its owner") from error
