"""Whatever is changed in an audit log is found, and where; what cannot be found is written down here as well."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from qss.app.audit import scribe
from qss.app.audit.chain import MAX_UNSIGNED, Page, begun
from qss.app.audit.segments import segment_file
from qss.app.audit.verification import verify
from qss.model.errors import AuditLogDamaged
from qss.model.identifiers import QksId
from qss.pki.statements import Signer
from qss.wire import audit as wire
from support.audit_logs import AuditedSite, made_site
from support.pki import Pki


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> AuditedSite:
    """A log of two segments with every kind of record but `removed`."""
    site = made_site(tmp_path_factory.mktemp("whole"))
    site.write("keys recalled")
    site.die()
    with site.files()[0].open("ab") as file:
        file.write(b'{"kind":"event","seq":5')
    site.write("exchange stopped")
    before, scribe.SEGMENT_BYTES = scribe.SEGMENT_BYTES, 1
    site.write("exchange started")
    scribe.SEGMENT_BYTES = before
    assert site.scribe is not None
    site.scribe.write([wire.Lost(at=wire.time_text(site.clock[1]), records=3)])
    site.stop()
    assert set(site.kinds()) == {"begin", "segment", "start", "stop", "event", "checkpoint", "lost", "recovered"}
    assert len(site.files()) == 2
    return site


@pytest.fixture
def site(whole: AuditedSite, tmp_path: Path) -> AuditedSite:
    """A copy of it, to be changed."""
    shutil.copytree(whole.data, tmp_path / "A.data")
    return AuditedSite(tmp_path, whole.pki, clock=list(whole.clock))


def lines(site: AuditedSite, segment: int = 0) -> list[bytes]:
    return site.files()[segment].read_bytes().splitlines(keepends=True)


def put(site: AuditedSite, new: list[bytes], segment: int = 0) -> None:
    site.files()[segment].write_bytes(b"".join(new))


def found_at(site: AuditedSite) -> tuple[str, int]:
    """Return the file and line that are named as the first that is wrong."""
    with pytest.raises(AuditLogDamaged) as caught:
        site.verify()
    found = re.match(rf"{re.escape(str(site.log))}/(\S+)\.jsonl, line (\d+): ", str(caught.value))
    assert found, str(caught.value)
    assert re.search(
        r"; compare from there on with a copy of the log, and find out who could write to these files"
        r"(; check what is behind it alone with --from \d+)?\Z",
        str(caught.value),
    )
    return found[1], int(found[2])


def test_as_it_was_written_it_is_whole(whole: AuditedSite) -> None:
    found = whole.verify()
    assert (found.site, found.segments, found.records, found.events) == ("A", 2, len(whole.records()), 3)
    assert (found.unsigned, found.lost, found.crashes, found.torn_bytes, found.began) == (0, 3, 1, 0, [])
    assert found.last == found.checkpoint
    assert found.checkpoint is not None
    assert found.checkpoint.seq == found.records - 1


@pytest.mark.parametrize("flip", [1, 0x20, ord("\n")])
def test_each_byte_that_is_changed_is_found_in_its_line(site: AuditedSite, flip: int) -> None:
    """All bytes, newlines included."""
    for path in site.files():
        good = path.read_bytes()
        for at in range(len(good)):
            path.write_bytes(good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :])
            name, line = found_at(site)
            own = good[:at].count(b"\n") + 1
            assert (name, line) == (path.stem, own), (at, good[at : at + 1])
        path.write_bytes(good)
    site.verify()


def test_a_line_that_is_taken_out_is_found(site: AuditedSite) -> None:
    for segment in (0, 1):
        good = lines(site, segment)
        for number in range(len(good) - (segment == 1)):
            put(site, good[:number] + good[number + 1 :], segment)
            with pytest.raises(AuditLogDamaged):
                site.verify()
        put(site, good, segment)
    site.verify()


def test_lines_that_change_places_are_found(site: AuditedSite) -> None:
    for segment in (0, 1):
        good = lines(site, segment)
        for number in range(len(good) - 1):
            put(site, [*good[:number], good[number + 1], good[number], *good[number + 2 :]], segment)
            assert found_at(site)[1] == number + 1
        put(site, good, segment)


def test_a_line_that_comes_twice_or_is_put_in_is_found(site: AuditedSite) -> None:
    for segment in (0, 1):
        good, other = lines(site, segment), lines(site, 1 - segment)
        for number in range(len(good)):
            for more in (good[number], other[number % len(other)], b"\n", b"{}\n", b"x" * 200_000 + b"\n"):
                put(site, [*good[: number + 1], more, *good[number + 1 :]], segment)
                assert found_at(site)[1] == number + 2
        put(site, good, segment)


def test_a_first_segment_that_is_cut_off_anywhere_is_found(site: AuditedSite) -> None:
    path = site.files()[0]
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(AuditLogDamaged):
            site.verify()


@pytest.mark.parametrize("more", [b"x", b"{", bytes(200_000)])
def test_what_is_put_behind_a_segment_is_found_if_there_is_a_later_one(site: AuditedSite, more: bytes) -> None:
    path = site.files()[0]
    path.write_bytes(path.read_bytes() + more)
    with pytest.raises(AuditLogDamaged, match="ends without a whole record, and there is a later segment"):
        site.verify()


def test_segments_that_are_taken_out_change_places_or_names_are_found(site: AuditedSite) -> None:
    first, second = site.files()
    contents = first.read_bytes(), second.read_bytes()
    first.unlink()
    with pytest.raises(
        AuditLogDamaged, match="begins with segment 2, and nothing in it says that the site has removed"
    ):
        site.verify()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    with pytest.raises(AuditLogDamaged):
        site.verify()
    first.write_bytes(contents[0])
    second.rename(segment_file(site.log, 3))
    with pytest.raises(AuditLogDamaged, match=r"000002\.jsonl is not there, and later segments are"):
        site.verify()
    segment_file(site.log, 2).write_bytes(contents[1])
    with pytest.raises(AuditLogDamaged, match=r"000003\.jsonl, line 1: it is the beginning of segment 1"):
        site.verify()


# --- whoever makes the hashes anew ----------------------------------------------------------------------------------


def forged(records: list[wire.Record]) -> list[bytes]:
    """Return lines whose hashes fit, as anybody can make them."""
    made, before = [], wire.NOTHING
    for seq, record in enumerate(records):
        line, before = wire.seal(msgspec.structs.replace(record, seq=seq), before)
        made.append(line)
    return made


def test_a_log_that_is_made_anew_needs_the_sites_key_at_its_next_checkpoint(site: AuditedSite) -> None:
    """Without an authority nothing shows, and that is said."""
    site.files()[1].unlink()
    records = [record for record in site.records() if getattr(record, "event", "") != "keys recalled"]
    put(site, forged(records))
    assert not verify(site.data, None).judged
    name, line = found_at(site)
    assert (name, records[line - 1].__struct_config__.tag) == ("000001", "checkpoint")


def signed_by(signer: Signer, records: list[wire.Record]) -> list[bytes]:
    """Return lines of a chain, with checkpoints by somebody else in the place of those that are there."""
    first = records[0]
    assert isinstance(first, wire.Begin)
    line, standing = begun(first)
    page = Page(standing, signer, first.at)
    for record in records[1:]:
        if isinstance(record, wire.Checkpoint):
            page.sign()
        else:
            page.add(record)
    return [line, page.content]


def test_a_checkpoint_of_another_site_is_found(site: AuditedSite) -> None:
    pair = site.pki.site("B")
    site.files()[1].unlink()
    put(site, signed_by(Signer(pair.certificate, pair.key), site.records()))
    with pytest.raises(
        AuditLogDamaged, match="this checkpoint is not the site's: signed under the certificate of site B"
    ):
        site.verify()


def test_a_checkpoint_of_another_authoritys_site_is_found(site: AuditedSite, tmp_path: Path) -> None:
    pair = Pki(tmp_path / "other").site("A")
    site.files()[1].unlink()
    put(site, signed_by(Signer(pair.certificate, pair.key), site.records()))
    with pytest.raises(AuditLogDamaged, match=r"this checkpoint is not the site's: .* does not stand for"):
        site.verify()


def test_a_log_of_another_site_is_not_taken_for_this_ones(site: AuditedSite) -> None:
    """Whole, signed by its own site, in the data folder of this one."""
    shutil.rmtree(site.log)
    site.name = QksId("B")
    site.write("keys recalled")
    site.stop()
    assert site.verify().site == "B"
    (site.data / "data-key.json").write_text('{"format": 1, "site": "A", "sealed_data_key": "x"}')
    with pytest.raises(AuditLogDamaged, match="is the log of site B, in the data folder of site A"):
        site.verify()


def test_checkpoints_and_all_other_members_are_signed(site: AuditedSite) -> None:
    """A checkpoint is the site's for its own place, time and chain alone."""
    site.files()[1].unlink()
    records = site.records()
    place = next(at for at, record in enumerate(records) if isinstance(record, wire.Checkpoint))
    first = records[0]
    assert isinstance(first, wire.Begin)
    later = wire.time_text(site.clock[1] + 1)
    for changed in (
        [msgspec.structs.replace(first, chain="0" * 32), *records[1:]],
        [msgspec.structs.replace(first, because="changed"), *records[1:]],
        [*records[:place], msgspec.structs.replace(records[place], at=later), *records[place + 1 :]],
        [first, wire.Stop(at=first.at), *records[1:]],
    ):
        put(site, forged(changed))
        with pytest.raises(AuditLogDamaged, match="this checkpoint is not the site's: the signature is not that of"):
            site.verify()


