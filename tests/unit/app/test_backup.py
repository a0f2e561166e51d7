"""Back-ups and what is made of them: whole or not at all, without key, and so that all is burned before any use."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import stat
import threading
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from qss.adapters.keyrings.key_file import key_file_ring, make_key_file
from qss.adapters.stores.sqlite import SqliteStore, backup, schema
from qss.app.audit.segments import AUDIT
from qss.app.backup import MANIFEST, back_up, restore
from qss.app.data_folder import LEDGER, initialise, open_store
from qss.app.data_key_file import DATA_KEY
from qss.app.sae_register import SAES, SaeRegister
from qss.model.errors import StoreError, StoreUnavailable
from qss.model.identifiers import QksId, SaeId
from qss.model.incarnations import is_first
from qss.model.records import BurnReason, PeerRecord, Tally
from qss.ports.keyring import KeyRing
from qss.ports.store import Change, Contents, DropBlock, PutBlock, PutPeer, PutReservation, PutStream
from support.failing_disk import FailingDisk, PowerCut, at_most
from support.store_records import SITE, block, in_order, reservation_record, stream_id, stream_record

B, C, D = map(QksId, "BCD")
PIECE = 48
SEALED = [os.urandom(40_000) for _ in range(4)]
PEERS = (
    PeerRecord(B, 7 << 40, 41, b"proof", 12, True, False, Tally(8, 16, 24, {BurnReason.CLOSED: 80}), 128),
    PeerRecord(D),
)
BATCH: list[Change] = [
    PutStream(replace(stream_record(1, head=64, mark=64), tally=Tally(256, 0, 0, {BurnReason.SKIPPED: 256}))),
    PutStream(replace(stream_record(2), peer=C, closed=True, limit=17)),
    PutReservation(reservation_record(1)),
    PutReservation(replace(reservation_record(2), fetched=(2**700,))),
    *map(PutPeer, PEERS),
    *(PutBlock(block(16 * number, sealed=sealed)) for number, sealed in enumerate(SEALED)),
]


@pytest.fixture
def keyring(tmp_path: Path) -> KeyRing:
    make_key_file(tmp_path / "master")
    return key_file_ring(tmp_path / "master")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder in which back-ups, and data folders of them, are made."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
async def data(tmp_path: Path, keyring: KeyRing) -> Path:
    """A data folder with all kinds of rows."""
    await initialise(tmp_path / "data", SITE, keyring)
    store = SqliteStore(tmp_path / "data" / LEDGER, SITE)
    fence = (await store.start()).incarnation
    await store.commit(BATCH, fence)
    await store.commit([DropBlock(stream_id(1), 48)], fence)
    await store.close()
    return tmp_path / "data"


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    """A back-up of it."""
    back_up(data, tmp_path / "copy")
    return tmp_path / "copy"


async def contents_of(folder: Path) -> Contents:
    store = SqliteStore(folder / LEDGER, SITE)
    try:
        return in_order(await store.start())
    finally:
        await store.close()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


# --- what a back-up holds -----------------------------------------------------------------------------------------


def test_a_back_up_is_for_its_owner_alone_and_says_what_it_is(data, place) -> None:
    before = os.umask(0)
    try:
        made = back_up(data, place / "copy")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in entries(place / "copy")}
    assert modes == {LEDGER: 0o600, DATA_KEY: 0o600, MANIFEST: 0o600}
    assert stat.S_IMODE((place / "copy").stat().st_mode) == 0o700
    assert files(place / "copy")[DATA_KEY] == files(data)[DATA_KEY]
    told = json.loads((place / "copy" / MANIFEST).read_text("ascii"))
    assert told.keys() == {"format", "site", "made_at", "commit_number", "sha256", "audit"}
    assert (told["site"], told["commit_number"]) == (made.site, made.commit_number) == ("A", 2)


def test_it_holds_no_sealed_key_and_nothing_of_the_anchor(data, place) -> None:
    data.with_name("data.anchor").write_text("7317317317317317\n")
    pieces = [sealed[at : at + PIECE] for sealed in SEALED for at in range(0, len(sealed), PIECE)]
    assert any(piece in files(data)[LEDGER] for piece in pieces)
    back_up(data, place / "copy")
    for folder in (place / "copy", place):
        for path in filter(Path.is_file, folder.iterdir()):
            assert not [piece for piece in pieces if piece in path.read_bytes()]
            assert b"7317317317317317" not in path.read_bytes()
    assert entries(place) == [place / "copy"]


def test_the_data_folder_is_left_as_it_is(data, place) -> None:
    before = files(data)
    back_up(data, place / "copy")
    assert files(data) == before


async def test_what_is_made_of_it_is_the_ledger_with_every_link_to_be_burned(data, copy, place, keyring) -> None:
    before = await contents_of(data)
    found, neighbours = restore(copy, place / "data")
    assert (found.site, found.commit_number, neighbours) == (SITE, 2, (B, C, D))
    after = await contents_of(place / "data")
    assert (after.streams, after.reservations) == (before.streams, before.reservations)
    assert after.peers == tuple(replace(record, must_burn=True) for record in (PEERS[0], PeerRecord(C), PEERS[1]))
    assert after.commit_number == before.commit_number + 1
    assert not {before.incarnation, before.incarnation + 1} & {after.incarnation}
    assert files(place / "data")[DATA_KEY] == files(data)[DATA_KEY]
    store = await open_store(place / "data", SITE, keyring)  # its master key opens it
    fence = (await store.start()).incarnation
    assert fence > after.incarnation
    await store.close()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (place / "data").iterdir()}
    assert {LEDGER, DATA_KEY} < set(modes)
    assert modes.pop(AUDIT) == 0o700
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((place / "data").stat().st_mode) == 0o700


async def test_the_store_of_a_site_that_never_started_is_no_first_one_again(tmp_path, place, keyring) -> None:
    """Or its site would not miss the anchor."""
    await initialise(tmp_path / "new", SITE, keyring)
    back_up(tmp_path / "new", place / "copy")
    assert restore(place / "copy", place / "data")[1] == ()
    assert not is_first((await contents_of(place / "data")).incarnation)


async def test_two_folders_made_of_one_back_up_never_share_an_incarnation(copy, place) -> None:
    for name in ("one", "two"):
        restore(copy, place / name)
    assert (await contents_of(place / "one")).incarnation != (await contents_of(place / "two")).incarnation


def test_a_back_up_is_read_without_a_trace_as_from_a_medium_that_cannot_be_written(copy, place) -> None:
    before = files(copy)
    assert before[LEDGER][18:20] == b"\x01\x01"  # no log that would have to be made beside it
    restore(copy, place / "data")
    assert files(copy) == before


def test_every_table_but_those_of_sealed_key_goes_along_whatever_it_holds(tmp_path, place, monkeypatch) -> None:
    monkeypatch.setattr(
        schema, "_TABLES", f"{schema._TABLES} CREATE TABLE more (a BLOB PRIMARY KEY, b REAL, c TEXT) STRICT;"
    )
    rows = [(bytes([number % 256, number // 256]), number / 7, None if number % 2 else "é") for number in range(5000)]
    schema.create_store(tmp_path / "store", SITE)
    connection = apsw.Connection(str(tmp_path / "store"))
    connection.executemany("INSERT INTO more VALUES (?, ?, ?)", rows)
    connection.close()
    backup.back_up_ledger(tmp_path / "store", SITE, place / "copy")
    backup.restore_ledger(place / "copy", SITE, place / "store")
    for file in (place / "copy", place / "store"):
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        assert sorted(connection.execute("SELECT * FROM more")) == sorted(rows)
        connection.close()


# --- registered SAEs ------------------------------------------------------------------------------------------------


@pytest.fixture
def registered(data: Path) -> Path:
    """The data folder, with SAEs that were registered, and one that is leaving."""
    register = SaeRegister(data / SAES)
    register.add(SaeId("sae:anna"), None)
    register.begin_removal(SaeId("sae:arno"))
    return data


def test_registered_saes_go_along(registered, place) -> None:
    made = back_up(registered, place / "copy")
    assert set(made.sha256) == {LEDGER, DATA_KEY, SAES}
    assert stat.S_IMODE((place / "copy" / SAES).stat().st_mode) == 0o600
    SaeRegister(registered / SAES).add(SaeId("sae:anton"), None)
    restore(place / "copy", place / "data")
    found = SaeRegister(place / "data" / SAES)
    assert (list(found), found.leaving) == (["sae:anna"], {"sae:arno"})
    assert stat.S_IMODE((place / "data" / SAES).stat().st_mode) == 0o600


def test_a_back_up_of_none_is_restored_to_none(copy, place) -> None:
    assert set(json.loads((copy / MANIFEST).read_text())["sha256"]) == {LEDGER, DATA_KEY}
    (copy / SAES).write_text("what the manifest does not know is not taken along")
    restore(copy, place / "data")
    assert not (place / "data" / SAES).exists()


def test_a_damaged_register_is_neither_backed_up_nor_restored(registered, place) -> None:
    back_up(registered, place / "copy")
    whole = (place / "copy" / SAES).read_bytes()
    for at in range(len(whole)):
        (place / "copy" / SAES).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreError, match=r"saes\.json is damaged: it is not what `qss backup` wrote"):
            restore(place / "copy", place / "data")
    (place / "copy" / SAES).unlink()
    with pytest.raises(StoreUnavailable, match="use another back-up"):
        restore(place / "copy", place / "data")
    (registered / SAES).write_bytes(whole[:-5])
    with pytest.raises(StoreError, match=r"data/saes\.json is damaged; restore it from a back-up, or remove it"):
        back_up(registered, place / "another")
    assert entries(place) == [place / "copy"]


# --- a node that runs ---------------------------------------------------------------------------------------------


async def test_whoever_has_the_store_open_commits_meanwhile_and_the_back_up_is_of_one_moment(
    data, place, monkeypatch
) -> None:
    reading, go_on = threading.Event(), threading.Event()
    rows = backup._rows

    def slowly(*arguments):
        yield from rows(*arguments)
        reading.set()
        assert go_on.wait(10)

    monkeypatch.setattr(backup, "_rows", slowly)
    store = SqliteStore(data / LEDGER, SITE, erasure_delay_s=0.05)
    fence = (await store.start()).incarnation
    making = asyncio.create_task(asyncio.to_thread(back_up, data, place / "copy"))
    try:
        assert await asyncio.to_thread(reading.wait, 10)
        async with asyncio.timeout(5):
            assert await store.commit([PutStream(replace(stream_record(1, version=2, head=64, mark=99)))], fence) == 3
            assert await store.commit([DropBlock(stream_id(1), 0)], fence) == 4
    finally:
        go_on.set()
        made = await making
    assert made.commit_number == 2
    restore(place / "copy", place / "data")
    assert (await contents_of(place / "data")).streams[0] == BATCH[0].record
    async with asyncio.timeout(10):  # and what was erased meanwhile leaves the store's files
        while any(SEALED[0][:PIECE] in content for content in files(data).values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await store.close()


async def test_what_a_crash_left_in_the_log_is_backed_up(data, tmp_path, place) -> None:
    store = SqliteStore(data / LEDGER, SITE)
    fence = (await store.start()).incarnation
    await store.commit([PutStream(stream_record(1, version=2, mark=77))], fence)
    shutil.copytree(data, tmp_path / "crashed")
    await store.close()
    assert (tmp_path / "crashed" / f"{LEDGER}-wal").stat().st_size
    back_up(tmp_path / "crashed", place / "copy")
    restore(place / "copy", place / "data")
    assert (await contents_of(place / "data")).streams[0].mark == 77


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [back_up, restore])
def test_what_is_there_is_left_as_it_is(data, copy, place, make) -> None:
    source = data if make is back_up else copy
    (place / "there").mkdir()
    (place / "there" / "thesis.tex").write_bytes(b"ten years")
    (place / "file").write_bytes(b"a file")
    for target, says in (
        (place / "there", "is not empty and is left as it is; choose another place"),
        (place / "file", "is no folder; choose another place"),
        (place / "no" / "where", "make it first: `mkdir -p"),
        (data, "is not empty and is left as it is"),
        (copy, "is not empty and is left as it is"),
        (source / "inside", "lies in .*; choose a place outside it"),
    ):
        before = files(data), files(copy)
        with pytest.raises(StoreError, match=says):
            make(source, target)
        assert (files(data), files(copy)) == before
    assert files(place / "there") == {"thesis.tex": b"ten years"}
    assert sorted(path.name for path in place.iterdir()) == ["file", "there"]


def test_what_is_no_data_folder_is_not_backed_up(data, copy, place) -> None:
    (place / "empty").mkdir()
    for folder, says in (
        (place / "gone", r"is no data folder: it has no data-key\.json"),
        (place / "empty", r"is no data folder: it has no data-key\.json"),
        (data / LEDGER, r"is no data folder: it has no data-key\.json"),
        (copy, r"is a back-up, and no store; make a data folder of it with `qss restore .*/copy DIR`"),
    ):
        with pytest.raises(StoreError, match=says):
            back_up(folder, place / "copy")
    (data / LEDGER).unlink()
    with pytest.raises(StoreError, match="cannot be opened"):
        back_up(data, place / "copy")
    assert entries(place) == [place / "empty"]


def test_what_is_no_back_up_is_not_restored(data, place) -> None:
    (place / "empty").mkdir()
    for folder in (place / "gone", place / "empty", data, data / LEDGER):
        with pytest.raises(StoreError, match=r"is no back-up: it has no back-up\.json; name a folder that"):
            restore(folder, place / "data")
    assert entries(place) == [place / "empty"]


async def test_no_site_starts_on_a_back_up(copy, keyring) -> None:
    with pytest.raises(StoreError, match="is a back-up, and no store; make a data folder of it with `qss restore"):
        await open_store(copy, SITE, keyring)


def test_a_back_up_of_another_release_is_refused(data, copy, place, monkeypatch) -> None:
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 99)
    with pytest.raises(StoreError, match="this release reads layout 99; run the release that made it"):
        restore(copy, place / "data")
    with pytest.raises(StoreError, match="this release reads layout 99; run the release that made it"):
        back_up(data, place / "copy")
    monkeypatch.undo()
    manifest = copy / MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoreError, match="has format 2, this release reads 1; run the release that made it"):
        restore(copy, place / "data")
    assert entries(place) == []


def test_a_store_that_another_program_changed_is_refused(data, place) -> None:
    connection = apsw.Connection(str(data / LEDGER))
    connection.execute("CREATE TABLE notes (note TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="has other tables than this release makes"):
        back_up(data, place / "copy")
    assert entries(place) == []


async def test_a_ledger_beside_the_data_key_of_another_site_is_refused(data, tmp_path, place, keyring) -> None:
    await initialise(tmp_path / "other", B, keyring)
    (data / DATA_KEY).write_bytes((tmp_path / "other" / DATA_KEY).read_bytes())
    with pytest.raises(StoreError, match="belongs to site A, and the data key beside it to site B"):
        back_up(data, place / "copy")
    assert entries(place) == []


def test_a_damaged_data_key_is_not_backed_up(data, place) -> None:
    whole = (data / DATA_KEY).read_text()
    for content in (whole.replace("qss1:", "qss1:x", 1), whole[:-20], ""):
        (data / DATA_KEY).write_text(content)
        with pytest.raises(StoreError, match="is damaged; restore"):
            back_up(data, place / "copy")
    assert entries(place) == []


def test_a_damaged_store_is_not_backed_up(data, place) -> None:
    whole = (data / LEDGER).read_bytes()
    page = 4096
    for number in (1, 2, 3, 4):
        (data / LEDGER).write_bytes(whole[: page * number] + os.urandom(page) + whole[page * (number + 1) :])
        with pytest.raises(StoreError, match="is damaged"):
            back_up(data, place / "copy")
    (data / LEDGER).write_bytes(os.urandom(page))
    with pytest.raises(StoreError, match="is no qss store, or its beginning is damaged"):
        back_up(data, place / "copy")
    assert entries(place) == []


def test_rows_that_make_no_sense_are_not_backed_up(data, place) -> None:
    connection = apsw.Connection(str(data / LEDGER))
    connection.execute("UPDATE peers SET past_burned_bits = '{\"mislaid\": 7}'")
    connection.close()
    with pytest.raises(StoreError, match="is damaged, and nothing was made of it; use an earlier back-up"):
        back_up(data, place / "copy")
    assert entries(place) == []


@pytest.mark.parametrize("name", [LEDGER, DATA_KEY])
def test_a_back_up_with_any_bit_changed_is_refused(copy, place, name) -> None:
    whole = (copy / name).read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 100)):
        (copy / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreError, match="is damaged: it is not what `qss backup` wrote; use another back-up"):
            restore(copy, place / "data")
    (copy / name).unlink()
    with pytest.raises(StoreUnavailable, match=r"cannot be read \(No such file or directory\); use another back-up"):
        restore(copy, place / "data")
    assert entries(place) == []


def test_a_manifest_that_lacks_its_end_or_says_something_else_is_refused(copy, place) -> None:
    whole = (copy / MANIFEST).read_text("ascii")
    others = ["[]", "7", "null", "{}", "[" * 60_000]
    others += [whole[:size] for size in range(len(whole.rstrip()))]
    others += [
        whole.replace('"site": "A"', f'"site": {site}') for site in ('"B"', '""', "7", '"\\u001b[31m"', "null", "[]")
    ]
    others += [
        whole.replace('"made_at": "2', f'"made_at": {start}') for start in ('"\\u001b[31m2', '"x2', '[], "x": "')
    ]
    for text in others:
        (copy / MANIFEST).write_text(text, "ascii")
        with pytest.raises(StoreError, match=r"back-up\.json is damaged"):
            restore(copy, place / "data")
    assert entries(place) == []


# --- a failing disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def disk(registered: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    return FailingDisk(monkeypatch)


@pytest.mark.parametrize("make", [back_up, restore])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_whichever_step_the_disk_refuses_nothing_is_left(disk, data, copy, place, make, code) -> None:
    source = data if make is back_up else copy
    told: list[str] = []
    for step in range(100):
        disk.arm(step, OSError(code, os.strerror(code), "a-file"))
        try:
            make(source, place / "made")
        except (StoreError, StoreUnavailable) as error:
            told.append(str(error))
            assert entries(place) == [], f"step {step}: {disk.taken}"
        else:
            break
    assert not disk.failed  # no failure was passed over
    disk.disarm()
    assert len(told) > 5
    assert [text for text in told if os.strerror(code) not in text or "check the" not in text] == []


@pytest.mark.parametrize("make", [back_up, restore])
async def test_a_disk_that_is_full_for_the_ledger_leaves_nothing(data, copy, place, make) -> None:
    told = []
    for room in range(0, 400_000, 8192):
        with at_most(room):
            try:
                make(data if make is back_up else copy, place / "made")
            except (StoreError, StoreUnavailable) as error:
                told.append(str(error))
                assert entries(place) == []
            else:
                break
    assert len(told) > 2
    assert [text for text in told if "check the" not in text.lower()] == []
    if make is back_up:
        restore(place / "made", place / "data")
    assert (await contents_of(place / ("data" if make is back_up else "made"))).reservations


@pytest.mark.parametrize("make", [back_up, restore])
async def test_whenever_the_power_goes_a_folder_of_that_name_is_whole(disk, data, copy, place, make) -> None:
    for step in range(100):
        disk.arm(step, PowerCut())
        try:
            make(data if make is back_up else copy, place / "made")
        except PowerCut:
            disk.disarm()
        assert all(left == place / "made" or left.name.endswith(".making") for left in entries(place))
        if (place / "made").is_dir():
            break
    disk.disarm()
    assert step > 5
    if make is back_up:
        restore(place / "made", place / "data")
    assert (await contents_of(place / ("data" if make is back_up else "made"))).peers[0].must_burn


@pytest.mark.parametrize("make", [back_up, restore])
def test_what_it_holds_is_durable_before_its_name_is(disk, data, copy, place, make) -> None:
    disk.disarm()
    make(data if make is back_up else copy, place / "made")
    before = disk.synced[: disk.taken[: disk.taken.index("rename")].count("fsync")]
    ours = {path.stat().st_ino for path in (place / "made").iterdir() if path.name != LEDGER}  # that one is SQLite's
    assert {*ours, (place / "made").stat().st_ino} <= set(before)
    assert disk.synced[-1] == place.stat().st_ino
