"""A site's data folder: what lies in it, its making, its opening.

::

    <data>/                 mode 0700
        ledger.sqlite       the store (and, while it is open, its -wal and -shm)
        ledger.sqlite.lock  held while a process has the store open
        data-key.json       the data key, sealed by the key ring; the master key is elsewhere
    <data>.anchor           by default: beside the folder, and not to be backed up with it

The data key is drawn here and leaves only sealed. Refused here: key rings, which the caller chooses, and starting the
store.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import secrets
import shutil
import stat
from pathlib import Path

from qss.app.catalogue import make_store, store_at
from qss.barrier import Barrier
from qss.crypto.sealing import DATA_KEY_BYTES
from qss.model.errors import StoreError, StoreUnavailable
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from qss.pki.durable import create_file, sync_folder
from qss.ports.keyring import KeyRing
from qss.ports.store import SealedStore

LEDGER = "ledger.sqlite"
"""The store's file in the folder."""

DATA_KEY = "data-key.json"
"""The sealed data key's file in the folder."""

_FORMAT = 1
_MAX_DATA_KEY_FILE_BYTES = 65536
_CONTEXT = b"qss data key v1\0"


async def initialise(folder: Path, site: QksId, keyring: KeyRing) -> None:
    """Make the data folder of `site` with an empty store and a fresh data key sealed by `keyring`; all or nothing.

    An empty folder in its place is replaced. Raises `StoreError` if something else is there or the parent folder is
    not, `StoreUnavailable` if the disk refuses, `KeyRingError` if the data key cannot be sealed.
    """
    folder = await asyncio.to_thread(_vacant, folder)
    wrapped = await keyring.wrap(KeyMaterial(os.urandom(DATA_KEY_BYTES)), _context(site))
    await asyncio.to_thread(_build, folder, site, wrapped.decode("ascii"))


async def open_store(folder: Path, site: QksId, keyring: KeyRing) -> SealedStore:
    """Return the store of `site`, unsealed and not yet started: nothing is opened or locked.

    Raises `StoreError` if the folder is none, damaged, or another site's; `KeyRingError` if `keyring` does not open it.
    """
    wrapped = await asyncio.to_thread(_read_data_key_file, folder, site)
    data_key = await keyring.unwrap(wrapped, _context(site))
    if not (folder / LEDGER).is_file():
        raise StoreError(f"there is no store at {folder / LEDGER}; restore it from a back-up, or name the right folder")
    return Barrier(store_at(folder / LEDGER, site), data_key, site)


def openness(folder: Path) -> str | None:
    """Return what an operator should know of a data folder that others than its owner can enter, else None."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return f"others than its owner can enter the data folder {folder} (mode {mode:04o}): `chmod 700 {folder}`"


def _context(site: QksId) -> bytes:
    return _CONTEXT + site.encode()


# --- making -------------------------------------------------------------------------------------------------------


def _vacant(folder: Path) -> Path:
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


def _build(folder: Path, site: QksId, wrapped: str) -> None:
    """Build beside the place and rename, so that a crash leaves a folder of another name or a whole one."""
    making = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.making")
    try:
        making.mkdir(mode=0o700)
        make_store(making / LEDGER, site)
        _write_data_key_file(making / DATA_KEY, site, wrapped)  # which syncs the folder, and so the store's name too
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


def _write_data_key_file(path: Path, site: QksId, wrapped: str) -> None:
    text = json.dumps({"format": _FORMAT, "site": site, "sealed_data_key": wrapped}, indent=2) + "\n"
    create_file(path, text.encode("ascii"), 0o600)


# --- opening ------------------------------------------------------------------------------------------------------


def _read_data_key_file(folder: Path, site: QksId) -> bytes:
    path = folder / DATA_KEY
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_DATA_KEY_FILE_BYTES)
    except FileNotFoundError as error:
        raise StoreError(
            f"{folder} is no data folder: it has no {DATA_KEY}; make one with `qss init {folder} --site {site}`, "
            "or restore the file from a back-up"
        ) from error
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be read ({error.strerror}); check its owner") from error
    try:
        content = json.loads(text)
        form, owner, wrapped = content["format"], content["site"], content["sealed_data_key"].encode("ascii")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged; restore it from a back-up") from error
    if form != _FORMAT:
        raise StoreError(f"{path} has format {form!r}, this release reads {_FORMAT}; run the release that made it")
    if owner != site:
        raise StoreError(f"{folder} belongs to site {owner}, not {site}; name that site's own data folder")
    assert isinstance(wrapped, bytes)
    return wrapped
