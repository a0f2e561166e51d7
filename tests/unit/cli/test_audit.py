"""`qss audit`: what it prints of a whole log, of one that is not, and of records; exit statuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qss.app.audit.segments import segment_file
from qss.cli.main import main
from qss.wire import audit as wire
from support.audit_logs import AuditedSite, made_site


@pytest.fixture
def site(tmp_path: Path) -> AuditedSite:
    made = made_site(tmp_path)
    made.clock[1] = float(int(made.clock[1]))
    made.start().write([made.event("keys recalled", by="site A", keys="all", note="a\x1b[31m\nb")])
    made.clock[1] += 60
    made.write("exchange stopped")
    return made


def qss(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def lines(*arguments: object) -> list[str]:
    ran = qss(*arguments)
    assert (ran.exit_code, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def assert_refused(result: Result, says: str, status: int = 1) -> None:
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    assert says in " ".join(result.stderr.split())
    if status == 1:
        assert result.stderr.startswith("qss: ")
        assert result.stderr.count("\n") == 1


# --- verify ---------------------------------------------------------------------------------------------------------


def test_a_whole_log_is_told_with_its_last_checkpoint(site: AuditedSite) -> None:
    found = site.verify()
    told = lines("audit", "verify", site.data, "--authority", site.pki.authority)
    assert found.checkpoint is not None
    assert told == [
        "The audit log of site A is whole:",
        "  records          5, of which 2 are events, in 1 segment",
        f"  from             {found.first_at}",
        f"  to               {found.last_at}",
        f"  last checkpoint  {found.checkpoint.noted}",
        f"                   of {found.checkpoint_at}, signed by the site",
        f"  after it         1 record for which nothing vouches yet, the first of {found.last_at}",
        "Note the last checkpoint in another place, and give it with --noted the next time.",
    ]
    told = lines("audit", "verify", site.data)
    assert "whose it is was not looked at: give --authority" in told[5]
    assert lines("audit", "verify", site.log) == told  # also of a copy of it alone


def test_what_has_happened_to_a_log_is_told(site: AuditedSite) -> None:
    site.die()
    site.start().write([wire.Lost(at=wire.time_text(site.clock[1]), records=3)])
    last = site.verify().last
    site.files()[0].rename(site.folder / "old")
    site.write("two")
    site.die()
    with site.files()[0].open("ab") as file:
        file.write(b"{")
    told = "\n".join(lines("audit", "verify", site.data))
    assert last is not None
    at = wire.time_text(site.clock[1])
    assert f"a chain          was begun because the files were changed while the site ran ({at}); the last" in told
    assert f"; the last known record before it is {last.noted}" in told
    assert "unfinished       a last line of 1 bytes: it is being written, or a crash has left it" in told

    (site.folder / "old").rename(site.folder / "000001.jsonl")
    told = "\n".join(lines("audit", "verify", site.folder))
    assert "crashes          1 start of the site before which it had not stopped" in told
    assert "lost             3 records for which there was no room, noted where they would be" in told


def test_records_that_have_been_unsigned_for_too_long_are_remarked_on(site: AuditedSite) -> None:
    remark = "a site that runs signs within ten seconds: unless it crashed then, or this is a copy made then,"
    assert remark not in "\n".join(lines("audit", "verify", site.data))
    site.clock[1] -= 180
    site.write("exchange started")
    assert remark not in "\n".join(lines("audit", "verify", site.data))  # the first of them counts
    site.stop()
    site.write()
    site.write("keys recalled")
    told = lines("audit", "verify", site.data, "--authority", site.pki.authority)
    place = told.index(
        f"  after it         1 record for which nothing vouches yet, the first of {site.verify().last_at}"
    )
    assert remark in told[place + 1]
    site.stop()
    assert "  after it         0 records for which nothing vouches yet" in lines("audit", "verify", site.data)


def test_what_is_behind_a_damaged_segment_is_said_to_be_a_part(site: AuditedSite) -> None:
    last = site.verify().last
    site.files()[0].rename(site.folder / "old")
    site.write("after it")
    site.stop()
    site.files()[-1].rename(segment_file(site.log, 2))
    segment_file(site.log, 1).write_bytes(b"{}\n")
    assert_refused(qss("audit", "verify", site.data), "check what is behind it alone with --from 2")
    told = lines("audit", "verify", site.data, "--authority", site.pki.authority, "--from", 2)
    assert last is not None
    assert told[:2] == [
        "The audit log of site A is whole from segment 2 on; nothing here vouches for what was before:",
        f"  before           was not looked at; it ended with record {last.noted}, says the first one here",
    ]
    (shown,) = lines("audit", "verify", site.data, "--from", 2, "--json")
    assert json.loads(shown)["from_segment"] == 2
    assert_refused(qss("audit", "verify", site.data, "--from", 0), "'--from'", 2)


def test_json_has_the_same(site: AuditedSite) -> None:
    (told,) = lines("audit", "verify", site.data, "--authority", site.pki.authority, "--json")
    found = site.verify()
    shown = json.loads(told)
    assert found.checkpoint is not None
    assert shown["checkpoint"] == {"chain": found.checkpoint.chain, "seq": 3, "hash": found.checkpoint.hash}
    assert (shown["site"], shown["records"], shown["judged"], shown["began"]) == ("A", 5, True, [])


def test_what_was_noted_must_be_there(site: AuditedSite) -> None:
    found = site.verify()
    assert found.checkpoint is not None
    told = lines("audit", "verify", site.data, "--noted", found.checkpoint.noted)
    assert f"  noted before     {found.checkpoint.noted} is there" in told
    assert_refused(
        qss("audit", "verify", site.data, "--noted", found.checkpoint.noted, "--noted", f"99:{'0' * 64}"),
        "record 99 is not there as it was noted; the log ends with record 4",
    )
    for noted in ("", "5", "5:", f"x:{'0' * 64}", f"5:{'0' * 63}", f"5:{'A' * 64}"):
        assert_refused(qss("audit", "verify", site.data, "--noted", noted), "has printed: a number, a colon, 64", 2)


def test_the_first_thing_that_is_wrong_is_told_with_its_place_and_what_to_do(site: AuditedSite) -> None:
    path = site.files()[0]
    path.write_bytes(path.read_bytes().replace(b"recalled", b"recaLLed"))
    for more in ((), ("--authority", site.pki.authority), ("--json",)):
        assert_refused(
            qss("audit", "verify", site.data, *more), f"{path}, line 3: its hash does not fit: it was changed"
        )


def test_what_is_no_log_is_refused(site: AuditedSite, tmp_path: Path) -> None:
    for command in ("verify", "show"):
        for folder in (tmp_path / "gone", tmp_path / "pki", site.files()[0]):
            assert_refused(qss("audit", command, folder), "there is no audit log in")
        assert_refused(qss("audit", command), "Missing argument 'DIR'", 2)
    assert_refused(qss("audit", "verify", site.data, "--authority", tmp_path / "gone"), "gone cannot be read")


# --- show -----------------------------------------------------------------------------------------------------------


def test_records_are_shown_as_text_that_steers_no_terminal(site: AuditedSite) -> None:
    shown = lines("audit", "show", site.data)
    assert [re.sub(r"20\S+Z|[0-9a-f]{32}", "…", line) for line in shown] == [
        "0 … begin format=1 site=A chain=… segment=1 because=first follows=None",
        "1 … start release=0.1.0 clean=True",
        "2 … [info] keys recalled by=site A keys=all note=a�[31m�b",
        "3 … checkpoint algorithm=ecdsa-sha256",
        "4 … [info] exchange stopped",
    ]


def test_the_record_that_a_chain_follows_is_shown_as_verify_takes_it(site: AuditedSite) -> None:
    last = site.verify().last
    site.files()[0].unlink()
    site.write("one")
    assert last is not None
    assert lines("audit", "show", site.data, "--event", "begin")[0].endswith(f" because=changed follows={last.noted}")


def test_records_are_shown_as_they_are(site: AuditedSite) -> None:
    assert "\n".join([*lines("audit", "show", site.data, "--json"), ""]).encode() == site.files()[0].read_bytes()


def test_records_are_chosen_by_text_and_time(site: AuditedSite) -> None:
    def shown(*options: str) -> list[int]:
        return [int(line.split()[0]) for line in lines("audit", "show", site.data, *options)]

    assert shown("--event", "exchange") == [4]
    assert shown("--event", "check") == [3]
    assert shown("--event", "nothing") == []
    moment = wire.moment(wire.time_text(site.clock[1]))
    for since in (moment.isoformat(), f"{moment:%Y-%m-%dT%H:%M:%S}", f"{moment:%Y-%m-%d %H:%M:%SZ}"):
        assert shown("--since", since) == [4]
    assert shown("--since", "1999-12-31") == [0, 1, 2, 3, 4]
    assert shown("--since", "2999-12-31T00:00:00+02:00") == []
    for since in ("", "yesterday", "2026-13-01"):
        assert_refused(qss("audit", "show", site.data, "--since", since), "give a date and time such as 2026-11-23", 2)


def test_what_is_no_record_is_named_and_all_else_is_shown(site: AuditedSite) -> None:
    path = site.files()[0]
    path.write_bytes(path.read_bytes().replace(b'"start"', b'"stark"') + b'{"kind":')
    ran = qss("audit", "show", site.data)
    assert ran.exit_code == 1
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["0", "2", "3", "4"]
    assert ran.stderr.splitlines() == [
        f"{path}, line 2: this is no record",
        f"qss: lines that are no records: 1; check the log with `qss audit verify {site.data}`",
    ]


def test_fields_that_cannot_be_read_are_said_to_be_so(site: AuditedSite) -> None:
    path = site.files()[0]
    path.write_bytes(path.read_bytes().replace(b'"site A"', b'"site \xff"'))
    assert "[info] keys recalled fields=cannot be read" in lines("audit", "show", site.data)[2]
