"""`qss backup`, `qss restore` and `qss zeroize`: what they say, what they ask, and that a refusal is one line."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qss.adapters.keyrings.key_file import key_file_ring, make_key_file
from qss.adapters.stores.sqlite import take_lock
from qss.app.audit.segments import AUDIT
from qss.app.data_folder import LEDGER, initialise
from qss.app.data_key_file import DATA_KEY, ZEROIZED
from qss.app.sae_register import SAES, SaeRegister
from qss.cli.main import main
from qss.model.identifiers import QksId, SaeId


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_key_file(tmp_path / "master")
    asyncio.run(initialise(tmp_path / "A.data", QksId("A"), key_file_ring(tmp_path / "master")))
    return tmp_path / "A.data"


def qss(*arguments: object, **named) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], **named)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_refused(result: Result, says: str, *, status: int = 1) -> None:
    assert result.exit_code == status, result.output
    assert says in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert "Traceback" not in result.output
    if status == 1:
        assert result.stderr.startswith("qss: ")
        assert result.stderr.count("\n") == 1


def test_a_back_up_and_what_is_made_of_it_need_no_master_key(data, tmp_path, monkeypatch) -> None:
    (tmp_path / "master").unlink()
    monkeypatch.chdir(tmp_path)
    made = qss("backup", "A.data", "copy")
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith(f"Backed up site A to {tmp_path / 'copy'} (commit 0):\n")
    for name, says in ((LEDGER, "the ledger, without key"), (DATA_KEY, "the data key, sealed"), ("back-up.json", "")):
        assert f"  {tmp_path / 'copy' / name}  {says}" in made.stdout
    assert "applications" not in made.stdout
    assert "audit" not in made.stdout
    assert "Leave the anchor where it is: it belongs into no back-up." in made.stdout
    assert f"Restore it with `qss restore {tmp_path / 'copy'} DIR`." in made.stdout

    restored = qss("restore", "copy", "B.data")
    assert restored.exit_code == 0, restored.output
    assert restored.stdout.startswith(f"Restored site A in {tmp_path / 'B.data'}, as it was at 20")
    for says in (" UTC (commit 0).\n", "`qss node --config FILE --check`", "burned at both ends of every link,\n"):
        assert says in restored.stdout
    assert "Never start another copy of this data folder again." in restored.stdout
    assert names(tmp_path / "B.data") == {LEDGER, DATA_KEY, AUDIT}


def test_registered_applications_are_named_and_that_they_are_there_again(data, tmp_path) -> None:
    SaeRegister(data / SAES).add(SaeId("sae:anna"), None)
    made = qss("backup", data, tmp_path / "copy")
    assert f"  {tmp_path / 'copy' / SAES}  the applications that are registered\n" in made.stdout
    restored = qss("restore", tmp_path / "copy", tmp_path / "B.data")
    assert "also those that were removed since: look at\n  them with `qss sae list`" in restored.stdout


def test_a_refusal_is_one_line_and_leaves_nothing(data, tmp_path) -> None:
    before = names(tmp_path)
    for arguments, says in (
        (("backup", data, data), "is not empty and is left as it is"),
        (("backup", tmp_path / "gone", tmp_path / "copy"), "is no data folder"),
        (("restore", data, tmp_path / "copy"), "is no back-up: it has no back-up.json"),
        (("restore", data, data), "is no back-up"),
        (("zeroize", "--yes", tmp_path), "is neither a data folder nor a back-up; nothing was destroyed"),
        (("zeroize", tmp_path / "gone"), "is neither a data folder nor a back-up; nothing was destroyed"),
    ):
        assert_refused(qss(*arguments), says)
        assert names(tmp_path) == before
        assert names(data) == {LEDGER, DATA_KEY}


@pytest.mark.parametrize("command", ["backup", "restore", "zeroize"])
def test_folders_are_named(command) -> None:
    assert_refused(qss(command), "Missing argument", status=2)


# --- zeroize ------------------------------------------------------------------------------------------------------


def assert_destroyed(result: Result, data: Path) -> None:
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"Destroyed the data key of {data}.",
        "Back-ups have copies of the sealed data key: zeroize those as well, or destroy the master key.",
        "Erased what it had sealed. The ledger is still there.",
    ]
    assert names(data) == {LEDGER, f"{LEDGER}.lock", ZEROIZED}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's input is a terminal."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)


def test_without_a_terminal_nothing_is_destroyed_unless_it_is_told_so(data) -> None:
    assert_refused(qss("zeroize", data), "there is no terminal to ask at: give --yes", status=2)
    assert names(data) == {LEDGER, DATA_KEY}
    assert_destroyed(qss("zeroize", data, "--yes"), data)
    assert_destroyed(qss("zeroize", data, "--yes"), data)  # again


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("answer", ["", "\n", "n\n", "no\n"])
def test_whoever_does_not_say_yes_has_destroyed_nothing(data, answer) -> None:
    refused = qss("zeroize", data, input=answer)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"Destroy the data key of {data}, and so all key in its store, for ever? [y/N]: ")
    assert "Aborted!" in refused.stderr
    assert names(data) == {LEDGER, DATA_KEY}


@pytest.mark.usefixtures("terminal")
def test_whoever_says_yes_has(data) -> None:
    assert_destroyed(qss("zeroize", data, input="y\n"), data)


def test_a_process_that_has_the_folder_open_is_to_be_ended(data) -> None:
    lock = take_lock(data / LEDGER)
    try:
        told = qss("zeroize", data, "--yes")
    finally:
        os.close(lock)
    assert told.exit_code == 1
    assert told.stdout.startswith(f"Destroyed the data key of {data}.\n")
    assert "Erased" not in told.stdout
    assert told.stderr == (
        f"qss: a process has {data} open, and holds its data key in memory: a node ends for that within seconds; "
        f"see that it does, or end it with `kill -9`, and run `qss zeroize {data}` again to erase the sealed key\n"
    )
    assert DATA_KEY not in names(data)
    assert_destroyed(qss("zeroize", data, "--yes"), data)


def test_a_disk_that_refuses_is_told_in_one_line_and_nothing_is_called_destroyed(data, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "pwrite", refuse)
    monkeypatch.setattr(os, "unlink", refuse)
    assert_refused(
        qss("zeroize", data, "--yes"), "could NOT be destroyed (Read-only file system); destroy the master key"
    )
    assert names(data) == {LEDGER, DATA_KEY}
