"""`SqliteStore`: the store port on one file, its threads started and ended together.

Refused here: creating the file (`create_store` does), knowing what a record means, and reading on the event loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import apsw

from qss.adapters.stores.sqlite import ledger
from qss.adapters.stores.sqlite.checkpointer import ERASURE_DELAY_S, LARGE_LOG_BYTES, Checkpointer
from qss.adapters.stores.sqlite.faults import as_store_errors
from qss.adapters.stores.sqlite.lock import take_lock
from qss.adapters.stores.sqlite.place import Place
from qss.adapters.stores.sqlite.room import LogRoom
from qss.adapters.stores.sqlite.schema import check, connect
from qss.adapters.stores.sqlite.writer import Writer
from qss.model.errors import LimitReached, StoreError, StoreUnavailable
from qss.model.identifiers import QksId, StreamId
from qss.model.ranges import Range
from qss.ports.store import Change, Contents, SealedBlock

MAX_WAITING_READS = 1 << 17
"""Reads that may wait for the reader's thread: more than there can be connections. A refused read is lost key."""


class SqliteStore:
    """The store of `site` in the existing file `path`. Implements `qss.ports.store.Store`.

    `start` may be called again, and after `close`: each begins a new incarnation. Erased bytes are gone from the
    log within twice `erasure_delay_s`, and what it takes to copy it twice.
    """

    def __init__(self, path: Path, site: QksId, *, erasure_delay_s: float = ERASURE_DELAY_S) -> None:
        self._path = path
        self._site = site
        self._erasure_delay_s = erasure_delay_s
        self._turn = asyncio.Lock()
        self._session: _Session | None = None

    async def start(self) -> Contents:
        """As `Store.start`. Raises `StoreError` if there is no store of this site and release, or it is damaged."""
        async with self._turn:
            await self._end_session()
            opened = await asyncio.to_thread(_open, self._path, self._site)
            self._session = _Session(self._path, opened, self._erasure_delay_s)
            return opened.contents

    async def commit(self, batch: Sequence[Change], fence: int) -> int:
        """As `Store.commit`. Raises `LimitReached` if too much waits for the disk already."""
        return await self._started().writer.submit(batch, fence)

    async def contents(self) -> Contents:
        """As `Store.contents`."""
        return await self._started().read(lambda connection: _contents_of_one_moment(connection, self._path))

    async def blocks(self, stream: StreamId, part: Range) -> tuple[SealedBlock, ...]:
        """As `Store.blocks`."""
        return await self._started().read(lambda connection: ledger.blocks(connection, stream, part))

    async def places(self, stream: StreamId, part: Range) -> tuple[Range, ...]:
        """As `Store.places`."""
        return await self._started().read(lambda connection: ledger.places(connection, stream, part))

    async def check_in_place(self) -> None:
        """As `Store.check_in_place`."""
        await asyncio.to_thread(self._started().place.check)

    async def close(self) -> None:
        """As `Store.close`."""
        async with self._turn:
            await self._end_session()

    async def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await asyncio.to_thread(session.close)

    def _started(self) -> _Session:
        if self._session is None:
            raise StoreError(f"{self._path} is not open: start the store first")
        return self._session


class _Opened(NamedTuple):
    """A store's file, opened."""

    lock: int
    connections: tuple[apsw.Connection, ...]
    place: Place
    room: LogRoom
    contents: Contents


class _Session:
    """What is held between `start` and `close`: the lock, three connections and their threads."""

    def __init__(self, path: Path, opened: _Opened, erasure_delay_s: float) -> None:
        self._path = path
        self._lock = opened.lock
        self._connections = opened.connections
        self.place = opened.place
        writing, self._reading, checkpointing = opened.connections
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="qss-store-reader")
        self._waiting_reads = 0
        self._checkpointer = Checkpointer(checkpointing, path, lambda: self.writer.end_log(), erasure_delay_s)
        self._large_log_pages = LARGE_LOG_BYTES // _page_bytes(writing)
        self._room = opened.room
        self.writer = Writer(
            writing,
            path,
            self._room,
            self._committed,
            self._checkpointer.due_soon,
            lambda again: self._checkpointer.log_ended(again=again),
        )
        writing.set_wal_hook(self._log_grew)
        self._checkpointer.due_soon()  # a process that was killed may have left erased bytes in the log

    async def read[T](self, question: Callable[[apsw.Connection], T]) -> T:
        """Ask on the reading connection, in its thread."""
        if self._waiting_reads >= MAX_WAITING_READS:
            raise LimitReached(f"{self._waiting_reads} reads of {self._path} wait already; ask again later")
        self._waiting_reads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, self._answer, question)
        finally:
            self._waiting_reads -= 1

    def close(self) -> None:
        """Finish commits and reads, and let go of everything. Blocks."""
        self.writer.close()
        self._checkpointer.close()
        self._reader.shutdown()
        try:
            with as_store_errors(self._path):
                for connection in self._connections:  # the last to close cuts the log
                    connection.close()
        finally:
            os.close(self._lock)

    def _answer[T](self, question: Callable[[apsw.Connection], T]) -> T:
        with as_store_errors(self._path):
            return question(self._reading)

    def _committed(self, erased: bool) -> None:  # noqa: FBT001 - a fact that is passed on, not a switch
        if erased:
            self._checkpointer.due_soon()

    def _log_grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._room.note(pages)
        if pages > self._large_log_pages:
            self._checkpointer.due_now()
        return apsw.SQLITE_OK


def _open(path: Path, site: QksId) -> _Opened:
    """Take the lock, open three connections, and begin an incarnation. Leaves nothing open if it fails."""
    if not path.is_file():
        raise StoreError(f"there is no store at {path}; make one with `qss init`, or name the right data folder")
    lock = take_lock(path)
    connections: list[apsw.Connection] = []
    try:
        with as_store_errors(path):
            connections.append(connect(path))
            check(connections[0], path, site)
            connections += [connect(path), connect(path)]
            connections[1].execute("PRAGMA query_only=ON")
            contents = _begin(connections[0], path)
            place, room = Place(path), LogRoom(path, _page_bytes(connections[0]))
    except OSError as error:
        _let_go(lock, connections)
        raise StoreUnavailable(
            f"{error.filename or path} cannot be opened ({error.strerror}); check how many files this process may have "
            "open, and the owner and mode (0600) of that one"
        ) from error
    except BaseException:
        _let_go(lock, connections)
        raise
    return _Opened(lock, tuple(connections), place, room, contents)


def _let_go(lock: int, connections: list[apsw.Connection]) -> None:
    for connection in connections:
        connection.close()
    os.close(lock)


def _begin(connection: apsw.Connection, path: Path) -> Contents:
    connection.execute("BEGIN IMMEDIATE")
    try:
        ledger.raise_incarnation(connection)
        contents = ledger.contents(connection, path)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return contents


def _contents_of_one_moment(connection: apsw.Connection, path: Path) -> Contents:
    connection.execute("BEGIN")
    try:
        return ledger.contents(connection, path)
    finally:
        connection.execute("ROLLBACK")


def _page_bytes(connection: apsw.Connection) -> int:
    size = connection.execute("PRAGMA page_size").get
    assert isinstance(size, int)
    return size
