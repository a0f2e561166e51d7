"""The writing of an audit log: checkpoints in time, segments that follow each other, crashes, and disks that fail."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from itertools import count, pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from qss.app.audit import scribe as scribes
from qss.app.audit.anchor import AuditAnchor
from qss.app.audit.chain import MAX_UNSIGNED
from qss.app.audit.scribe import CHECKPOINT_S
from qss.app.audit.segments import segment_file
from qss.model.errors import AuditLogDamaged, PkiError, StoreError, StoreInUse
from qss.model.identifiers import QksId
from qss.pki.statements import Signer
from qss.wire import audit as wire
from support.audit_logs import AuditedSite, made_site
from support.failing_disk import FailingDisk, PowerCut, at_most


@pytest.fixture
def site(tmp_path: Path) -> AuditedSite:
    return made_site(tmp_path)


def begins(site: AuditedSite) -> list[wire.Begin]:
    return [record for record in site.records() if isinstance(record, wire.Begin)]


# --- pages and checkpoints ------------------------------------------------------------------------------------------


def test_a_log_is_for_its_owner_alone(site: AuditedSite) -> None:
    before = os.umask(0)
    try:
        site.write("keys recalled")
    finally:
        os.umask(before)
    assert stat.S_IMODE(site.log.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in [*site.files(), site.data / "audit.lock"]} == {0o600}


def test_a_start_and_a_stop_are_told_and_signed(site: AuditedSite) -> None:
    site.write()
    assert site.kinds() == ["begin", "start", "checkpoint"]
    site.stop()
    assert site.kinds()[3:] == ["stop", "checkpoint"]
    site.write()
    assert site.kinds()[5:] == ["start", "checkpoint"]
    assert [record.clean for record in site.records() if isinstance(record, wire.Start)] == [True, True]
    assert site.verify().crashes == 0


def test_no_record_of_a_page_is_later_than_its_checkpoint(site: AuditedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribes, "SEGMENT_BYTES", 1)
    site.keep_bytes = 1
    seconds = count()
    monkeypatch.setattr(site.start(), "_clocks", lambda: (site.clock[0], site.clock[1] + next(seconds)))
    for number in range(3):
        site.write(str(number))
    site.stop()
    times = [record.at for record in site.records()]
    assert {"removed", "stop"} <= set(site.kinds())
    assert times == sorted(times)


def test_a_checkpoint_comes_ten_seconds_after_the_first_record_and_not_before(site: AuditedSite) -> None:
    site.write()
    assert site.scribe is not None
    assert site.scribe.due_in() is None
    site.write("one")
    assert site.scribe.due_in() == CHECKPOINT_S
    site.clock[0] += CHECKPOINT_S - 1
    site.write("two")
    assert site.scribe.due_in() == 1
    assert site.kinds()[-2:] == ["event", "event"]
    site.clock[0] += 1
    assert site.scribe.due_in() == 0
    site.write()
    assert site.kinds()[-1] == "checkpoint"
    assert site.scribe.due_in() is None
    site.write()
    assert site.kinds().count("checkpoint") == 2
    assert site.verify().unsigned == 0


def test_a_checkpoint_comes_after_so_many_records_also_within_one_page(site: AuditedSite) -> None:
    site.write(*map(str, range(3 * MAX_UNSIGNED)))
    for number in range(MAX_UNSIGNED + 1):
        site.write(str(number))
    places = [number for number, kind in enumerate(site.kinds()) if kind == "checkpoint"]
    assert max(later - earlier for earlier, later in pairwise(places)) == MAX_UNSIGNED + 1
    assert len(site.events()) == 4 * MAX_UNSIGNED + 1
    site.verify()


def test_the_last_checkpoint_is_known(site: AuditedSite) -> None:
    scribe = site.start()
    assert scribe.checkpoint is None
    site.write("one")
    assert scribe.checkpoint == site.verify().checkpoint
    site.write("two")
    assert scribe.checkpoint == site.verify().checkpoint
    site.clock[0] += CHECKPOINT_S
    site.write()
    assert scribe.checkpoint == site.verify().checkpoint == site.verify().last


def test_only_one_process_writes(site: AuditedSite) -> None:
    site.write("one")
    other = AuditedSite(site.folder, site.pki, clock=site.clock)
    with pytest.raises(StoreInUse):
        other.write("two")
    before = site.kinds()
    site.die()
    other.write("two")
    assert site.kinds()[: len(before)] == before
    assert site.events() == ["one", "two"]


def test_certificates_that_no_line_has_room_for_are_refused(site: AuditedSite, tmp_path: Path) -> None:
    pair = site.pki.site("A")
    (tmp_path / "many.pem").write_bytes(pair.certificate.read_bytes() * 200)
    with pytest.raises(PkiError, match="the certificates of A are larger than 65536 bytes together: leave its own in"):
        scribes.Scribe(
            site.data,
            QksId("A"),
            Signer(tmp_path / "many.pem", pair.key),
            1 << 30,
            lambda: (0, 0),
            AuditAnchor(site.anchor, has_run=False),
        )


def test_a_certificate_that_has_been_renewed_or_has_ended_is_good_for_its_own_time(site: AuditedSite) -> None:
    site.clock[1] += 9 * 86_400  # it is good for ten days
    site.write("one")
    assert site.verify().events == 1
    site.clock[1] += 2 * 86_400
    site.write(*map(str, range(MAX_UNSIGNED)))
    with pytest.raises(AuditLogDamaged, match=r"this checkpoint is not the site's: .* does not stand for"):
        site.verify()


# --- segments -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are followed by others after four kilobytes."""
    monkeypatch.setattr(scribes, "SEGMENT_BYTES", 4096)


