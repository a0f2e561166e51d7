"""The end of a data key: its bytes are overwritten where they lie, and nobody opens the store again."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import apsw
import pytest

from qss.adapters.keyrings.key_file import key_file_ring, make_key_file
from qss.adapters.stores.sqlite import SqliteStore, erasing
from qss.app import data_key_file, node
from qss.app.backup import back_up, restore
from qss.app.data_folder import LEDGER, initialise, open_store
from qss.app.data_key_file import DATA_KEY, ZEROIZED, watch_data_key
from qss.app.preparation import prepare
from qss.app.zeroize import erase_what_it_sealed, zeroize
from qss.model.errors import StoreError, StoreInUse, StoreUnavailable
from qss.ports.keyring import KeyRing
from qss.ports.store import DropBlock, PutBlock, PutStream
from support.failing_disk import FailingDisk, at_most
from support.one_site import Place, made_place
from support.store_records import SITE, block, stream_id, stream_record

SEALED = [os.urandom(3_000) for _ in range(40)]
PIECE = 48
GONE = (
    r"the data key of .* was destroyed with `qss zeroize`, and nobody can open it again; move the folder away and make"
)


@pytest.fixture
def keyring(tmp_path: Path) -> KeyRing:
    make_key_file(tmp_path / "master")
    return key_file_ring(tmp_path / "master")


@pytest.fixture
async def data(tmp_path: Path, keyring: KeyRing) -> Path:
    """A data folder with sealed key."""
    await initialise(tmp_path / "data", SITE, keyring)
    store = SqliteStore(tmp_path / "data" / LEDGER, SITE)
    fence = (await store.start()).incarnation
    blocks = [PutBlock(block(16 * number, sealed=sealed)) for number, sealed in enumerate(SEALED)]
    await store.commit([PutStream(stream_record(1, mark=16 * len(SEALED))), *blocks], fence)
    await store.commit([DropBlock(stream_id(1), 0)], fence)
    await store.close()
    return tmp_path / "data"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_no_sealed_key(folder: Path) -> None:
    pieces = [sealed[at : at + PIECE] for sealed in SEALED for at in range(0, len(sealed), PIECE)]
    for content in files(folder).values():
        assert not [piece for piece in pieces if piece in content]


async def assert_never_opens(folder: Path, keyring: KeyRing) -> None:
    with pytest.raises(StoreError, match=GONE):
        await open_store(folder, SITE, keyring)


async def test_the_data_keys_bytes_are_overwritten_where_they_lie(data, tmp_path, keyring) -> None:
    before = (data / DATA_KEY).read_bytes()
    os.link(data / DATA_KEY, tmp_path / "inode")  # what a disk would still hold
    zeroize(data)
    after = (tmp_path / "inode").read_bytes()
    assert len(after) == len(before)
    assert not [at for at in range(len(before) - 4) if before[at : at + 4] in after]
    assert files(data).keys() == {LEDGER, f"{LEDGER}.lock", ZEROIZED}
    await assert_never_opens(data, keyring)


async def test_it_is_overwritten_durably_before_it_is_removed_and_that_is_durable_too(data, monkeypatch) -> None:
    disk = FailingDisk(monkeypatch)
    unlinked: list[int] = []
    unlink = os.unlink
    monkeypatch.setattr(os, "unlink", lambda *a, **n: (unlinked.append(len(disk.synced)), unlink(*a, **n)))
    key = (data / DATA_KEY).stat().st_ino
    disk.disarm()
    zeroize(data)
    assert disk.synced[: unlinked[0]] == [key] * 3
    assert disk.synced[3] == data.stat().st_ino


async def test_a_data_key_that_is_put_back_does_not_open_it_again(data, keyring) -> None:
    kept = (data / DATA_KEY).read_bytes()
    zeroize(data)
    (data / DATA_KEY).write_bytes(kept)
    await assert_never_opens(data, keyring)


def test_what_it_had_sealed_is_erased_and_the_ledger_stays(data, monkeypatch) -> None:
    monkeypatch.setattr(erasing, "_BLOCKS_AT_ONCE", 7)
    zeroize(data)
    assert any(SEALED[5][:PIECE] in content for content in files(data).values())
    erase_what_it_sealed(data)
    assert_no_sealed_key(data)
    connection = apsw.Connection(str(data / LEDGER))
    assert connection.execute("SELECT count(*) FROM blocks").get == 0
    assert connection.execute("SELECT mark FROM streams").get == 16 * len(SEALED)
    connection.close()


async def test_while_a_process_has_the_store_the_key_goes_and_the_rest_waits_for_its_end(data, keyring) -> None:
    store = await open_store(data, SITE, keyring)
    await store.start()
    zeroize(data)
    with pytest.raises(
        StoreInUse, match=r"holds its data key in memory: a node ends for that.*run `qss zeroize .*` again"
    ):
        erase_what_it_sealed(data)
    assert files(data).keys() >= {LEDGER, ZEROIZED}
    assert DATA_KEY not in files(data)
    await store.close()
    zeroize(data)  # again
    erase_what_it_sealed(data)
    assert_no_sealed_key(data)
    await assert_never_opens(data, keyring)


async def test_a_back_up_is_zeroized_and_not_restored_any_more(data, tmp_path) -> None:
    copy = tmp_path / "copy"
    back_up(data, copy)
    restore(copy, tmp_path / "one")
    before = files(copy)
    zeroize(copy)
    erase_what_it_sealed(copy)
    assert files(copy).keys() - {ZEROIZED} == before.keys() - {DATA_KEY}
    with pytest.raises(StoreError, match=GONE):
        restore(copy, tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_what_was_zeroized_is_not_backed_up(data, tmp_path) -> None:
    zeroize(data)
    with pytest.raises(StoreError, match=GONE):
        back_up(data, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_a_damaged_data_key_or_store_is_destroyed_as_well(data, keyring) -> None:
    (data / DATA_KEY).write_bytes(b"x" * 70_000)
    (data / LEDGER).write_bytes(b"no database" * 10_000)
    zeroize(data)
    assert DATA_KEY not in files(data)
    with pytest.raises(StoreError, match="is no qss store, or its beginning is damaged"):
        erase_what_it_sealed(data)
    await assert_never_opens(data, keyring)
    (data / LEDGER).unlink()
    zeroize(data)
    erase_what_it_sealed(data)


async def test_a_node_hears_of_it(data, monkeypatch) -> None:
    monkeypatch.setattr(data_key_file, "_LOOK_S", 0.01)
    watching = asyncio.create_task(watch_data_key(data))
    zeroize(data)
    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match=r"destroyed with `qss zeroize` while this node ran.*run `qss zeroize /"):
            await watching


async def test_a_node_hears_of_a_data_key_that_somebody_removed(data, monkeypatch) -> None:
    monkeypatch.setattr(data_key_file, "_LOOK_S", 0.01)
    watching = asyncio.create_task(watch_data_key(data))
    await asyncio.sleep(0.1)
    assert not watching.done()
    (data / DATA_KEY).unlink()
    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match=r"was removed while this node ran.*put it back from a back-up"):
            await watching


async def test_a_node_that_cannot_tell_goes_on(data, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(data_key_file, "_LOOK_S", 0.001)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", refuse)
        watching = asyncio.create_task(watch_data_key(data))
        await asyncio.sleep(0.1)
        assert not watching.done()
        watching.cancel()
        await asyncio.wait({watching})


def test_where_there_is_nothing_to_destroy_nothing_is_made(tmp_path) -> None:
    (tmp_path / "thesis").mkdir()
    for folder in (tmp_path / "thesis", tmp_path / "gone"):
        with pytest.raises(StoreError, match="is neither a data folder nor a back-up; nothing was destroyed"):
            zeroize(folder)
    assert [*tmp_path.rglob("*")] == [tmp_path / "thesis"]


# --- a failing disk -----------------------------------------------------------------------------------------------


async def test_a_disk_that_does_not_overwrite_is_told_and_the_file_goes_all_the_same(
    data, keyring, monkeypatch
) -> None:
    for step in range(4):  # the file's opening, and three syncs of it
        kept = (data / DATA_KEY).read_bytes()
        with monkeypatch.context() as patch:
            FailingDisk(patch).arm(step, OSError(errno.EIO, os.strerror(errno.EIO)))
            says = r"was removed, but could not be overwritten \(Input/output error\), and may be found on the disk"
            with pytest.raises(StoreUnavailable, match=f"{says}: destroy the master key or the disk as well"):
                zeroize(data)
        assert DATA_KEY not in files(data)
        (data / DATA_KEY).write_bytes(kept)
    (data / DATA_KEY).unlink()
    zeroize(data)  # goes on where it came to
    await assert_never_opens(data, keyring)


def test_a_disk_that_does_not_remove_is_told_and_the_file_is_overwritten_all_the_same(data, monkeypatch) -> None:
    before = (data / DATA_KEY).read_bytes()

    def unlink(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(StoreUnavailable, match=r"the data key is destroyed, but .* could not be removed \(Permission"):
        zeroize(data)
    assert not [at for at in range(len(before) - 4) if before[at : at + 4] in (data / DATA_KEY).read_bytes()]

    def pwrite(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(StoreUnavailable, match=r"could NOT be destroyed \(Read-only file system\); destroy the"):
        zeroize(data)


def test_a_note_that_cannot_be_written_is_told_and_the_key_is_gone(data, monkeypatch) -> None:
    disk = FailingDisk(monkeypatch)
    for step in (6, 7):  # after the file's opening, three syncs, and the folder's opening and sync
        disk.arm(step, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        kept = (data / DATA_KEY).read_bytes()
        with pytest.raises(StoreUnavailable, match=r"the note .*ZEROIZED cannot be written \(No space left"):
            zeroize(data)
        disk.disarm()
        assert files(data).keys() == {LEDGER, f"{LEDGER}.lock"}
        (data / DATA_KEY).write_bytes(kept)


def test_a_disk_without_room_to_erase_is_told_and_the_rest_can_be_done_later(data) -> None:
    zeroize(data)
    with at_most(100), pytest.raises((StoreError, StoreUnavailable), match="failed; check the disk"):
        erase_what_it_sealed(data)
    erase_what_it_sealed(data)
    assert_no_sealed_key(data)


# --- a node that starts meanwhile ----------------------------------------------------------------------------------


async def test_a_node_that_has_read_the_key_and_not_yet_started_does_not_start(tmp_path, monkeypatch) -> None:
    place: Place = await made_place(tmp_path)

    async def prepared_and_then_destroyed(configuration):
        prepared = await prepare(configuration)
        zeroize(configuration.site.data)
        erase_what_it_sealed(configuration.site.data)
        return prepared

    monkeypatch.setattr(node, "prepare", prepared_and_then_destroyed)
    with pytest.raises(StoreError, match=GONE):
        async with node.running(place.configuration()):
            pass
    erase_what_it_sealed(place.configuration().site.data)  # nobody has it open
