"""The file of registered SAEs: its states, and that each change is on disk before it counts."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from qss.app import sae_register
from qss.app.sae_register import SAES, SaeRegister
from qss.model.errors import BadRequest, LocalProtocolError, StoreError, StoreUnavailable, Unavailable
from qss.model.identifiers import QksId, SaeId
from qss.wire.home_statement import SignedStatement, encode_home, encode_statement
from support.failing_disk import FailingDisk, PowerCut

CAROL, CHRIS = SaeId("sae:carol"), SaeId("sae:chris")


def statement(sae: SaeId, expires: int = 5) -> bytes:
    return encode_statement(SignedStatement(encode_home(sae, QksId("C"), expires), "ed25519", bytes(64)))


State = tuple[dict[SaeId, bytes | None], frozenset[SaeId]]


def state(register: SaeRegister) -> State:
    return dict(register.statements), register.leaving


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / SAES


@pytest.fixture
def register(file: Path) -> SaeRegister:
    return SaeRegister(file)


def assert_is(file: Path, register: SaeRegister, *expected: object) -> None:
    """It is so, and will be after a restart."""
    assert state(register) == expected
    assert state(SaeRegister(file)) == expected


# --- states ---------------------------------------------------------------------------------------------------------


def test_at_first_all_are_absent_and_there_is_no_file(file, register) -> None:
    assert_is(file, register, {}, frozenset())
    assert not file.exists()
    assert CAROL not in register


def test_absent_becomes_registered_then_leaving_then_absent(file, register) -> None:
    register.add(CAROL, statement(CAROL))
    assert_is(file, register, {CAROL: statement(CAROL)}, frozenset())
    assert CAROL in register
    register.add(CHRIS, None)
    assert sorted(register) == [CAROL, CHRIS]
    register.begin_removal(CAROL)
    assert_is(file, register, {CHRIS: None}, frozenset({CAROL}))
    assert CAROL not in register
    register.begin_removal(CAROL)  # asked for again
    assert_is(file, register, {CHRIS: None}, frozenset({CAROL}))
    register.end_removal(CAROL)
    assert_is(file, register, {CHRIS: None}, frozenset())
    register.add(CAROL, None)
    assert_is(file, register, {CAROL: None, CHRIS: None}, frozenset())


def test_a_registered_one_gets_another_statement_or_none(file, register) -> None:
    for told in (None, statement(CAROL, 5), statement(CAROL, 6), None):
        register.add(CAROL, told)
        assert_is(file, register, {CAROL: told}, frozenset())


def test_one_of_the_configuration_leaves_without_having_been_registered(file, register) -> None:
    register.begin_removal(CAROL)
    assert_is(file, register, {}, frozenset({CAROL}))


def test_one_that_is_leaving_cannot_be_added(file, register) -> None:
    register.begin_removal(CAROL)
    with pytest.raises(BadRequest, match="keys of sae:carol are still being burned, after its removal: try again"):
        register.add(CAROL, None)
    assert_is(file, register, {}, frozenset({CAROL}))


def test_one_that_is_not_leaving_cannot_have_left(file, register) -> None:
    register.add(CAROL, None)
    for sae in (CAROL, CHRIS):
        with pytest.raises(LocalProtocolError):
            register.end_removal(sae)
    assert_is(file, register, {CAROL: None}, frozenset())


# --- limits ---------------------------------------------------------------------------------------------------------


def test_only_so_many_can_be_registered_leaving_ones_among_them(file, register, monkeypatch) -> None:
    monkeypatch.setattr(sae_register, "MAX_SAES", 2)
    register.add(CAROL, None)
    register.add(CHRIS, None)
    with pytest.raises(
        BadRequest, match="2 SAEs are registered, and no more can be: remove some with `qss sae remove`"
    ):
        register.add(SaeId("sae:clara"), None)
    register.add(CHRIS, statement(CHRIS))  # it is there
    register.begin_removal(CAROL)
    with pytest.raises(BadRequest, match="no more can be"):
        register.add(SaeId("sae:clara"), None)
    register.end_removal(CAROL)
    register.add(SaeId("sae:clara"), None)
    assert_is(file, register, {CHRIS: statement(CHRIS), SaeId("sae:clara"): None}, frozenset())


def test_no_more_is_registered_than_can_be_told(file, register, monkeypatch) -> None:
    size = len(CAROL) + len(statement(CAROL))
    monkeypatch.setattr(sae_register, "MAX_TOLD_BYTES", size + len(CHRIS))
    register.add(CAROL, statement(CAROL))
    register.add(CHRIS, None)
    with pytest.raises(BadRequest, match="no more can be told to the network: remove some"):
        register.add(CHRIS, statement(CHRIS))
    register.add(CAROL, statement(CAROL, 6))
    assert_is(file, register, {CAROL: statement(CAROL, 6), CHRIS: None}, frozenset())


# --- the configuration ----------------------------------------------------------------------------------------------


def test_the_configuration_comes_first_and_who_is_taken_out_of_it_leaves(file, register) -> None:
    register.add(CAROL, None)
    register.add(CHRIS, None)
    register.follow(frozenset({CAROL}), frozenset())
    assert_is(file, register, {CHRIS: None}, frozenset())
    again = SaeRegister(file)
    again.follow(frozenset(), frozenset({CHRIS}))
    assert_is(file, again, {}, frozenset({CAROL, CHRIS}))
    again.follow(frozenset({CAROL}), frozenset())  # its keys of before are burned all the same
    assert_is(file, again, {}, frozenset({CAROL, CHRIS}))


def test_a_configuration_that_is_known_is_not_written_again(file, register, monkeypatch) -> None:
    register.follow(frozenset({CAROL}), frozenset())
    monkeypatch.setattr("qss.app.sae_register.replace_file", None)
    register.follow(frozenset({CAROL}), frozenset({CHRIS}))


def test_a_list_of_an_earlier_release_knows_no_configuration(file) -> None:
    file.write_text(WHOLE)
    register = SaeRegister(file)
    register.follow(frozenset({CHRIS}), frozenset())
    assert set(register) == {CAROL}


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_alone_and_can_be_read(file, register) -> None:
    before = os.umask(0)
    try:
        register.add(CAROL, None)
        register.begin_removal(CHRIS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == {
        "format": 1,
        "registered": {"sae:carol": None},
        "leaving": ["sae:chris"],
        "configured": [],
    }


WHOLE = '{"format":1,"registered":{"sae:carol":null},"leaving":["sae:chris"]}\n'


@pytest.mark.parametrize(
    "content",
    [
        *(WHOLE[:cut] for cut in range(len(WHOLE) - 1)),
        WHOLE + WHOLE,
        "[]",
        "7",
        "[" * 100_000,
        '{"more": ' + "[" * 100_000,
        WHOLE.replace("sae:carol", "sae carol"),
        WHOLE.replace("sae:chris", ""),
        WHOLE.replace("sae:chris", "sae:carol"),
        WHOLE.replace("null", '"no statement"'),
        WHOLE.replace("null", '"bm9uZQ=="'),
        WHOLE.replace("null", "7"),
        WHOLE.replace('"leaving"', '"left"'),
        WHOLE.replace('"format":1', '"format":1,"more":1'),
        WHOLE.replace('"format":1', '"format":"1"'),
    ],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(file, content) -> None:
    file.write_text(content)
    with pytest.raises(
        StoreError, match=r"saes\.json is damaged; restore it from a back-up, or remove it and register"
    ):
        SaeRegister(file)
    assert file.read_text() == content


def test_the_file_of_another_release_is_refused(file) -> None:
    for content in (WHOLE.replace(":1", ":2", 1), '{"format": 2, "homes": {}}'):
        file.write_text(content)
        with pytest.raises(StoreError, match="has format 2, this release reads 1; run the release that made it"):
            SaeRegister(file)


def test_a_file_that_cannot_be_read_is_named(file) -> None:
    file.mkdir()
    with pytest.raises(StoreUnavailable, match=r"saes\.json cannot be read .*; check its owner and mode"):
        SaeRegister(file)


# --- a failing disk -------------------------------------------------------------------------------------------------

CHANGES = {
    "add": lambda register: register.add(SaeId("sae:clara"), None),
    "begin_removal": lambda register: register.begin_removal(CAROL),
    "end_removal": lambda register: register.end_removal(CHRIS),
}


@pytest.fixture
def full(file: Path) -> SaeRegister:
    """One with SAEs in both states."""
    register = SaeRegister(file)
    register.add(CAROL, statement(CAROL))
    register.begin_removal(CHRIS)
    return register


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_whichever_step_the_disk_refuses_the_site_goes_on_as_before(file, full, monkeypatch, change, code) -> None:
    before = state(full)
    disk = FailingDisk(monkeypatch)
    told: list[str] = []
    for step in range(20):
        disk.arm(step, OSError(code, os.strerror(code)))
        try:
            change(full)
        except Unavailable as error:
            told.append(str(error))
            assert state(full) == before
        else:
            break
    assert not disk.failed  # no failure was passed over
    disk.disarm()
    assert len(told) >= 3
    assert [text for text in told if f"({os.strerror(code)}): the site goes on as before" not in text] == []
    assert state(full) != before
    assert state(SaeRegister(file)) == state(full)
    assert [path.name for path in file.parent.iterdir()] == [SAES]


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_whenever_the_power_goes_the_file_is_the_old_or_the_new(file, full, monkeypatch, change) -> None:
    before = state(full)
    disk = FailingDisk(monkeypatch)
    found: list[State] = []
    for step in range(20):
        disk.arm(step, PowerCut())
        try:
            change(full)
        except PowerCut:
            disk.disarm()
            found.append(state(SaeRegister(file)))
            continue
        break
    disk.disarm()
    assert found[0] == before
    assert {len(after[0]) + 10 * len(after[1]) for after in found} <= {
        len(known[0]) + 10 * len(known[1]) for known in (before, state(full))
    }
    assert state(SaeRegister(file)) == state(full)


def test_a_change_is_durable_before_it_counts(file, full, monkeypatch) -> None:
    disk = FailingDisk(monkeypatch)
    disk.disarm()
    full.add(SaeId("sae:clara"), None)
    assert disk.synced == [file.stat().st_ino, file.parent.stat().st_ino]
    assert disk.taken.index("fsync") < max(i for i, name in enumerate(disk.taken) if name in ("rename", "replace"))
