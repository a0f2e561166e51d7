"""What was dropped from the store leaves its files: the pages of the main file, and the log."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import apsw
import pytest

from qss.adapters.stores.sqlite import SqliteStore, create_store
from qss.adapters.stores.sqlite import store as sqlite_store
from qss.ports.store import DropBlock, PutBlock, PutStream
from support.store_records import SITE, block, stream_id, stream_record


def holders(path: Path, sealed: bytes) -> set[str]:
    """The store's files that have any part of `sealed`: pages split what is long."""
    pieces = [sealed[start : start + 64] for start in range(0, len(sealed), 64)]
    return {
        file.name
        for file in path.parent.iterdir()
        if any(piece in content for content in [file.read_bytes()] for piece in pieces)
    }


async def until_gone(path: Path, sealed: bytes) -> None:
    async with asyncio.timeout(10):
        while holders(path, sealed):  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.02)


async def test_the_bytes_of_a_dropped_block_are_in_no_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    create_store(path, SITE)
    store = SqliteStore(path, SITE, erasure_delay_s=0.05)
    fence = (await store.start()).incarnation
    sealed = [os.urandom(40_000) for _ in range(3)]
    await store.commit([PutStream(stream_record()), PutBlock(block(0, sealed=sealed[0]))], fence)
    assert holders(path, sealed[0])
    await store.commit([PutBlock(block(16, sealed=sealed[1])), PutBlock(block(32, sealed=sealed[2]))], fence)
    await store.commit([DropBlock(stream_id(1), 0)], fence)
    await until_gone(path, sealed[0])
    assert "ledger.sqlite" in holders(path, sealed[1]) & holders(path, sealed[2])
    await store.commit([DropBlock(stream_id(1), 16)], fence)
    await until_gone(path, sealed[1])
    assert "ledger.sqlite" in holders(path, sealed[2])
    await store.close()


async def test_what_a_killed_process_left_in_its_log_goes_when_the_store_is_started_again(tmp_path: Path) -> None:
    path, copy = tmp_path / "ledger.sqlite", tmp_path / "copy" / "ledger.sqlite"
    create_store(path, SITE)
    store = SqliteStore(path, SITE, erasure_delay_s=3600)
    fence = (await store.start()).incarnation
    sealed = os.urandom(40_000)
    await store.commit([PutStream(stream_record()), PutBlock(block(0, sealed=sealed))], fence)
    await store.commit([DropBlock(stream_id(1), 0)], fence)
    copy.parent.mkdir()
    for file in (path, path.with_name("ledger.sqlite-wal")):
        shutil.copy(file, copy.parent)  # as they are when the process is killed now
    await store.close()
    assert holders(copy, sealed) == {"ledger.sqlite-wal"}
    again = SqliteStore(copy, SITE, erasure_delay_s=0.05)
    await again.start()
    await until_gone(copy, sealed)
    await again.close()


async def test_a_log_that_has_grown_large_begins_anew_and_keeps_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "LARGE_LOG_BYTES", 1 << 20)
    path = tmp_path / "ledger.sqlite"
    log = path.with_name("ledger.sqlite-wal")
    create_store(path, SITE)
    store = SqliteStore(path, SITE, erasure_delay_s=3600)
    fence = (await store.start()).incarnation
    await store.commit([PutStream(stream_record())], fence)
    room, number, lengths = store._started()._room, 0, []
    for _ in range(3):
        while room._used <= 1 << 20:
            await store.commit([PutBlock(block(16 * number, sealed=os.urandom(50_000)))], fence)
            number += 1
        async with asyncio.timeout(10):
            while room.is_written:  # noqa: ASYNC110 - another thread clears it
                await asyncio.sleep(0.005)
        lengths.append(log.stat().st_size)
    assert min(lengths) > 1 << 20
    assert max(lengths) < 2 << 20
    await store.close()


async def test_what_a_shorter_round_of_the_log_leaves_of_erased_bytes_is_cut_off(tmp_path: Path) -> None:
    """Commits go on all the while, and write far less than would overwrite it in that time."""
    path = tmp_path / "ledger.sqlite"
    create_store(path, SITE)
    store = SqliteStore(path, SITE, erasure_delay_s=0.2)
    fence = (await store.start()).incarnation
    sealed = os.urandom(1_000)
    await store.commit([PutStream(stream_record())], fence)
    await store.commit([PutBlock(block(16 * n, sealed=os.urandom(50_000))) for n in range(100)], fence)
    await store.commit([PutBlock(block(1600, sealed=sealed))], fence)
    await store.commit([DropBlock(stream_id(1), 1600)], fence)
    number = 1
    async with asyncio.timeout(5):
        while holders(path, sealed):
            number += 1
            await store.commit([PutStream(stream_record(number))], fence)
            await asyncio.sleep(0.05)
    await store.close()


class Unrestarted:
    """A connection whose first attempts to begin the log anew do nothing, as when a reader elsewhere holds it."""

    def __init__(self, connection: apsw.Connection, attempts: int) -> None:
        self._connection = connection
        self.attempts = attempts

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def wal_checkpoint(self, *, mode: int) -> object:
        if self.attempts:
            self.attempts -= 1
            mode = apsw.SQLITE_CHECKPOINT_PASSIVE
        return self._connection.wal_checkpoint(mode=mode)


async def test_a_log_that_went_on_though_it_was_to_begin_anew_is_begun_anew_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    create_store(path, SITE)
    store = SqliteStore(path, SITE, erasure_delay_s=0.2)
    fence = (await store.start()).incarnation
    writer = store._started().writer
    sealed = os.urandom(1_000)
    await store.commit([PutStream(stream_record()), PutBlock(block(0, sealed=sealed))], fence)
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    writer._connection = unrestarted = Unrestarted(writer._connection, 2)  # type: ignore[assignment]
    await store.commit([DropBlock(stream_id(1), 0)], fence)
    number = 1
    async with asyncio.timeout(10):
        while unrestarted.attempts or holders(path, sealed):
            if unrestarted.attempts and not reader.in_transaction:
                reader.execute("BEGIN; SELECT count(*) FROM streams")  # its mark keeps the log from beginning anew
            elif not unrestarted.attempts and reader.in_transaction:
                reader.execute("COMMIT")
            number += 1
            await store.commit([PutStream(stream_record(number))], fence)
            await asyncio.sleep(0.02)
    reader.close()
    await store.close()


async def test_what_another_program_has_committed_is_not_cut_off(tmp_path: Path) -> None:
    """Nobody is meant to, and yet nothing may be lost of it, nor the store break."""
    path = tmp_path / "ledger.sqlite"
    create_store(path, SITE)
    store = SqliteStore(path, SITE, erasure_delay_s=0.1)
    fence = (await store.start()).incarnation
    await store.commit([PutStream(stream_record())], fence)
    other = apsw.Connection(str(path))
    other.set_busy_timeout(1000)
    for number in range(20):
        sealed = os.urandom(1_000)
        await store.commit([PutBlock(block(16 * number, sealed=sealed))], fence)
        other.execute(f"CREATE TABLE note_{number} AS SELECT 1")
        await store.commit([DropBlock(stream_id(1), 16 * number)], fence)
        await asyncio.sleep(0.05)
    await until_gone(path, sealed)
    assert len(list(other.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'note_%'"))) == 20
    assert other.execute("PRAGMA integrity_check").get == "ok"
    other.close()
    await store.close()
