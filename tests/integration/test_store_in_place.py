"""A store whose files are taken away while it is open: nobody goes on committing into what nobody will find."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qss.adapters.stores.sqlite import SqliteStore, create_store
from qss.model.errors import StoreDamaged
from qss.ports.store import PutStream
from support.pki import Pki
from support.store_records import SITE, stream_id, stream_record
from support.two_sites import TwoSites


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    create_store(tmp_path / "data" / "ledger.sqlite", SITE)
    return tmp_path / "data" / "ledger.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, SITE)
    await store.start()
    yield store
    await store.close()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


async def test_a_store_in_use_stays_where_it_is(store, path) -> None:
    fence = (await store.start()).incarnation
    for version in range(1, 5):
        await store.commit([PutStream(stream_record(version))], fence)
        await store.check_in_place()
    await store.close()
    await store.start()
    await store.check_in_place()


async def test_a_ledger_that_is_gone(store, path) -> None:
    path.unlink()
    with pytest.raises(StoreDamaged, match=r"ledger\.sqlite is gone: it was removed.*Put the data folder back"):
        await store.check_in_place()


async def test_a_ledger_that_was_replaced(store, path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    with pytest.raises(StoreDamaged, match=r"ledger\.sqlite was replaced by another file while this process had it"):
        await store.check_in_place()


async def test_a_folder_that_was_moved_is_the_same_when_it_is_back(store, path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    with pytest.raises(StoreDamaged, match="if it was moved or unmounted"):
        await store.check_in_place()
    path.parent.with_name("moved").rename(path.parent)
    await store.check_in_place()


@pytest.mark.parametrize("replaced", [False, True])
async def test_without_its_log_the_ledger_has_all_of_it_after_a_close(store, path, replaced) -> None:
    fence = (await store.start()).incarnation
    await store.commit([PutStream(stream_record(1))], fence)
    log_of(path).unlink()
    if replaced:
        log_of(path).touch()
    with pytest.raises(StoreDamaged, match=r"ledger\.sqlite-wal .*; what the log holds is moved into the ledger"):
        await store.check_in_place()
    await store.close()
    contents = await store.start()
    assert [record.stream for record in contents.streams] == [stream_id(1)]


async def test_what_cannot_be_told_is_not_told(store, path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refuse)
        await store.check_in_place()


async def test_a_site_whose_ledger_is_gone_ends(tmp_path) -> None:
    async with TwoSites(tmp_path, Pki(tmp_path / "pki")) as sites:
        await sites.until_keys(1)
        sites.a.path.unlink()
        async with asyncio.timeout(5):
            with pytest.raises(StoreDamaged, match="is gone"):
                await sites.a.site.failed


async def test_a_site_that_is_stopped_before_it_looks_says_so(tmp_path) -> None:
    async with TwoSites(tmp_path, Pki(tmp_path / "pki")) as sites:
        await sites.until_keys(1)
        sites.a.path.unlink()
        with pytest.raises(StoreDamaged, match="is gone"):
            await sites.a.stop()
        assert sites.a.anchor.read() == sites.a.site._commit_number
