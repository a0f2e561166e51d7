"""Room in the SQLite store's log: few commits lengthen it, none is lost for it, and none fails where there is none."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from qss.adapters.stores.sqlite import SqliteStore, create_store
from qss.adapters.stores.sqlite.room import LARGE_COMMIT_BYTES, ROOM_BYTES
from qss.model.errors import StoreUnavailable
from qss.ports.store import PutBlock, PutStream
from support.store_records import SITE, block, stream_record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    create_store(path, SITE)
    return path


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


async def commit_streams(store: SqliteStore, fence: int, first: int, number: int) -> list[int]:
    """Commit so many streams one after the other; return the log's length after each."""
    lengths = []
    for n in range(first, first + number):
        await store.commit([PutStream(stream_record(n))], fence)
        lengths.append(log_of(store._path).stat().st_size)
    return lengths


async def test_few_commits_lengthen_the_log(path: Path) -> None:
    store = SqliteStore(path, SITE)
    fence = (await store.start()).incarnation
    lengths = await commit_streams(store, fence, 1, 100)
    assert len(set(lengths)) < 10  # each of them writes pages of its own
    assert lengths[-1] - lengths[0] >= ROOM_BYTES
    await store.close()


async def test_zeros_at_the_end_of_the_log_hide_no_commit_from_the_next_start(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(path, SITE)
    fence = (await store.start()).incarnation
    await commit_streams(store, fence, 1, 5)
    copy = tmp_path / "copy" / path.name
    copy.parent.mkdir()
    for file in (path, log_of(path)):
        shutil.copy(file, copy.parent)
    assert log_of(copy).read_bytes().endswith(bytes(ROOM_BYTES // 4))
    await store.close()
    again = SqliteStore(copy, SITE)
    assert len((await again.start()).streams) == 5
    await again.close()


async def test_a_log_that_begins_anew_has_room(path: Path) -> None:
    store = SqliteStore(path, SITE)
    fence = (await store.start()).incarnation
    before = await commit_streams(store, fence, 1, 100)
    store._started().writer.end_log()
    after = await commit_streams(store, fence, 101, 20)
    assert set(after) == {before[-1]}
    assert store._started()._room._used < before[-1] // 2
    await store.close()


async def test_large_commits_lengthen_the_log_themselves(path: Path) -> None:
    store = SqliteStore(path, SITE)
    fence = (await store.start()).incarnation
    await store.commit([PutStream(stream_record())], fence)
    for number in range(20):  # the first use up what room there is
        await store.commit([PutBlock(block(16 * number, sealed=bytes(LARGE_COMMIT_BYTES)))], fence)
    assert log_of(path).stat().st_size == store._started()._room._used
    await store.close()


@pytest.mark.parametrize("call", ["fstat", "pwrite", "fdatasync"])
async def test_a_disk_that_gives_no_room_fails_no_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = SqliteStore(path, SITE)
    fence = (await store.start()).incarnation
    asked = []

    def refuse(*arguments: object) -> None:
        asked.append(arguments)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, refuse)
    for n in range(1, 101):
        await store.commit([PutStream(stream_record(n))], fence)
    monkeypatch.undo()
    assert asked
    assert len((await store.contents()).streams) == 100
    await store.close()


async def test_a_log_that_cannot_be_had_leaves_nothing_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(file: str | Path, *arguments: int) -> int:
        if str(file).endswith("-wal"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(file, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreUnavailable, match="how many files"):
        await SqliteStore(path, SITE).start()
    monkeypatch.undo()
    store = SqliteStore(path, SITE)
    await store.start()  # the lock was let go
    await store.close()
