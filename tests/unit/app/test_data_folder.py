"""A data folder: made whole or not at all, opened with its own master key and for its own site, or refused."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from qss.adapters.keyrings.key_file import key_file_ring, make_key_file
from qss.app import data_folder
from qss.app.data_folder import LEDGER, initialise, open_store
from qss.app.data_key_file import DATA_KEY
from qss.model.errors import KeyRingError, StoreError, StoreUnavailable
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.ports.keyring import KeyRing
from qss.ports.store import PutKey, PutStream
from support.failing_disk import FailingDisk, PowerCut, at_most
from support.store_records import stream_id, stream_record

A, B = QksId("A"), QksId("B")


@pytest.fixture
def keyring(tmp_path: Path) -> KeyRing:
    make_key_file(tmp_path / "master")
    return key_file_ring(tmp_path / "master")


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """The folder in which data folders are made."""
    parent = tmp_path / "sites"
    parent.mkdir()
    return parent


@pytest.fixture
def folder(parent: Path) -> Path:
    return parent / "A.data"


async def assert_whole(folder: Path, keyring: KeyRing) -> None:
    """The folder opens, and its store keeps key."""
    assert files(folder).keys() >= {LEDGER, DATA_KEY}
    store = await open_store(folder, A, keyring)
    try:
        fence = (await store.start()).incarnation
        await store.commit([PutStream(stream_record()), PutKey(stream_id(1), 0, KeyMaterial(b"secret"))], fence)
        assert await store.read_key(stream_id(1), Range(0, 6)) == KeyMaterial(b"secret")
    finally:
        await store.close()


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in entries(folder)}


# --- making -------------------------------------------------------------------------------------------------------


async def test_a_data_folder_is_for_its_owner_alone_from_the_start_and_when_open(folder, keyring) -> None:
    before = os.umask(0)
    try:
        await initialise(folder, A, keyring)
        assert {path.name for path in folder.iterdir()} == {LEDGER, DATA_KEY}
        store = await open_store(folder, A, keyring)
        fence = (await store.start()).incarnation
        await store.commit([PutStream(stream_record())], fence)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        await store.close()
    finally:
        os.umask(before)
    assert {LEDGER, DATA_KEY, f"{LEDGER}-wal", f"{LEDGER}-shm"} < set(modes)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_the_data_key_file_says_what_the_reference_says_and_no_more(folder, keyring) -> None:
    await initialise(folder, A, keyring)
    content = json.loads((folder / DATA_KEY).read_text("ascii"))
    assert set(content) == {"format", "site", "sealed_data_key"}
    assert (content["format"], content["site"]) == (1, "A")
    assert content["sealed_data_key"].startswith("qss1:key-file:hkdf-sha256:")


async def test_each_data_folder_has_a_data_key_of_its_own(parent, keyring) -> None:
    class Open:
        """A key ring that keeps what it was given."""

        def __init__(self) -> None:
            self.seen: list[bytes] = []

        async def wrap(self, data_key: KeyMaterial, context: bytes) -> bytes:
            self.seen.append(data_key.reveal())
            return await keyring.wrap(data_key, context)

        async def unwrap(self, wrapped: bytes, context: bytes) -> KeyMaterial:
            return await keyring.unwrap(wrapped, context)

    ring = Open()
    for name in ("one", "two"):
        await initialise(parent / name, A, ring)
    assert [len(key) for key in ring.seen] == [32, 32]
    assert ring.seen[0] != ring.seen[1]
    for content in (*files(parent / "one").values(), *files(parent / "two").values()):
        assert not [key for key in ring.seen if key in content]


async def test_an_empty_folder_is_replaced_and_one_behind_a_link_too(folder, parent, keyring) -> None:
    folder.mkdir(mode=0o755)
    await initialise(folder, A, keyring)
    await assert_whole(folder, keyring)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (parent / "elsewhere").mkdir()
    (parent / "link").symlink_to("elsewhere")
    await initialise(parent / "link", A, keyring)
    assert (parent / "link").is_symlink()
    await assert_whole(parent / "elsewhere", keyring)


async def test_what_is_there_is_left_as_it_is(folder, parent, keyring) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_bytes(b"ten years")
    with pytest.raises(StoreError, match="is not empty and is left as it is; choose another place, or empty it first"):
        await initialise(folder, A, keyring)
    assert files(folder) == {"thesis.tex": b"ten years"}
    assert entries(parent) == [folder]


async def test_a_data_folder_is_never_made_anew(folder, keyring) -> None:
    await initialise(folder, A, keyring)
    before = files(folder)
    for site in (A, B):
        with pytest.raises(StoreError, match="is not empty"):
            await initialise(folder, site, keyring)
    assert files(folder) == before


async def test_a_file_in_its_place_and_a_missing_parent_are_refused(folder, parent, keyring) -> None:
    folder.write_bytes(b"a file")
    with pytest.raises(StoreError, match="is no folder; choose another place"):
        await initialise(folder, A, keyring)
    with pytest.raises(StoreError, match=r"there is no folder .*/gone; make it first: `mkdir -p"):
        await initialise(parent / "gone" / "A.data", A, keyring)
    with pytest.raises(StoreError, match="there is no folder"):
        await initialise(folder / "A.data", A, keyring)
    assert files(parent) == {"A.data": b"a file"}


async def test_a_name_that_no_disk_takes_is_refused(parent, keyring) -> None:
    with pytest.raises(StoreUnavailable, match="name too long"):
        await initialise(parent / ("x" * 5000), A, keyring)


async def test_a_key_ring_that_refuses_leaves_nothing(folder, parent, tmp_path) -> None:
    with pytest.raises(KeyRingError):
        await initialise(folder, A, key_file_ring(tmp_path / "no-such-key"))
    assert entries(parent) == []


# --- a failing disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    return FailingDisk(monkeypatch)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
async def test_whichever_step_the_disk_refuses_nothing_is_left(disk, folder, parent, keyring, code) -> None:
    told: list[str] = []
    for step in range(100):
        disk.arm(step, OSError(code, os.strerror(code), "a-file"))
        try:
            await initialise(folder, A, keyring)
        except (StoreError, StoreUnavailable) as error:
            told.append(str(error))
            assert entries(parent) == [], f"step {step}: {disk.taken}"
        else:
            break
    assert not disk.failed  # no failure was passed over
    disk.disarm()
    assert len(told) > 5
    assert [text for text in told if os.strerror(code) not in text or "check the" not in text] == []
    await assert_whole(folder, keyring)


async def test_a_disk_that_is_full_for_the_store_leaves_nothing(folder, parent, keyring) -> None:
    for room in range(0, 400_000, 8192):
        with at_most(room):
            try:
                await initialise(folder, A, keyring)
            except (StoreError, StoreUnavailable):
                assert entries(parent) == []
            else:
                break
    assert room > 16_384
    await assert_whole(folder, keyring)


async def test_whenever_the_power_goes_a_folder_of_that_name_is_whole(disk, folder, parent, keyring) -> None:
    for step in range(100):
        disk.arm(step, PowerCut())
        try:
            await initialise(folder, A, keyring)
        except PowerCut:
            disk.disarm()
        assert all(left == folder or left.name.endswith(".making") for left in entries(parent))
        if folder.is_dir():
            break
    disk.disarm()
    assert step > 5
    await assert_whole(folder, keyring)  # and what the crashes before it left has not stood in the way


async def test_what_it_holds_is_durable_before_its_name_is(disk, folder, parent, keyring) -> None:
    disk.disarm()
    await initialise(folder, A, keyring)
    rename = disk.taken.index("rename")
    before = disk.synced[: disk.taken[:rename].count("fsync")]
    assert {(folder / DATA_KEY).stat().st_ino, folder.stat().st_ino} <= set(before)
    assert disk.synced[-1] == parent.stat().st_ino
    assert disk.taken[-1] == "fsync"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.EBUSY, "is a mount point; name a folder inside it, such as"),
        (errno.EXDEV, "is a mount point; name a folder inside it, such as"),
        (errno.ENOTEMPTY, "was made by another process meanwhile and is left as it is"),
    ],
)
async def test_a_place_that_cannot_be_taken_is_told(folder, parent, keyring, monkeypatch, code, says) -> None:
    def rename(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(StoreError, match=says):
        await initialise(folder, A, keyring)
    assert entries(parent) == []


async def test_of_two_who_make_it_at_once_the_second_leaves_it_as_it_is(folder, parent, keyring, monkeypatch) -> None:
    move = os.rename

    def rename(source, target) -> None:
        if not folder.exists():
            folder.mkdir()
            (folder / "first").write_bytes(b"was here")
        move(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(StoreError, match="was made by another process meanwhile"):
        await initialise(folder, A, keyring)
    assert files(folder) == {"first": b"was here"}
    assert entries(parent) == [folder]


# --- opening ------------------------------------------------------------------------------------------------------


async def test_another_master_key_does_not_open_it(folder, keyring, tmp_path) -> None:
    await initialise(folder, A, keyring)
    make_key_file(tmp_path / "other")
    with pytest.raises(KeyRingError, match="does not open this data key"):
        await open_store(folder, A, key_file_ring(tmp_path / "other"))


async def test_another_sites_folder_is_refused_also_if_it_says_otherwise(folder, keyring) -> None:
    await initialise(folder, A, keyring)
    with pytest.raises(StoreError, match="belongs to site A, not B; name that site's own data folder"):
        await open_store(folder, B, keyring)
    path = folder / DATA_KEY
    path.write_text(path.read_text().replace('"site": "A"', '"site": "B"'))
    with pytest.raises(KeyRingError, match="does not open this data key"):
        await open_store(folder, B, keyring)


async def test_a_data_key_of_another_folder_of_the_site_opens_no_key_of_this_one(folder, parent, keyring) -> None:
    other = parent / "other"
    await initialise(folder, A, keyring)
    await initialise(other, A, keyring)
    await assert_whole(folder, keyring)
    (folder / DATA_KEY).write_bytes((other / DATA_KEY).read_bytes())
    store = await open_store(folder, A, keyring)
    await store.start()
    with pytest.raises(StoreError, match="does not open at its place"):
        await store.read_key(stream_id(1), Range(0, 6))
    await store.close()


async def test_what_is_no_data_folder_is_refused_with_the_command_that_makes_one(folder, parent, keyring) -> None:
    with pytest.raises(
        StoreError,
        match=r"is no data folder: it has no data-key.json; look first whether it is mounted.*`qss init .*ID`",
    ):
        await open_store(folder, A, keyring)
    await initialise(folder, A, keyring)
    (folder / LEDGER).unlink()
    with pytest.raises(StoreError, match="there is no store at"):
        await open_store(folder, A, keyring)
    (folder / DATA_KEY).unlink()
    (folder / DATA_KEY).mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await open_store(folder, A, keyring)


DAMAGED = [
    b"",
    b"\0" * 500,
    b"\xff\xfe",
    b"null",
    b"[]",
    b"7",
    b'"qss1"',
    b"{}",
    b'{"format": 1, "site": "A"}',
    b'{"format": 1, "site": "A", "sealed_data_key": 7}',
    b'{"format": 1, "site": "A", "sealed_data_key": null}',
    '{"format": 1, "site": "A", "sealed_data_key": "é"}'.encode(),
    b'{"format": 1, "site": "A", "sealed_data_key": "x"',
    b"[" * 60_000,
    b'{"format": 1, "site": "A", "sealed_data_key": "' + b"x" * 70_000 + b'"}',
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:40]))
async def test_a_damaged_data_key_file_is_told_as_damaged(folder, keyring, content) -> None:
    await initialise(folder, A, keyring)
    (folder / DATA_KEY).write_bytes(content)
    with pytest.raises(StoreError, match=r"data-key\.json is damaged; restore it from a back-up"):
        await open_store(folder, A, keyring)


async def test_a_data_key_file_that_lacks_its_end_is_refused_wherever_it_ends(folder, keyring) -> None:
    await initialise(folder, A, keyring)
    whole = (folder / DATA_KEY).read_bytes()
    for size in range(len(whole.rstrip())):
        (folder / DATA_KEY).write_bytes(whole[:size])
        with pytest.raises(StoreError, match="damaged"):
            await open_store(folder, A, keyring)


async def test_a_file_of_a_later_release_is_not_guessed_at(folder, keyring) -> None:
    await initialise(folder, A, keyring)
    path = folder / DATA_KEY
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoreError, match="has format 2, this release reads 1; run the release that made it"):
        await open_store(folder, A, keyring)


async def test_who_cancels_it_finds_it_done(tmp_path, keyring, monkeypatch) -> None:
    """A thread cannot be stopped: its caller may not clear away what it is still making."""
    begun, go_on = threading.Event(), threading.Event()
    make = data_folder.make_store

    def slow(path: Path, site: QksId) -> None:
        begun.set()
        assert go_on.wait(5)
        make(path, site)

    monkeypatch.setattr(data_folder, "make_store", slow)
    making = asyncio.create_task(initialise(tmp_path / "A.data", A, keyring))
    assert await asyncio.to_thread(begun.wait, 5)
    making.cancel()
    await asyncio.sleep(0)
    assert not making.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert (tmp_path / "A.data" / LEDGER).is_file()
