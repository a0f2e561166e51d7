"""A master key in a systemd credential: 32 random bytes that the service manager hands to this service alone.

The unit file says ``LoadCredentialEncrypted=<name>:<file>``; systemd.exec(5) has the rest.
"""

from __future__ import annotations

import os
from pathlib import Path

from qss.adapters.keyrings.master_key import MasterKeyRing
from qss.adapters.keyrings.secret_file import read_guarded
from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial

DIRECTORY_VARIABLE = "CREDENTIALS_DIRECTORY"
"""The environment variable in which systemd names the folder of this service's credentials."""


def systemd_ring(name: str) -> MasterKeyRing:
    """Return the key ring of the master key in credential `name`. Raises `KeyRingError` if that is no name."""
    if not name or "/" in name or name in {".", ".."}:
        raise KeyRingError(f"{name!r} is no name of a systemd credential; give the name that the unit file gives")
    return MasterKeyRing("systemd", f"the systemd credential {name}", lambda: _load(name))


def _load(name: str) -> KeyMaterial:
    folder = os.environ.get(DIRECTORY_VARIABLE)
    if not folder:
        raise KeyRingError(
            f"{DIRECTORY_VARIABLE} is not set: this process was not started by systemd with credentials; "
            f"add `LoadCredentialEncrypted={name}:…` to the unit, or try it under `systemd-run`"
        )
    return read_guarded(Path(folder) / name, "the systemd credential")
