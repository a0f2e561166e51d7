"""The file: its tables, its making, its opening. What a table means is said in `docs/reference/store.md`.

A store is made by `create_store` and by nothing else: a typing error in a path must not give a site an empty ledger.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import apsw

from qss.adapters.stores.sqlite.faults import as_store_errors
from qss.model.errors import StoreDamaged, StoreError, StoreUnavailable
from qss.model.identifiers import QksId

APPLICATION_ID = 0x71737331
"""`qss1`, in the file's header: tells a store of ours from any other SQLite file."""

BACKUP_APPLICATION_ID = 0x71737362
"""`qssb`: a ledger without key in a back-up, which no site can be started on."""

SCHEMA_VERSION = 6
"""Layout of the tables, in the header's `user_version`."""

BUSY_MS = 10_000
"""How long a connection waits for a lock that another program holds on the file."""

LEFT_BEHIND = frozenset({"blocks", "answers"})
"""Tables that back-ups do without: sealed key, and the answers that are made of it. No other table may hold key."""

PAGE_BYTES = 4096
"""A commit of one key changes three or four pages, however large they are."""

_LOOKS = 3
_BETWEEN_LOOKS_S = 0.05

_TABLES = """
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    site TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    commit_number INTEGER NOT NULL
) STRICT;
CREATE TABLE streams (
    stream BLOB PRIMARY KEY,
    peer TEXT NOT NULL,
    chunk_bytes INTEGER NOT NULL,
    version INTEGER NOT NULL,
    head INTEGER NOT NULL,
    mark INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    agreed_end INTEGER,
    reserved_bits INTEGER NOT NULL,
    delivered_bits INTEGER NOT NULL,
    relayed_bits INTEGER NOT NULL,
    burned_bits TEXT NOT NULL,
    opened_at REAL NOT NULL,
    policy TEXT NOT NULL,
    repeaters INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE reservations (
    reservation BLOB NOT NULL,
    stream BLOB NOT NULL,
    peer TEXT NOT NULL,
    side TEXT NOT NULL,
    start INTEGER NOT NULL,
    count INTEGER NOT NULL,
    key_bytes INTEGER NOT NULL,
    master TEXT NOT NULL,
    slaves TEXT NOT NULL,
    expires_at REAL NOT NULL,
    confirmed INTEGER NOT NULL,
    fetched TEXT NOT NULL,
    part TEXT NOT NULL,
    covered INTEGER NOT NULL,
    PRIMARY KEY (peer, reservation)
) STRICT, WITHOUT ROWID;
CREATE TABLE peers (
    peer TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    commit_seen INTEGER NOT NULL,
    commit_proof BLOB NOT NULL,
    base INTEGER NOT NULL,
    exchanged INTEGER NOT NULL,
    must_burn INTEGER NOT NULL,
    recall_made INTEGER NOT NULL,
    recall_seen INTEGER NOT NULL,
    past_reserved_bits INTEGER NOT NULL,
    past_delivered_bits INTEGER NOT NULL,
    past_relayed_bits INTEGER NOT NULL,
    past_burned_bits TEXT NOT NULL,
    past_ingested_bits INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE answers (
    peer TEXT NOT NULL,
    name BLOB NOT NULL,
    request BLOB NOT NULL,
    keys TEXT NOT NULL,
    kept_until REAL NOT NULL,
    PRIMARY KEY (peer, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE recalls (
    peer TEXT NOT NULL,
    number INTEGER NOT NULL,
    key_ids TEXT NOT NULL,
    sae TEXT,
    PRIMARY KEY (peer, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    stream BLOB NOT NULL,
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX blocks_by_place ON blocks (stream, start, length);
"""


def create_store(path: Path, site: QksId) -> None:
    """Make an empty store for `site` at `path`, durably, mode 0600.

    Raises `StoreError` if something is there already, `StoreUnavailable` if the disk refuses.
    """
    with as_store_errors(path), new_file(path, APPLICATION_ID, "WAL") as connection:
        connection.execute("INSERT INTO meta VALUES (1, ?, 0, 0)", (site,))