@pytest.mark.usefixtures("small")
def test_a_chain_goes_on_across_segments(site: AuditedSite) -> None:
    for number in range(100):
        site.write(str(number), "more")
    site.stop()
    assert len(site.files()) > 4
    assert [path.name for path in site.files()][:2] == ["000001.jsonl", "000002.jsonl"]
    assert max(path.stat().st_size for path in site.files()) < 4096 + 3000
    assert site.kinds().count("begin") == 1
    assert len(site.events()) == 200
    found = site.verify()
    assert (found.records, found.segments) == (len(site.records()), len(site.files()))


@pytest.mark.usefixtures("small")
def test_a_start_finds_its_place_wherever_a_segment_ends(site: AuditedSite) -> None:
    for number in range(60):
        site.write(str(number))
        site.die()
    assert site.events() == list(map(str, range(60)))
    found = site.verify()
    assert (found.crashes, found.segments) == (59, len(site.files()))


@pytest.mark.parametrize("written", [*range(MAX_UNSIGNED - 2, MAX_UNSIGNED + 2), 10])
@pytest.mark.parametrize("crash", [False, True])
def test_no_segment_and_no_crash_makes_a_checkpoint_come_too_late(
    site: AuditedSite, monkeypatch: pytest.MonkeyPatch, written: int, crash: bool
) -> None:
    """The last segment alone does not tell how much has no checkpoint yet."""
    site.write()
    site.write(*map(str, range(written)))
    monkeypatch.setattr(scribes, "SEGMENT_BYTES", 1)
    site.write("next")
    monkeypatch.undo()
    if crash:
        site.die()
    site.write(*map(str, range(MAX_UNSIGNED - 2)))
    site.verify()
    site.write(*map(str, range(MAX_UNSIGNED)))
    site.verify()


