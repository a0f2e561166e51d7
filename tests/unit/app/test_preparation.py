"""What is looked at before a start: each thing that would end it is refused, and nothing is changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from click.testing import CliRunner

from qss.adapters.stores.sqlite import SqliteStore, create_store, take_lock
from qss.app.data_folder import LEDGER
from qss.app.preparation import prepare
from qss.app.sae_register import SAES
from qss.cli.main import main
from qss.model.errors import KeyRingError, PkiError, QssError, StoreDamaged, StoreError, StoreUnavailable
from qss.model.identifiers import QksId
from qss.pki.contexts import check_site
from qss.pki.folder import Pair
from support.network import qss
from support.one_site import Place, made_place
from support.pki import Pki


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    return await made_place(tmp_path)


async def test_a_site_that_can_start(place: Place) -> None:
    before = place.files()
    prepared = await prepare(place.configuration())
    assert prepared.certificate_expires == check_site(place.pki.site("A").certificate, QksId("A"))
    assert prepared.notes == ()
    assert place.files() == before


async def test_a_routing_module_at_a_host_that_its_certificate_does_not_name_is_refused(place: Place) -> None:
    def at(host: str):
        return place.configuration(("[[saes]]", f'[routing]\nprocess = "{host}:8448"\n[[saes]]'))

    await prepare(at("localhost"))
    with pytest.raises(PkiError, match=r"routing\.process: .*A\.pem does not name 'example\.org'"):
        await prepare(at("example.org"))


async def test_a_store_in_use_is_looked_at_and_not_disturbed(place: Place) -> None:
    store = SqliteStore(place.folder / "A.data" / LEDGER, QksId("A"), erasure_delay_s=60.0)
    await store.start()
    try:
        before = place.files()
        status, out, err = await asyncio.to_thread(check_apart, place)
        assert (status, err) == (0, "")
        assert out.endswith("can be used\n")
        assert place.files() == before
    finally:
        await store.close()


async def test_a_store_whose_log_was_moved_in_part_is_left_to_the_start(place: Place) -> None:
    ledger = place.folder / "A.data" / LEDGER
    with ledger.open("r+b") as file:
        file.truncate(ledger.stat().st_size - 16384)
    log = ledger.with_name(f"{LEDGER}-wal")
    log.write_bytes(b"a log")
    await prepare(place.configuration())
    log.write_bytes(b"")
    with pytest.raises(StoreError, match="is damaged; restore the data folder from a back-up"):
        await prepare(place.configuration())


def check_apart(place: Place) -> tuple[int, str, str]:
    """Check in a process of its own, as beside a node."""
    place.configuration()
    ran = qss("node", "--config", place.folder / "A.toml", "--check")
    return ran.returncode, ran.stdout, ran.stderr


async def test_a_data_folder_that_others_can_enter_is_noted(place: Place) -> None:
    (place.folder / "A.data").chmod(0o750)
    note = (await prepare(place.configuration())).notes[-1]
    data = place.folder / "A.data"
    assert note == f"others than its owner can enter the data folder {data} (mode 0750): `chmod 700 {data}`"


async def test_a_disk_that_is_almost_full_is_noted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    room = SimpleNamespace(f_bavail=4095, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    data = place.folder / "A.data"
    note = (await prepare(place.configuration())).notes[-1]
    assert note == f"the disk of {data} has 16380 KiB free: make room; a full one keeps a node from starting"
    room.f_bavail = 4096
    assert not any("KiB free" in note for note in (await prepare(place.configuration())).notes)


async def test_an_audit_log_that_cannot_be_written_is_noted_and_keeps_no_site_from_starting(place: Place) -> None:
    audit = place.folder / "A.data" / "audit"
    before = (await prepare(place.configuration())).notes
    audit.mkdir(mode=0o700)
    assert (await prepare(place.configuration())).notes == before
    audit.rmdir()
    audit.write_text("no folder")
    note = (await prepare(place.configuration())).notes[-1]
    assert note == f"the audit log {audit} cannot be written: see that it is a folder, and to its owner and mode (0700)"


def issue_another(place: Place) -> None:
    place.pki.site("B")


def open_key(place: Place) -> None:
    place.pki.site("A").key.chmod(0o644)


def another_master(place: Place) -> None:
    (place.folder / "A.master").write_bytes(os.urandom(32))


def no_ledger(place: Place) -> None:
    (place.folder / "A.data" / LEDGER).unlink()


def not_mounted(place: Place) -> None:
    (place.folder / "anchors" / "A").write_bytes(b"7\n")
    (place.folder / "A.data").rename(place.folder / "volume")
    (place.folder / "A.data").mkdir()


def not_mounted_and_new(place: Place) -> None:
    not_mounted(place)
    (place.folder / "anchors" / "A").unlink()


def no_anchors(place: Place) -> None:
    (place.folder / "anchors").rmdir()


def garbled_anchor(place: Place) -> None:
    (place.folder / "anchors" / "A").write_bytes(b"\0\0\0\0")


def foreign_certificate(place: Place) -> None:
    stranger = Pki(place.folder / "stranger").site("A")
    for ours, theirs in zip(pair_files(place.pki.site("A")), pair_files(stranger), strict=True):
        theirs.replace(ours)


def expired_certificate(place: Place) -> None:
    for ours, expired in zip(pair_files(place.pki.site("A")), pair_files(place.pki.expired_site("A")), strict=True):
        expired.replace(ours)


def pair_files(pair: Pair) -> tuple[Path, Path]:
    return pair.certificate, pair.key


def another_sites_ledger(place: Place) -> None:
    no_ledger(place)
    create_store(place.folder / "A.data" / LEDGER, QksId("B"))


def another_releases_ledger(place: Place) -> None:
    change_ledger(place, "PRAGMA user_version=99")


def no_ledger_of_ours(place: Place) -> None:
    change_ledger(place, "PRAGMA application_id=1")


def garbled_ledger(place: Place) -> None:
    (place.folder / "A.data" / LEDGER).write_bytes(b"no database" * 1000)


def empty_ledger(place: Place) -> None:
    (place.folder / "A.data" / LEDGER).write_bytes(b"")


def change_ledger(place: Place, change: str) -> None:
    connection = apsw.Connection(str(place.folder / "A.data" / LEDGER))
    connection.execute(change)
    connection.close()


def garbled_saes(place: Place) -> None:
    (place.folder / "A.data" / SAES).write_bytes(b"no list")


BROKEN: list[tuple[Callable[[Place], None], tuple[str, str], type[QssError], str]] = [
    (issue_another, ("sites/A", "sites/B"), PkiError, r"B\.pem is a certificate of site B, not A"),
    (open_key, ("", ""), PkiError, "chmod 600"),
    (another_master, ("", ""), KeyRingError, "does not open this data key"),
    (no_ledger, ("", ""), StoreError, "there is no store at"),
    (foreign_certificate, ("", ""), PkiError, r"A\.pem is refused by whoever trusts .*ca\.pem, as neighbours do \("),
    (expired_certificate, ("", ""), PkiError, "the certificate expired on .*; get a new one"),
    (
        garbled_saes,
        ("", ""),
        StoreError,
        r"saes\.json is damaged; restore it from a back-up, or remove it and register",
    ),
    (another_sites_ledger, ("", ""), StoreError, "belongs to site B, not A; name that site's own data folder"),
    (another_releases_ledger, ("", ""), StoreError, r"has layout 99, this release reads layout \d+; run the"),
    (no_ledger_of_ours, ("", ""), StoreError, "is no qss store; name the right data folder"),
    (empty_ledger, ("", ""), StoreDamaged, "is empty: what was in it is lost; restore the data folder from a back-up"),
    (garbled_ledger, ("", ""), StoreError, "is no qss store, or its beginning is damaged; restore the data folder"),
    (
        not_mounted,
        ("", ""),
        StoreError,
        r"A\.data has no data-key\.json, but this site has run before: .*Mount the data",
    ),
    (not_mounted_and_new, ("", ""), StoreError, r"is no data folder: .*look first whether it is mounted.*`qss init "),
    (no_anchors, ("", ""), StoreError, "there is no folder .*anchors for the anchor; make it, mount it, or"),
    (garbled_anchor, ("", ""), StoreError, "remove it: all key gathered so far is then burned"),
]


@pytest.mark.parametrize(("spoil", "change", "kind", "says"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
async def test_what_would_end_a_start_is_refused_and_nothing_is_changed(
    place: Place,
    spoil: Callable[[Place], None],
    change: tuple[str, str],
    kind: type[QssError],
    says: str,
) -> None:
    spoil(place)
    before = place.files()
    with pytest.raises(kind, match=says):
        await prepare(place.configuration(change))
    assert place.files() == before


async def test_an_anchor_that_cannot_be_kept_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "anchors" and real(path, mode))
    with pytest.raises(StoreUnavailable, match=r"the anchor's folder .*anchors cannot be written"):
        await prepare(place.configuration())


@pytest.mark.parametrize("name", ["", LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", f"{LEDGER}.lock"])
async def test_a_store_that_cannot_be_written_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = place.folder / "A.data" / name
    if name not in {"", LEDGER}:
        file.touch()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != file and real(path, mode))
    with pytest.raises(StoreUnavailable, match=rf"{file} cannot be written; check its owner and mode \(0[67]00\)"):
        await prepare(place.configuration())


def check(place: Place) -> tuple[int, str, str]:
    ran = CliRunner().invoke(main, ["node", "--config", str(place.folder / "A.toml"), "--check"])
    return ran.exit_code, ran.stdout, ran.stderr


def test_check_says_what_it_found(place: Place) -> None:
    place.configuration()
    (place.folder / "A.data").chmod(0o755)
    status, out, err = check(place)
    lines = out.splitlines()
    assert (status, err, len(lines)) == (0, "", 3)
    assert lines[0].endswith(f"`chmod 700 {place.folder / 'A.data'}`")
    assert lines[1].startswith("note: the certificate ends on ")  # the tests' certificates live ten days
    assert lines[2] == f"{place.folder / 'A.toml'} can be used"

    os.close(take_lock(place.folder / "A.data" / "ledger.sqlite"))  # as a process that has run does
    assert "the anchor" in check(place)[1]
    assert "a start burns all key that it has" in check(place)[1]

    no_anchors(place)
    status, out, err = check(place)
    assert (status, out) == (1, "")
    assert err.startswith("qss: there is no folder ")


LINK = """
[[links]]
peer = "C"
uuid = "0b0a6c0e-52c4-4f4f-9d80-6a8a3b1f2c02"
address = "c.example.net:8444"