@contextmanager
def new_file(path: Path, application_id: int, journal_mode: str) -> Iterator[apsw.Connection]:
    """Make a file of mode 0600 with empty tables; what the caller puts into them becomes durable with it.

    Raises `StoreError` if something is there already, `apsw.Error` if the disk refuses; an empty file may be left then.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise StoreError(f"{path} exists already; choose another place, or remove it if it is not needed") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be made ({error.strerror}); check the folder and its owner") from error
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_TABLES)
        yield connection
        connection.execute(f"PRAGMA application_id={application_id}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
    finally:
        connection.close()


def connect(path: Path) -> apsw.Connection:
    """Open the existing file at `path` for one thread's use, set up for durable commits and real erasure."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.wal_autocheckpoint(0)  # checkpoints run off the commit path
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-16384")
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: apsw.Connection, path: Path, site: QksId) -> None:
    """Raise `StoreError` unless the file is a whole store of this release and of `site`."""
    check_release(connection, path)
    if _pragma(connection, "quick_check(1)") != "ok":
        raise StoreDamaged(f"{path} is damaged; {StoreDamaged.REMEDY}")
    if _pragma(connection, "journal_mode") != "wal":
        raise StoreError(f"{path} is not in WAL mode: another program changed it; set `PRAGMA journal_mode=WAL`")
    _check_owner(connection, path, site)


def check_unopened(path: Path, site: QksId) -> None:
    """Raise `StoreError` unless the file at `path` is a store of this release and of `site`.

    The store may be in use: no lock is taken, nothing is written, and no file comes to lie beside it. What is looked at
    was written when the store was made and stays, so the log is left out. Where the file alone makes no sense, because
    a checkpoint was cut off, nothing is said: a start has the log. Nor are pages checked: that reads all key, and a
    start does it (`check`). A checkpoint of whoever uses the store may change pages while they are read, so what looks
    wrong is looked at again.
    """
    for _ in range(_LOOKS - 1):
        try:
            _look_at_unopened(path, site)
        except (StoreError, StoreUnavailable):
            time.sleep(_BETWEEN_LOOKS_S)
        else:
            return
    _look_at_unopened(path, site)


def _look_at_unopened(path: Path, site: QksId) -> None:
    with as_store_errors(path):
        connection = apsw.Connection(  # the path follows an authority that is empty: its own beginning may be `//`
            f"file://{quote(str(path.absolute()))}?immutable=1",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        )
        try:
            check_release(connection, path)
            _check_owner(connection, path, site)
        except apsw.CorruptError:
            if not _has_log(path):
                raise
        finally:
            connection.close()


def _has_log(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _check_owner(connection: apsw.Connection, path: Path, site: QksId) -> None:
    owner = connection.execute("SELECT site FROM meta").get
    if owner != site:
        raise StoreError(f"{path} belongs to site {owner}, not {site}; name that site's own data folder")


def check_release(connection: apsw.Connection, path: Path) -> None:
    """Raise `StoreError` unless the file is a store, of this release."""
    application_id = _pragma(connection, "application_id")
    if application_id == BACKUP_APPLICATION_ID:
        raise StoreError(
            f"{path} is a back-up, and no store; make a data folder of it with `qss restore {path.parent} DIR`"
        )
    if application_id != APPLICATION_ID:
        if path.stat().st_size == 0:
            raise StoreDamaged(f"{path} is empty: what was in it is lost; {StoreDamaged.REMEDY}")
        raise StoreError(
            f"{path} is no qss store; name the right data folder, restore it from a back-up with `qss restore`, or "
            "make one with `qss init`"
        )
    check_layout(connection, path)


def check_layout(connection: apsw.Connection, path: Path) -> None:
    """Raise `StoreError` unless the file's tables are those of this release."""
    version = _pragma(connection, "user_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has layout {version}, this release reads layout {SCHEMA_VERSION}; run the release that made it"
        )


def _pragma(connection: apsw.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").get