@pytest.mark.usefixtures("small")
def test_old_segments_make_room_and_the_log_says_so(site: AuditedSite) -> None:
    site.keep_bytes = 20_000
    for number in range(200):
        site.write(str(number), "more")
        assert sum(path.stat().st_size for path in site.files()) < 20_000 + 4096 + 3000
    site.stop()
    assert site.files()[0].name != "000001.jsonl"
    events = site.events()
    assert events == [each for number in range(200) for each in (str(number), "more")][-len(events) :]
    found = site.verify()
    assert found.removed_before == int(site.files()[0].stem)
    last = found.last
    assert last is not None
    site.verify((last.seq, last.hash))
    with pytest.raises(AuditLogDamaged, match=r"the log begins with record \d+ now: note a later one"):
        site.verify((5, "0" * 64))


@pytest.mark.usefixtures("small")
def test_a_segment_that_cannot_be_removed_is_tried_again_with_the_next(
    site: AuditedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.keep_bytes = 20_000
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no")))
        for number in range(100):
            site.write(str(number), "more")
    assert {log["event"] for log in logs} == {
        "old segments of the audit log cannot be removed",
        "how far the audit log has come cannot be noted outside its folder",  # that takes an unlink as well
    }
    assert site.files()[0].name == "000001.jsonl"
    site.verify()
    site.clock[0] += CHECKPOINT_S
    site.write(*map(str, range(20)))
    site.write("next")
    assert site.files()[0].name != "000001.jsonl"
    site.verify()


# --- crashes --------------------------------------------------------------------------------------------------------


def test_wherever_a_crash_cuts_the_last_page_the_chain_goes_on(site: AuditedSite) -> None:
    """A line that is not whole is cut off, and that is noted; whole ones stay."""
    site.write("before")
    size, anchored = site.files()[0].stat().st_size, site.anchor.read_bytes()
    site.write("one", "two")
    site.die()
    whole = site.files()[0].read_bytes()
    for cut in range(size, len(whole) + 1):
        site.files()[0].write_bytes(whole[:cut])
        site.anchor.write_bytes(anchored)
        kept = whole[:cut].count(b"\n")
        torn = cut - whole.rfind(b"\n", 0, cut) - 1
        assert site.verify().torn_bytes == torn
        site.write("after")
        assert site.events() == ["before", *["one", "two"][: kept - whole[:size].count(b"\n")], "after"]
        assert [record.cut_bytes for record in site.records() if isinstance(record, wire.Recovered)] == [torn] * bool(
            torn
        )
        found = site.verify()
        assert (found.torn_bytes, found.crashes, found.began) == (0, 1, [])
        site.die()


@pytest.mark.usefixtures("small")
def test_wherever_a_crash_cuts_the_first_line_of_a_segment_it_is_made_again(site: AuditedSite) -> None:
    while len(site.files()) < 2 if site.log.exists() else True:
        site.write("one")
    site.die()
    second = site.files()[1].read_bytes()
    before, anchored = site.files()[0].read_bytes(), site.anchor.read_bytes()
    for cut in range(second.index(b"\n") + 1):
        site.anchor.write_bytes(anchored)
        site.files()[0].write_bytes(before)
        for more in site.files()[1:]:
            more.unlink()
        segment_file(site.log, 2).write_bytes(second[:cut])
        assert site.verify().torn_bytes == cut
        site.write("after")
        site.die()
        assert site.files()[0].read_bytes() == before
        assert site.kinds().count("segment") == 1
        assert site.kinds().count("recovered") == (cut > 0)
        site.verify()


def test_wherever_a_crash_cuts_the_very_first_line_a_chain_begins(site: AuditedSite) -> None:
    site.write()
    site.die()
    line = site.files()[0].read_bytes().splitlines(keepends=True)[0]
    for cut in range(len(line)):
        site.files()[0].write_bytes(line[:cut])
        site.write("after")
        site.die()
        assert (len(site.files()), site.kinds()[0], site.kinds().count("begin")) == (1, "begin", 1)
        site.verify()


def test_zeros_that_a_power_cut_leaves_are_cut_off(site: AuditedSite) -> None:
    site.write("one")
    site.die()
    with site.files()[0].open("ab") as file:
        file.write(bytes(300_000))
    assert site.verify().torn_bytes == 300_000
    site.write("two")
    assert site.events() == ["one", "two"]
    assert site.verify().began == []


# --- damage ---------------------------------------------------------------------------------------------------------


def test_damage_stays_as_it_is_and_a_chain_begins_that_says_so(site: AuditedSite) -> None:
    site.write("one")
    site.write("two")
    last_good = site.verify().last
    site.write("three")
    site.die()
    path = site.files()[0]
    damaged = path.read_bytes().replace(b"three", b"thief")
    path.write_bytes(damaged)
    with capture_logs() as logs:
        site.write("four")
    site.stop()
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("the audit log cannot be gone on with: a new chain has begun", "error")
    ]
    assert "000001.jsonl, line" in logs[0]["reason"]
    assert path.read_bytes() == damaged
    second = begins(site)[1]
    assert (second.because, second.segment, second.follows) == ("damaged", 2, last_good)
    with pytest.raises(AuditLogDamaged, match=r"000001\.jsonl, line 6: its hash does not fit"):
        site.verify()
    assert [record.clean for record in site.records()[-5:] if isinstance(record, wire.Start)] == [True]
    site.write("five")
    site.stop()
    path.rename(site.folder / "put aside")
    found = site.verify()
    assert (found.events, found.began) == (2, [second])