[links.device]
address = "box.example.net:443"
certificate = "pki/saes/sae_one.pem"
key = "pki/saes/sae_one.key"
authority = "pki/ca.pem"
"""


async def test_couriered_key_that_cannot_be_used_is_noted_and_keeps_no_site_from_starting(place: Place) -> None:
    table = LINK[: LINK.index("[links.device]")] + 'device = { type = "file", path = "courier" }\n'
    configuration = place.configuration(("[[saes]]", f"{table}\n[[saes]]"))
    notes = (await prepare(configuration)).notes
    (note,) = (note for note in notes if note.startswith("links[0].device: "))
    assert str(place.folder / "courier") in note
    (place.folder / "courier").write_bytes(bytes(5000))
    (place.folder / "courier").chmod(0o600)
    assert not [note for note in (await prepare(configuration)).notes if note.startswith("links[")]


@pytest.mark.parametrize(
    "kind",
    [
        'type = "etsi014"\nside = "slave"\nown_sae = "sae:one"\nother_sae = "sae:two"',
        'type = "etsi004"\nsource = "app:one"\ndestination = "app:two"',
    ],
    ids=["etsi014", "etsi004"],
)
async def test_the_certificate_for_a_vendors_box_is_looked_at(place: Place, kind: str) -> None:
    configuration = place.configuration(("[[saes]]", f"{LINK}{kind}\n[[saes]]"))
    with pytest.raises(PkiError, match=r"links\[0\]\.device: .*sae_one\.pem"):
        await prepare(configuration)
    own = place.pki.sae("sae:one")
    assert own.certificate == place.folder / "pki" / "saes" / "sae_one.pem"
    await prepare(configuration)
    own.key.chmod(0o644)
    with pytest.raises(PkiError, match=r"links\[0\]\.device: .*sae_one\.key"):
        await prepare(configuration)
