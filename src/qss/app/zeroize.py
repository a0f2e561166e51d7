"""The destruction of a data folder's data key: without it nobody can open the store again.

First the key goes, whoever has the folder open; then, if nobody has, the sealed key as well, for somebody may have kept
the sealed data key in a back-up. The ledger stays. A node looks for the data key once more when it has the store, so
one that starts meanwhile is either told of here or ends. Works on back-ups too: they hold no sealed key.

Refused here: ending a node, which has the data key in its memory: it looks for itself, and ends.
"""

from __future__ import annotations

import os
from pathlib import Path

from qss.app.backup import MANIFEST
from qss.app.catalogue import erase_sealed_key, lock_store
from qss.app.data_folder import LEDGER
from qss.app.data_key_file import DATA_KEY, ZEROIZED, destroy_data_key, note_zeroized
from qss.model.errors import StoreError, StoreInUse


def check_zeroizable(folder: Path) -> None:
    """Raise `StoreError` if there is nothing to destroy."""
    if not any(os.path.lexists(folder / name) for name in (DATA_KEY, ZEROIZED, LEDGER)):
        raise StoreError(f"{folder} is neither a data folder nor a back-up; nothing was destroyed. Name the right one")


def zeroize(folder: Path) -> None:
    """Destroy the data key on the disk, and note that. Can be repeated.

    Raises `StoreError` if there is none, `StoreUnavailable` if the disk refuses: the text says how far it came.
    """
    check_zeroizable(folder)
    destroy_data_key(folder)
    note_zeroized(folder)


def erase_what_it_sealed(folder: Path) -> None:
    """Erase the sealed key of a folder that was zeroized. Can be repeated.

    Raises `StoreInUse` if a process has the store open, and so the data key in memory; `StoreError` or
    `StoreUnavailable` if the store or its disk refuses.
    """
    if os.path.lexists(folder / MANIFEST) or not os.path.lexists(folder / LEDGER):
        return
    try:
        lock = lock_store(folder / LEDGER)
    except StoreInUse as error:
        raise StoreInUse(
            f"a process has {folder} open, and holds its data key in memory: a node ends for that within seconds; "
            f"see that it does, or end it with `kill -9`, and run `qss zeroize {folder}` again to erase the sealed key"
        ) from error
    try:
        erase_sealed_key(folder / LEDGER)
    finally:
        os.close(lock)
