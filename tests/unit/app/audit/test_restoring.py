"""A restored site: its audit log begins anew, and names where the old one stood; nothing goes on from there twice."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
from pathlib import Path

import pytest

from qss.adapters.keyrings.key_file import key_file_ring, make_key_file
from qss.app.audit.segments import AUDIT
from qss.app.audit.verification import verify
from qss.app.backup import MANIFEST, back_up, restore
from qss.app.data_folder import initialise
from qss.model.errors import AuditLogDamaged, StoreError
from qss.wire import audit as wire
from support.audit_logs import A, AuditedSite, made_site


@pytest.fixture
def site(tmp_path: Path) -> AuditedSite:
    """A site with a data folder and an audit log, of which something is written but not yet signed."""
    made = made_site(tmp_path)
    make_key_file(tmp_path / "master")
    asyncio.run(initialise(made.data, A, key_file_ring(tmp_path / "master")))
    made.write("keys recalled")
    made.write("exchange stopped")
    return made


def restored(site: AuditedSite, place: Path) -> AuditedSite:
    """The same site, in another folder and for itself."""
    place.mkdir()
    restore(site.folder / "copy", place / "A.data")
    return AuditedSite(place, site.pki, clock=site.clock)


def test_a_back_up_says_where_the_log_stands_and_has_no_record_of_it(site: AuditedSite) -> None:
    made = back_up(site.data, site.folder / "copy")
    assert made.audit == site.verify().last
    told = json.loads((site.folder / "copy" / MANIFEST).read_text())
    assert made.audit is not None
    assert told["audit"] == {"chain": made.audit.chain, "seq": 4, "hash": made.audit.hash}
    assert not (site.folder / "copy" / AUDIT).exists()
    assert not [path for path in (site.folder / "copy").iterdir() if b"keys recalled" in path.read_bytes()]


def test_a_line_that_is_being_written_is_none_yet(site: AuditedSite) -> None:
    before = site.verify().last
    with site.files()[0].open("ab") as file:
        file.write(b'{"kind":"event","seq":5,')
    assert back_up(site.data, site.folder / "copy").audit == before


@pytest.mark.parametrize("content", [b"", b"\n", b"no log\n", b'{"kind":"stop"}\n'])
def test_a_log_that_cannot_be_read_keeps_nobody_from_a_back_up(site: AuditedSite, content: bytes) -> None:
    site.files()[0].write_bytes(content)
    assert back_up(site.data, site.folder / "copy").audit is None
    again = restored(site, site.folder / "again")
    again.write("one")
    assert again.verify().began == [again.records()[0]]


def test_a_restored_site_begins_a_chain_that_names_the_old_ones_last_record(site: AuditedSite) -> None:
    known = back_up(site.data, site.folder / "copy").audit
    site.write("after the back-up")
    site.stop()
    old = site.verify()
    again = restored(site, site.folder / "again")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (again.log, *again.files())] == [0o700, 0o600]
    begin = again.records()[0]
    assert isinstance(begin, wire.Begin)
    assert (begin.because, begin.site, begin.follows) == ("restored", "A", known)
    again.write("one")
    again.stop()
    found = again.verify()
    assert (found.began, found.events, found.crashes) == ([begin], 1, 0)
    assert found.last is not None
    assert old.last is not None
    assert found.last.chain != old.last.chain
    assert site.verify() == old  # it is as it was

    assert known is not None
    site.verify((known.seq, known.hash))  # the old log has what the new one follows
    with pytest.raises(AuditLogDamaged, match="is not there as it was noted"):
        again.verify((known.seq, known.hash))


def test_two_restores_of_one_back_up_begin_two_chains(site: AuditedSite) -> None:
    back_up(site.data, site.folder / "copy")
    begun = [restored(site, site.folder / name).records()[0] for name in ("one", "two")]
    chains = {begin.chain for begin in begun if isinstance(begin, wire.Begin)}
    assert len(chains) == 2


def test_a_back_up_without_a_log_is_restored_to_one_that_follows_nothing(site: AuditedSite) -> None:
    shutil.rmtree(site.log)
    assert back_up(site.data, site.folder / "copy").audit is None
    begin = restored(site, site.folder / "again").records()[0]
    assert isinstance(begin, wire.Begin)
    assert (begin.because, begin.follows) == ("restored", None)


def test_a_back_up_of_before_says_nothing_of_the_log(site: AuditedSite) -> None:
    back_up(site.data, site.folder / "copy")
    manifest = site.folder / "copy" / MANIFEST
    told = json.loads(manifest.read_text())
    for audit in ({}, {"chain": "x"}, 7, "here", {"chain": "0" * 32, "seq": -1, "hash": "0" * 64}):
        manifest.write_text(json.dumps(told | {"audit": audit}))
        with pytest.raises(StoreError, match=r"back-up\.json is damaged"):
            restore(site.folder / "copy", site.folder / "again")
    del told["audit"]
    manifest.write_text(json.dumps(told))
    assert restore(site.folder / "copy", site.folder / "again")[0].audit is None


def test_a_copy_of_the_log_is_checked_by_itself(site: AuditedSite, tmp_path: Path) -> None:
    shutil.copytree(site.log, tmp_path / "elsewhere")
    found = verify(tmp_path / "elsewhere", site.pki.authority)
    assert found == site.verify()


def test_the_old_log_in_the_place_of_the_new_one_goes_on(site: AuditedSite) -> None:
    """It was saved from the old disk: its own last record is the true one, and nothing else goes on from there."""
    back_up(site.data, site.folder / "copy")
    site.write("after the back-up")
    site.die()
    again = restored(site, site.folder / "again")
    shutil.rmtree(again.log)
    shutil.copytree(site.log, again.log)
    again.write("one")
    assert again.events() == ["keys recalled", "exchange stopped", "after the back-up", "one"]
    assert again.verify().began == []