@pytest.mark.parametrize("content", [b"no log\n", b"\n", b"{}\n" * 3, b"\xff" * 100 + b"\n", b"x" * 300_000 + b"\n"])
def test_what_is_no_log_at_all_stays_as_well(site: AuditedSite, content: bytes) -> None:
    site.log.mkdir(parents=True)
    segment_file(site.log, 7).write_bytes(content)
    site.write("one")
    assert segment_file(site.log, 7).read_bytes() == content
    segment_file(site.log, 7).unlink()
    assert [(begin.because, begin.follows) for begin in begins(site)] == [("damaged", None)]
    assert site.verify().segments == 1


def test_the_log_of_another_site_is_not_gone_on_with(site: AuditedSite) -> None:
    site.name = QksId("B")
    site.write("one")
    site.stop()
    last = site.verify().last
    site.name = QksId("A")
    site.write("two")
    site.stop()
    assert [(begin.because, begin.follows) for begin in begins(site)] == [("first", None), ("foreign", last)]
    with pytest.raises(AuditLogDamaged, match="it is of site A, and what comes before of site B"):
        site.verify()


@pytest.mark.parametrize("how", ["removed", "replaced", "cut", "added", "folder removed"])
def test_files_that_are_changed_while_the_site_runs_are_noticed(site: AuditedSite, how: str) -> None:
    site.write("one")
    last = site.verify().last
    path = site.files()[0]
    content = path.read_bytes()
    match how:
        case "removed":
            path.unlink()
        case "replaced":
            path.rename(site.folder / "old")
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[:-1])
        case "added":
            path.write_bytes(content + b"more\n")
        case _:
            shutil.rmtree(site.log)
    left = path.read_bytes() if path.exists() else None
    with capture_logs() as logs:
        site.write("two")
    site.stop()
    assert [log["event"] for log in logs] == ["the audit log was changed while this site ran: a new chain has begun"]
    assert (path.read_bytes() if path.exists() else None) == left
    begin = begins(site)[-1] if left is None or how == "replaced" else None
    if begin is not None:
        assert (begin.because, begin.follows) == ("changed", last)
    if how == "replaced":  # by the same
        assert site.verify().began == [begin]
    if left is None:
        assert site.kinds() == ["begin", "event", "checkpoint", "stop", "checkpoint"]
        assert site.verify().began == [begin]
    if how in {"cut", "added"}:
        with pytest.raises(AuditLogDamaged):
            site.verify()