def test_no_more_can_be_made_up_behind_the_last_checkpoint_than_a_site_leaves_unsigned(site: AuditedSite) -> None:
    last = site.verify().last
    assert last is not None
    path = site.files()[1]
    good, digest = path.read_bytes(), bytes.fromhex(last.hash)
    for number in range(1, MAX_UNSIGNED + 2):
        line, digest = wire.seal(msgspec.structs.replace(site.event("made up"), seq=last.seq + number), digest)
        with path.open("ab") as file:
            file.write(line)
        if number == MAX_UNSIGNED:
            assert site.verify().unsigned == MAX_UNSIGNED  # nobody can tell
    assert found_at(site) == ("000002", good.count(b"\n") + MAX_UNSIGNED + 1)


def test_a_whole_log_without_any_checkpoint_is_nobodys(site: AuditedSite) -> None:
    shutil.rmtree(site.log)
    site.log.mkdir()
    first = wire.Begin(at=wire.time_text(0), site=QksId("A"), chain="0" * 32, segment=1, because="first", follows=None)
    for records in ([first], [first, site.event("made up")]):
        segment_file(site.log, 1).write_bytes(b"".join(forged(records)))
        with pytest.raises(AuditLogDamaged, match="no checkpoint"):
            site.verify()


def test_a_chain_that_is_made_up_behind_one_of_the_sites_is_nobodys(site: AuditedSite) -> None:
    last = site.verify().last
    begin = wire.Begin(
        at=wire.time_text(0), site=QksId("A"), chain="0" * 32, segment=3, because="damaged", follows=last
    )
    segment_file(site.log, 3).write_bytes(b"".join(forged([begin, site.event("made up")])))
    with pytest.raises(AuditLogDamaged, match=r"000003\.jsonl: the chain 0{32} that ends here has no checkpoint.*; a"):
        site.verify()
    segment_file(site.log, 3).write_bytes(b"".join(forged([msgspec.structs.replace(begin, follows=None)])))
    assert found_at(site) == ("000003", 1)


