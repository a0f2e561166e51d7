"""The ledger out of a store into a back-up, and out of a back-up into a store of its own. No key goes with it.

A back-up is a file with the tables of a store, but those of sealed key and of answers made of it stay empty: their rows
are never read. It has an application ID of its own, so that no site can be started on it, and no log beside it, so that
it can be read from a medium that cannot be written. A store of it begins with all its links marked: they burn at both
ends before any use.

Refused here: folders, and the data key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from qss.adapters.stores.sqlite import ledger
from qss.adapters.stores.sqlite.faults import as_making_errors, as_store_errors
from qss.adapters.stores.sqlite.schema import (
    APPLICATION_ID,
    BACKUP_APPLICATION_ID,
    LEFT_BEHIND,
    check_layout,
    check_release,
    connect,
    new_file,
)
from qss.model.errors import StoreDamaged, StoreError
from qss.model.identifiers import QksId
from qss.model.records import PeerRecord
from qss.ports.store import Contents, PutPeer

_ROWS_AT_ONCE = 1024

_COLUMNS = """
SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY columns.cid
"""


def back_up_ledger(store: Path, site: QksId, copy: Path) -> int:
    """Write the ledger of `site` as it is at one moment, without key, to the new file `copy`; return its commit number.

    The store may be in use: whoever uses it can commit meanwhile. Raises `StoreError` if it is none of this release
    and site, or damaged; `StoreUnavailable` if a disk refuses. What was written of `copy` is the caller's to remove.
    """
    with _reading(store, connect) as source:
        check_release(source, store)
        with as_making_errors(copy), new_file(copy, BACKUP_APPLICATION_ID, "DELETE") as target:
            _copy_rows(source, store, target)
            return _contents(target, store, site).commit_number


def restore_ledger(copy: Path, site: QksId, store: Path) -> tuple[QksId, ...]:
    """Make the new file `store` of a back-up of `site`, all its links marked to be burned; return the neighbours.

    Raises `StoreError` if `copy` is no back-up of this release and site, or damaged; `StoreUnavailable` if a disk
    refuses. What was written of `store` is the caller's to remove.
    """
    with _reading(copy, _connect_to_copy) as source:
        if source.execute("PRAGMA application_id").get != BACKUP_APPLICATION_ID:
            raise StoreError(f"{copy} was not made by `qss backup`; name a back-up")
        check_layout(source, copy)
        with as_making_errors(store), new_file(store, APPLICATION_ID, "WAL") as target:
            _copy_rows(source, copy, target)
            return _mark_restored(target, _contents(target, copy, site))


def _mark_restored(connection: apsw.Connection, contents: Contents) -> tuple[QksId, ...]:
    """Note that every link must burn before use (KRP 2.2), as one commit of an incarnation of its own.

    So a restored store is never a new one (a site would not miss the anchor of that), nor the store that it was.
    """
    known = {record.peer: record for record in contents.peers}
    links = {*known, *(record.peer for record in contents.streams), *(record.peer for record in contents.reservations)}
    neighbours = tuple(sorted(links))
    ledger.apply(
        connection, [PutPeer(replace(known.get(peer, PeerRecord(peer)), must_burn=True)) for peer in neighbours]
    )
    ledger.raise_incarnation(connection)
    ledger.raise_commit_number(connection)
    return neighbours


# --- reading ------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(path: Path, opened: Callable[[Path], apsw.Connection]) -> Iterator[apsw.Connection]:
    """Yield a connection that sees the file as it is at one moment, and changes nothing."""
    with as_store_errors(path):
        connection = opened(path)
        try:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()


def _connect_to_copy(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def _copy_rows(source: apsw.Connection, path: Path, target: apsw.Connection) -> None:
    with as_store_errors(path):
        columns = _columns(source)
    if columns != _columns(target):
        raise StoreError(f"{path} has other tables than this release makes: another program changed it")
    for table in columns.keys() - LEFT_BEHIND:
        insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns[table]))})"  # noqa: S608 - a name of ours
        for some in _rows(source, path, table):
            try:
                target.executemany(insert, some)
            except apsw.ConstraintError as error:
                raise _damaged(path) from error


def _columns(connection: apsw.Connection) -> dict[str, list[str]]:
    """Return the names of all columns, in order, by their tables."""
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(_COLUMNS):
        found.setdefault(str(table), []).append(str(column))
    return found


def _rows(source: apsw.Connection, path: Path, table: str) -> Iterator[list[tuple[Any, ...]]]:
    with as_store_errors(path):
        if source.execute(f"PRAGMA quick_check({table})").get != "ok":
            raise _damaged(path)
        cursor = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name of ours
    while True:
        with as_store_errors(path):
            some = list(islice(cursor, _ROWS_AT_ONCE))
        if not some:
            return
        yield some


def _contents(copied: apsw.Connection, path: Path, site: QksId) -> Contents:
    """Return what was copied from `path`. Raises `StoreError` if it makes no sense, or is another site's."""
    owner = copied.execute("SELECT site FROM meta").get
    try:
        contents = ledger.contents(copied, path)
    except StoreDamaged as error:
        raise _damaged(path) from error
    if owner != site:
        raise StoreError(f"{path} belongs to site {owner}, and the data key beside it to site {site}")
    return contents


def _damaged(path: Path) -> StoreError:
    return StoreError(f"{path} is damaged, and nothing was made of it; use an earlier back-up")
