"""The sealed data key's file in a data folder, and in a back-up: its form, its destruction, and whether it is there.

Refused here: opening it, which takes a key ring.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import NamedTuple

from qss.app.catalogue import check_sealed_data_key
from qss.model.errors import InvalidIdentifier, KeyRingError, StoreError, StoreUnavailable
from qss.model.identifiers import QksId, parse_qks_id
from qss.pki.durable import create_file, sync_folder

DATA_KEY = "data-key.json"
"""The sealed data key's file in the folder."""

ZEROIZED = "ZEROIZED"
"""A file that stands in the folder if the data key was destroyed on purpose."""

_FORMAT = 1
_MAX_BYTES = 65536
_OVERWRITES = 3
_LOOK_S = 1.0
_NOTE = b"The data key of this folder was destroyed with `qss zeroize`. Nobody can open its store again.\n"


class SealedDataKey(NamedTuple):
    """What the file says."""

    site: QksId
    wrapped: bytes
    """The data key, as a key ring has sealed it: ASCII."""


def write_data_key(folder: Path, data_key: SealedDataKey) -> None:
    """Write the file, durably, mode 0600, into a folder that has none. Raises `OSError`."""
    content = {"format": _FORMAT, "site": data_key.site, "sealed_data_key": data_key.wrapped.decode("ascii")}
    create_file(folder / DATA_KEY, (json.dumps(content, indent=2) + "\n").encode("ascii"), 0o600)


def read_data_key(folder: Path) -> SealedDataKey:
    """Read the file of a data folder. Raises `StoreError` if there is none, or it is damaged, or was destroyed."""
    path = folder / DATA_KEY
    try:
        refuse_zeroized(folder)
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{folder} is no data folder: it has no {DATA_KEY}; look first whether it is mounted, and is the right "
            f"folder. Restore that of a site that has run before from a back-up; make that of a new site with "
            f"`qss init {folder} --site ID`"
        ) from error
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be read ({error.strerror}); check its owner and mode (0600), and those of its folder (0700)"
        ) from error
    try:
        content = json.loads(text)
        form, site, wrapped = content["format"], content["site"], content["sealed_data_key"].encode("ascii")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged; restore it from a back-up") from error
    if form != _FORMAT:
        raise StoreError(f"{path} has format {form!r}, this release reads {_FORMAT}; run the release that made it")
    try:
        return SealedDataKey(parse_qks_id(site), wrapped)
    except (InvalidIdentifier, TypeError) as error:
        raise StoreError(f"{path} is damaged; restore it from a back-up") from error


def check_whole(folder: Path, data_key: SealedDataKey) -> None:
    """Raise `StoreError` if the sealed data key was damaged since it was sealed; nobody need open it for that."""
    try:
        check_sealed_data_key(data_key.wrapped)
    except KeyRingError as error:
        raise StoreError(f"{folder / DATA_KEY}: {error}") from error


# --- destruction --------------------------------------------------------------------------------------------------


def refuse_zeroized(folder: Path) -> None:
    """Raise `StoreError` if the folder's data key was destroyed on purpose, `OSError` if nobody can tell."""
    if (folder / ZEROIZED).exists():
        raise StoreError(
            f"the data key of {folder} was destroyed with `qss zeroize`, and nobody can open it again; "
            "move the folder away and make a new one with `qss init`"
        )


async def watch_data_key(folder: Path) -> None:
    """Look for the data key of a node's folder once a second; raise `StoreError` if it was destroyed or removed."""
    missing = False
    while True:
        await asyncio.sleep(_LOOK_S)
        was_missing, missing = missing, await asyncio.to_thread(_is_missing, folder)
        if missing and was_missing:  # `qss zeroize` leaves its note a moment after it has removed the file
            raise StoreError(
                f"{folder / DATA_KEY} was removed while this node ran, and without it nobody can open the store again: "
                "put it back from a back-up, and start again. (If it was to be destroyed, use `qss zeroize`.)"
            )


def _is_missing(folder: Path) -> bool:
    """Return whether there is no data key. Raises `StoreError` if it was destroyed on purpose."""
    if _is_there(folder / ZEROIZED):
        raise StoreError(
            f"the data key of {folder} was destroyed with `qss zeroize` while this node ran, which ends for that; "
            f"run `qss zeroize {folder}` again to erase the sealed key"
        )
    return _is_there(folder / DATA_KEY) is False


def _is_there(path: Path) -> bool | None:
    """Return whether there is such a file, None if nobody can tell."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    return True


def destroy_data_key(folder: Path) -> None:
    """Overwrite the file's bytes where they are, and remove it; no error if there is none.

    Raises `StoreUnavailable` if the disk refuses, and says how far it came.
    """
    path = folder / DATA_KEY
    overwriting = removing = None
    try:
        _overwrite(path)
    except FileNotFoundError:
        pass  # destroyed before
    except OSError as error:
        overwriting = error
    try:
        path.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        removing = error
    if overwriting and removing:
        raise StoreUnavailable(
            f"the data key {path} could NOT be destroyed ({overwriting.strerror}); destroy the master key or the disk"
        )
    if overwriting:
        raise StoreUnavailable(
            f"{path} was removed, but could not be overwritten ({overwriting.strerror}), and may be found on the disk: "
            "destroy the master key or the disk as well"
        )
    if removing:
        raise StoreUnavailable(
            f"the data key is destroyed, but {path}, overwritten, could not be removed ({removing.strerror})"
        )


def note_zeroized(folder: Path) -> None:
    """Leave a note that the data key was destroyed on purpose. Raises `StoreUnavailable` if the disk refuses."""
    try:
        create_file(folder / ZEROIZED, _NOTE, 0o600)
    except FileExistsError:
        pass  # noted before
    except OSError as error:
        raise StoreUnavailable(
            f"the note {folder / ZEROIZED} cannot be written ({error.strerror}); "
            "without it a node says only that the data key is missing"
        ) from error


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        size = os.fstat(descriptor).st_size
        for _ in range(_OVERWRITES):
            os.pwrite(descriptor, os.urandom(size), 0)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