# --- what is behind damage ------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditedSite:
    """A chain in three segments with an event each, and one with the stop."""
    made = made_site(tmp_path)
    made.write("in segment 1")
    monkeypatch.setattr(scribe, "SEGMENT_BYTES", 1)
    made.write("in segment 2")
    made.write("in segment 3")
    made.stop()
    assert len(made.files()) == 4
    return made


def refusal(site: AuditedSite, from_segment: int = 0) -> str:
    with pytest.raises(AuditLogDamaged) as caught:
        verify(site.data, site.pki.authority, from_segment=from_segment)
    return str(caught.value)


def test_what_is_behind_damage_is_checked_by_itself_and_told_apart(three: AuditedSite) -> None:
    last = three.verify().last
    second = three.files()[1]
    ends_with = wire.split(lines(three, 1)[-1])[1].hex()
    second.write_bytes(second.read_bytes().replace(b"in segment 2", b"in segment X"))
    assert refusal(three).endswith("; check what is behind it alone with --from 3")
    assert refusal(three, 2).endswith("; check what is behind it alone with --from 3")
    found = verify(three.data, three.pki.authority, from_segment=3)
    assert (found.from_segment, found.segments, found.events, found.last) == (3, 2, 1, last)
    assert found.before is not None
    assert found.before.hash == ends_with  # whoever has a copy of what is before knows by this that it is the true one
    third = three.files()[2]
    third.write_bytes(third.read_bytes().replace(b"in segment 3", b"in segment X"))
    assert "000003.jsonl, line" in refusal(three, 3)


