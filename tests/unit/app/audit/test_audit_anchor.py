"""What a site notices of its own audit log at a start: an older copy, a cut end, missing segments, no log at all."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from qss.app.audit import scribe as scribes
from qss.app.audit.anchor import ANCHOR_S
from qss.app.audit.oddities import FINDINGS
from qss.app.audit.restoring import begin_restored
from qss.app.audit.segments import segment_file
from qss.app.audit.verification import verify
from qss.model.errors import AuditLogDamaged
from qss.wire import audit as wire
from support.audit_logs import A, AuditedSite, made_site
from support.failing_disk import FailingDisk


@pytest.fixture
def site(tmp_path: Path) -> AuditedSite:
    """A site that has run, in segments 1 to 6, and has ended."""
    made = made_site(tmp_path)
    before, scribes.SEGMENT_BYTES = scribes.SEGMENT_BYTES, 1
    try:
        for number in range(4):
            made.write(f"in segment {number + 1}")
        made.stop()
    finally:
        scribes.SEGMENT_BYTES = before
    assert len(made.files()) == 6
    return made


def found(site: AuditedSite) -> dict[str, int]:
    """Start the site, and return what it has found."""
    site.write()
    assert site.scribe is not None
    return {finding: times for finding, times in site.scribe.findings.items() if times}


def begin_of(site: AuditedSite) -> wire.Begin:
    begins = [record for record in site.records() if isinstance(record, wire.Begin)]
    return begins[-1]


def test_a_log_as_it_was_left_is_nothing_to_speak_of(site: AuditedSite) -> None:
    with capture_logs() as logs:
        assert found(site) == {}
        site.die()
        assert found(site) == {}
    assert logs == []
    assert stat.S_IMODE(site.anchor.stat().st_mode) == 0o600


@pytest.mark.parametrize("segments", [1, 3, 5])
def test_an_older_copy_is_not_gone_on_with(site: AuditedSite, segments: int) -> None:
    """What is in the folder cannot show it."""
    site.write("later")
    site.stop()
    last = site.verify().last
    for path in site.files()[segments:]:
        path.unlink()
    older = site.files()
    with capture_logs() as logs:
        assert found(site) == {"missing": 1}
    assert (logs[0]["log_level"], logs[0]["audit"]) == ("error", True)
    assert "its end was cut off, or an older copy is in its place" in logs[0]["reason"]
    begin = begin_of(site)
    assert (begin.because, begin.follows) == ("missing", last)
    assert begin.segment == 7  # nothing lies where the true segments may be put back
    assert site.files() == [*older, segment_file(site.log, 7)]
    site.stop()
    assert found(site) == {}
    with pytest.raises(AuditLogDamaged):
        site.verify()
    behind = verify(site.data, site.pki.authority, from_segment=begin.segment)
    assert (behind.before, behind.began) == (last, [begin])


def test_one_line_that_was_cut_off_is_noticed(site: AuditedSite) -> None:
    last = site.files()[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    last.write_bytes(b"".join(lines[:-1]))
    assert found(site) == {"missing": 1}
    with pytest.raises(AuditLogDamaged, match="records were taken out"):
        site.verify()


@pytest.mark.parametrize("how", ["folder", "segments", "folder, and its anchor"])
def test_a_log_that_is_gone_is_noticed(site: AuditedSite, how: str) -> None:
    last = site.verify().last
    if how == "segments":
        for path in site.files():
            path.unlink()
    else:
        shutil.rmtree(site.log)
    if how == "folder, and its anchor":
        site.anchor.unlink()
        site.has_run, last = True, None
    with capture_logs() as logs:
        assert found(site) == {"missing": 1}
    assert "has no log, and this site has run before" in logs[0]["reason"]
    begin = begin_of(site)
    assert (begin.because, begin.follows, begin.segment) == ("missing", last, 7 if last else 1)
    assert site.verify().began == [begin]
    site.stop()
    assert found(site) == {}


def test_the_first_start_of_all_finds_nothing(tmp_path: Path) -> None:
    assert found(made_site(tmp_path)) == {}


def test_a_log_without_a_good_anchor_is_taken_for_what_it_is(site: AuditedSite) -> None:
    """Without an anchor nobody can tell, and that is said; once."""
    good = site.anchor.read_bytes()
    segment = b'"segment":6'
    assert segment in good
    for content in (
        None,
        b"",
        b"no anchor",
        b"{}",
        good.replace(segment, b'"segment":9999999999999'),
        good[:-3],
    ):
        if content is None:
            site.anchor.unlink()
        else:
            site.anchor.write_bytes(content)
        with capture_logs() as logs:
            assert found(site) == {"anchor": 1}
        assert [log["event"] for log in logs] == [
            "nothing tells whether the audit log is an older copy: compare it with a checkpoint that was noted"
        ]
        assert str(site.anchor) in logs[0]["reason"]
        site.stop()
        assert found(site) == {}
        site.stop()
    assert site.verify().began == []


@pytest.mark.parametrize(("gone", "told"), [((2,), "2"), ((2, 3), "2 to 3"), ((1,), "1"), ((1, 3), "1, 3")])
def test_segments_that_are_missing_before_the_last_one_are_noticed_once(
    site: AuditedSite, gone: tuple[int, ...], told: str
) -> None:
    for segment in gone:
        segment_file(site.log, segment).unlink()
    with capture_logs() as logs:
        assert found(site) == {"segments": 1}
    assert logs[0]["event"] == "segments of the audit log are missing that this site has not removed"
    assert logs[0]["reason"].endswith(f": {told}")
    assert site.kinds()[-2:] == ["start", "checkpoint"]  # of the same chain
    site.stop()
    assert found(site) == {}


def test_segments_that_are_removed_while_the_site_runs_are_noticed_once(site: AuditedSite) -> None:
    assert found(site) == {}
    segment_file(site.log, 3).unlink()
    with capture_logs() as logs:
        for number in range(3):
            site.clock[0] += ANCHOR_S
            site.write(str(number))
    assert [log["reason"] for log in logs] == [f"not in {site.log}: 3"]
    assert site.scribe is not None
    assert site.scribe.findings["segments"] == 1
    assert site.events()[-3:] == ["0", "1", "2"]
    site.stop()
    assert found(site) == {}


def test_segments_that_the_site_has_removed_are_not_missing(site: AuditedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribes, "SEGMENT_BYTES", 1)
    site.keep_bytes = 3000
    site.write("more")
    assert site.files()[0].stem != "000001"
    site.die()
    assert found(site) == {}


def test_a_crash_before_old_segments_were_removed_is_nothing(
    site: AuditedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = site.files()[0].read_bytes()
    monkeypatch.setattr(scribes, "SEGMENT_BYTES", 1)
    site.keep_bytes = 3000
    site.write("more")
    site.die()
    segment_file(site.log, 1).write_bytes(first)
    assert found(site) == {}


def test_the_log_of_another_time_or_place_is_not_taken_for_this_one(site: AuditedSite, tmp_path: Path) -> None:
    """Of the same site, and longer."""
    other = AuditedSite(tmp_path / "elsewhere", site.pki, clock=site.clock)
    other.folder.mkdir()
    other.write(*map(str, range(300)))
    other.stop()
    shutil.rmtree(site.log)
    shutil.copytree(other.log, site.log)
    assert found(site) == {"missing": 1}


def test_another_record_in_the_place_of_the_last_known_one_is_noticed(site: AuditedSite) -> None:
    """A copy of the log that went on elsewhere: the same chain, and longer."""
    anchored = site.anchor.read_bytes()
    for number in range(2):
        site.anchor.write_bytes(anchored)
        if number == 0:
            whole = site.files()[-1].read_bytes()
            site.write("here")
            site.stop()
            here = site.anchor.read_bytes()
            site.files()[-1].write_bytes(whole)
        else:
            site.write("elsewhere", "and more")
            site.stop()
    site.anchor.write_bytes(here)
    assert found(site) == {"missing": 1}


def test_a_crash_before_a_new_chain_was_noted_is_nothing(site: AuditedSite) -> None:
    anchored = site.anchor.read_bytes()
    site.write("one")
    site.files()[-1].unlink()
    site.write("two")
    assert site.scribe is not None
    assert site.scribe.findings["changed"] == 1
    site.die()
    site.anchor.write_bytes(anchored)
    assert "missing" not in found(site)


@pytest.mark.parametrize("anchored", [True, False])
def test_a_restored_log_is_told_and_gone_on_with(site: AuditedSite, anchored: bool) -> None:
    last = site.verify().last
    shutil.rmtree(site.data)
    site.data.mkdir()
    begin_restored(site.data, A, last, site.clock[1])
    if not anchored:
        site.anchor.unlink()
    with capture_logs() as logs:
        assert found(site) == {"restored": 1}
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("the audit log was begun anew by `qss restore`", "warning")
    ]
    site.stop()
    assert found(site) == {}
    assert site.verify().crashes == 0


def test_the_anchor_lags_by_ten_seconds_at_most_and_costs_no_more_syncs(
    site: AuditedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write()
    disk = FailingDisk(monkeypatch)
    noted = []
    for number in range(100):
        disk.arm(None, OSError())
        site.write(str(number))
        if site.anchor.stat().st_ino in disk.synced:
            noted.append(number)
        site.clock[0] += ANCHOR_S / 10
    assert noted == list(range(10, 100, 10))


def test_an_anchor_that_cannot_be_written_keeps_nothing_from_the_log(site: AuditedSite) -> None:
    site.anchor.unlink()
    site.anchor.mkdir()
    with capture_logs() as logs:
        assert found(site) == {"anchor": 1}
        for number in range(3):
            site.clock[0] += ANCHOR_S
            site.write(str(number))
        site.anchor.rmdir()
        site.clock[0] += ANCHOR_S
        site.write("last")
    told = "how far the audit log has come cannot be noted outside its folder"
    assert [log["event"] for log in logs].count(told) == 1
    assert site.events()[-4:] == ["0", "1", "2", "last"]
    assert site.anchor.is_file()


@pytest.mark.parametrize("how", ["damaged", "foreign", "changed"])
def test_whatever_a_chain_begins_for_is_counted(site: AuditedSite, how: str) -> None:
    if how == "changed":
        site.write("one")
        site.files()[-1].write_bytes(b"")
        site.write("two")
        assert site.scribe is not None
        assert site.scribe.findings == {**dict.fromkeys(FINDINGS, 0), "changed": 1}
        return
    last = site.files()[-1].read_bytes()
    made_up = last.replace(b"stop", b"step")
    if how == "foreign":
        line, _ = wire.seal(
            wire.Begin(at=wire.time_text(0), site="B", chain="0" * 32, segment=6, because="first", follows=None),
            wire.NOTHING,
        )
        made_up = line
    site.files()[-1].write_bytes(made_up)
    assert found(site) == {how: 1}
    site.stop()
    assert found(site) == {}
