"""A site's data folder: what lies in it, its making, its opening.

::

    <data>/                 mode 0700
        ledger.sqlite       the store (and, while it is open, its -wal and -shm)
        ledger.sqlite.lock  held while a process has the store open
        data-key.json       the data key, sealed by the key ring; the master key is elsewhere
        saes.json           the SAEs that were registered while the site ran; not there before the first one
        audit/              the audit log, and audit.lock while a site runs; not there before the first start
        routing.generation  the last generation of the site's LSAs; not there where routing is another process's
    <data>.anchor           by default: beside the folder, and not to be backed up with it

The data key is drawn here and leaves only sealed. Refused here: key rings, which the caller chooses, and starting the
store.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from qss.app.catalogue import check_store, make_store, store_at
from qss.app.data_key_file import SealedDataKey, read_data_key, write_data_key
from qss.app.new_folder import being_made, vacant
from qss.barrier import Barrier
from qss.crypto.sealing import DATA_KEY_BYTES
from qss.model.errors import StoreError
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from qss.ports.keyring import KeyRing
from qss.ports.store import SealedStore

LEDGER = "ledger.sqlite"
"""The store's file in the folder."""

_CONTEXT = b"qss data key v1\0"


async def initialise(folder: Path, site: QksId, keyring: KeyRing) -> None:
    """Make the data folder of `site` with an empty store and a fresh data key sealed by `keyring`; all or nothing.

    An empty folder in its place is replaced. Raises `StoreError` if something else is there or the parent folder is
    not, `StoreUnavailable` if the disk refuses, `KeyRingError` if the data key cannot be sealed. Who cancels it waits
    until the folder is made: a thread cannot be stopped, and would go on making what its caller is clearing away.
    """
    folder = await asyncio.to_thread(vacant, folder)
    wrapped = await keyring.wrap(KeyMaterial(os.urandom(DATA_KEY_BYTES)), _context(site))
    building = asyncio.ensure_future(asyncio.to_thread(_build, folder, site, wrapped))
    try:
        await asyncio.shield(building)
    except asyncio.CancelledError:
        await asyncio.wait({building})
        raise


async def open_store(folder: Path, site: QksId, keyring: KeyRing) -> SealedStore:
    """Return the store of `site`, unsealed and not yet started: nothing is changed or locked.

    Raises `StoreError` if the folder is none, damaged, another site's or of another release; `KeyRingError` if
    `keyring` does not open it.
    """
    found = await asyncio.to_thread(read_data_key, folder)
    if found.site != site:
        raise StoreError(f"{folder} belongs to site {found.site}, not {site}; name that site's own data folder")
    data_key = await keyring.unwrap(found.wrapped, _context(site))
    if not (folder / LEDGER).is_file():
        raise StoreError(f"there is no store at {folder / LEDGER}; restore it from a back-up, or name the right folder")
    await asyncio.to_thread(check_store, folder / LEDGER, site)
    return Barrier(store_at(folder / LEDGER, site), data_key, site)


def openness(folder: Path) -> str | None:
    """Return what an operator should know of a data folder that others than its owner can enter, else None."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return f"others than its owner can enter the data folder {folder} (mode {mode:04o}): `chmod 700 {folder}`"


def _context(site: QksId) -> bytes:
    return _CONTEXT + site.encode()


def _build(folder: Path, site: QksId, wrapped: bytes) -> None:
    with being_made(folder) as making:
        make_store(making / LEDGER, site)
        write_data_key(making, SealedDataKey(site, wrapped))