def test_behind_the_last_segment_nothing_is_offered(three: AuditedSite) -> None:
    last = three.files()[-1]
    last.write_bytes(last.read_bytes().replace(b"stop", b"step"))
    assert "--from" not in refusal(three)
    assert "has no segment 5: its last one is 4" in refusal(three, 5)


def test_a_segment_that_does_not_go_on_with_the_one_before_may_be_whole_itself(three: AuditedSite) -> None:
    whole = lines(three, 1)
    put(three, whole[:-1], 1)
    assert "000003.jsonl, line 1: " in refusal(three)
    assert refusal(three).endswith("; check what is behind it alone with --from 3")
    assert verify(three.data, three.pki.authority, from_segment=3).events == 1
    put(three, [*whole[:-1], whole[-1][:-9]], 1)
    assert "000002.jsonl ends without a whole record" in refusal(three)
    assert refusal(three).endswith("put it back from a copy of the log, or check what is behind it alone with --from 3")


def test_segments_that_are_gone_leave_the_later_ones_to_be_checked(three: AuditedSite) -> None:
    first, second = three.files()[:2]
    second.unlink()
    told = "000002.jsonl is not there, and later segments are: put it back from a copy of the log, or check what is"
    for missing in (refusal(three), refusal(three, 2)):
        assert told in missing
        assert missing.endswith("with --from 3")
    first.unlink()
    assert refusal(three).endswith("check a copy that has them, or check what is behind it alone with --from 3")
    assert verify(three.data, three.pki.authority, from_segment=3).segments == 2


def test_a_first_line_that_is_damaged_itself_is_left_behind(three: AuditedSite) -> None:
    put(three, [b"{}\n", *lines(three, 2)[1:]], 2)
    assert refusal(three).endswith("with --from 3")
    assert refusal(three, 3).endswith("with --from 4")
    verify(three.data, three.pki.authority, from_segment=4)


def test_a_record_noted_before_what_is_looked_at_is_said_to_be_there(three: AuditedSite) -> None:
    early = wire.split(lines(three)[2])[1].hex()
    three.verify((2, early))
    with pytest.raises(AuditLogDamaged, match=r"what was looked at begins with record \d+: give an earlier segment"):
        verify(three.data, three.pki.authority, [(2, early)], from_segment=2)


def test_a_part_without_a_checkpoint_is_nobodys(three: AuditedSite) -> None:
    put(three, lines(three, 3)[:1], 3)
    three.verify()
    assert "has no checkpoint: anybody can have made it" in refusal(three, 4)
    assert refusal(three, 4).endswith("or give an earlier segment with --from")


# --- what was noted -------------------------------------------------------------------------------------------------


def test_what_is_taken_off_the_end_shows_by_what_was_noted_alone(site: AuditedSite) -> None:
    noted = [wire.Position("", record.seq, "") for record in site.records() if isinstance(record, wire.Checkpoint)]
    last = site.verify().checkpoint
    assert last is not None
    assert last.seq == noted[-1].seq
    assert site.verify((last.seq, last.hash)).noted == [last.noted]
    whole = lines(site, 1)
    checkpoints = [number for number, line in enumerate(whole) if b'"kind":"checkpoint"' in line]
    for number in checkpoints[:-1]:
        put(site, whole[: number + 1], 1)
        site.verify()  # nothing shows
        with pytest.raises(AuditLogDamaged, match=f"record {last.seq} is not there as it was noted; the log ends with"):
            site.verify((last.seq, last.hash))
    site.files()[1].unlink()
    site.verify()
    with pytest.raises(AuditLogDamaged, match="the log ends with record"):
        site.verify((last.seq, last.hash))


def test_another_record_of_the_number_that_was_noted_is_none(site: AuditedSite) -> None:
    last = site.verify().last
    assert last is not None
    with pytest.raises(AuditLogDamaged, match=rf"record {last.seq} is not there .* has another hash"):
        site.verify((last.seq, "0" * 64))
    for record in site.records():
        seq = record.seq
        with pytest.raises(AuditLogDamaged):
            site.verify((seq, "0" * 64), (last.seq, last.hash))