def test_a_chain_that_begins_while_the_site_runs_is_signed_at_once(site: AuditedSite) -> None:
    """Also where a checkpoint alone was due; until then nobody can tell whose it is."""
    site.write("one")
    site.write("two")
    site.clock[0] += CHECKPOINT_S
    shutil.rmtree(site.log)
    site.write()
    assert site.kinds() == ["begin", "checkpoint"]
    assert site.scribe is not None
    assert site.scribe.due_in() is None
    assert len(site.verify().began) == 1


def test_nothing_is_made_where_a_data_folder_was(site: AuditedSite) -> None:
    """Its disk may be gone, and another one in its place."""
    site.write("one")
    site.data.rename(site.folder / "elsewhere")
    for place in (False, True):
        if place:
            site.data.mkdir()
        with pytest.raises(StoreError, match=r"audit\.lock was removed or replaced while this site ran"):
            site.write("two")
        assert not site.log.exists()
    site.data.rmdir()
    (site.folder / "elsewhere").rename(site.data)
    site.write("two")
    assert site.events() == ["one", "two"]
    assert site.verify().began == []


# --- disks that fail ------------------------------------------------------------------------------------------------


def test_what_a_full_disk_refused_can_be_given_again(site: AuditedSite) -> None:
    """With each number of bytes that there may be room for; nothing is left of what was refused."""
    site.write("one")
    size = site.files()[0].stat().st_size
    page = ["two", "three" * 30, "four"]
    before = site.files()[0].read_bytes()
    for room in range(size, size + 400, 7):
        with at_most(room), pytest.raises(OSError, match="File too large"):
            site.write(*page)
        assert site.files()[0].read_bytes() == before
    site.write(*page)
    assert site.files()[0].stat().st_size > size + 400
    assert site.events() == ["one", *page]
    site.stop()
    assert site.verify().began == []


STEPS = 80
"""Failures; each of the first forty steps of a round fails twice."""


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_whichever_step_fails_nothing_is_lost_or_there_twice(
    site: AuditedSite, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Each step of a start, of pages and of a new segment fails once; the page is given again."""
    disk = FailingDisk(monkeypatch)
    failures = 0
    for step in range(STEPS):
        names = [f"{step}.{number}" for number in range(12)]
        disk.arm(step % 40, OSError(code, os.strerror(code)))
        for name in names:
            for _ in range(2):
                try:
                    site.write(name, "x" * 400)
                except OSError:
                    failures += 1
                    disk.disarm()
                else:
                    break
        disk.disarm()
        if step % 10 == 9:
            site.die()
    assert failures > STEPS // 2
    expected = [each for step in range(STEPS) for number in range(12) for each in (f"{step}.{number}", "x" * 400)]
    assert site.events() == expected
    found = site.verify()
    assert found.began == []
    assert found.segments > 10


@pytest.mark.usefixtures("small")
def test_whenever_the_power_goes_what_was_acknowledged_is_there(
    site: AuditedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FailingDisk(monkeypatch)
    acknowledged: list[str] = []
    for step in range(60):
        disk.arm(step % 24, PowerCut())
        try:
            for number in range(8):
                site.write(f"{step}.{number}", "x" * 700)
                acknowledged.append(f"{step}.{number}")
        except PowerCut:
            pass
        disk.disarm()
        site.die()
    site.write()
    written = [event for event in site.events() if "." in event]
    assert len(acknowledged) > 50
    assert [event for event in written if event in set(acknowledged)] == acknowledged
    assert len(written) == len(set(written))
    assert site.verify().began == []


def test_a_page_is_durable_before_it_counts(site: AuditedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FailingDisk(monkeypatch)
    disk.disarm()
    site.write("one")
    inode = site.files()[0].stat().st_ino
    assert disk.synced[-3:] == [inode, site.anchor.stat().st_ino, site.folder.stat().st_ino]  # noted only then
    assert {site.data.stat().st_ino, site.log.stat().st_ino, inode} <= set(disk.synced)
    disk.arm(None, OSError())
    site.write("two")
    assert disk.synced == [inode]
