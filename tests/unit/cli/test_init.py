"""`qss init` with each place for a master key, and everything that it refuses: then nothing is left behind."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qss.adapters.keyrings.key_file import key_file_ring
from qss.adapters.keyrings.passphrase import PassphraseKeyRing, passphrase_of
from qss.adapters.keyrings.systemd import DIRECTORY_VARIABLE, systemd_ring
from qss.app.data_folder import open_store
from qss.cli.main import main
from qss.model.identifiers import QksId
from qss.ports.keyring import KeyRing

WORDS = "six words that dice have drawn"
MASTER = bytes(range(100, 132))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "A.data"


def init(folder: Path, *arguments: object, site: str | None = "A", **named) -> Result:
    options = [] if site is None else ["--site", site]
    return CliRunner().invoke(main, ["init", str(folder), *options, *map(str, arguments)], **named)


def secret(path: Path, content: bytes = MASTER, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def assert_opens(folder: Path, keyring: KeyRing) -> None:
    async def start() -> None:
        store = await open_store(folder, QksId("A"), keyring)
        assert (await store.start()).streams == ()
        await store.close()

    asyncio.run(start())


def assert_made(result: Result, folder: Path, master_key: str) -> None:
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"Made {folder} for site A:\n")
    assert f"  {folder / 'ledger.sqlite'}  the store" in result.stdout
    assert f"  {folder / 'data-key.json'}  the data key, sealed under {master_key}\n" in result.stdout
    assert f"Back up {folder} with `qss backup` and, in another place, {master_key}." in result.stdout
    assert f"Leave the anchor ({folder}.anchor by default) out of back-ups" in result.stdout


def assert_refused(result: Result, says: str, folder: Path, *, status: int = 1) -> None:
    """Refused in words on stderr, without a secret, and with nothing left behind."""
    assert result.exit_code == status, result.output
    assert says in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert "Traceback" not in result.output
    assert WORDS not in result.output
    assert not folder.exists()
    assert not [path.name for path in folder.parent.iterdir() if path.name.endswith(".making")]


# --- each place for a master key ----------------------------------------------------------------------------------


def test_a_key_file_is_made(folder, tmp_path) -> None:
    path = tmp_path / "master"
    assert_made(init(folder, "--key-file", path, "--make-key"), folder, f"the key file {path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert_opens(folder, key_file_ring(path))


def test_a_key_file_that_is_there_is_used_as_it_is(folder, tmp_path) -> None:
    path = secret(tmp_path / "master")
    assert_made(init(folder, "--key-file", path), folder, f"the key file {path}")
    assert path.read_bytes() == MASTER
    assert_opens(folder, key_file_ring(path))


def test_a_passphrase_file_is_used_named_by_option_or_environment(folder, tmp_path) -> None:
    path = secret(tmp_path / "pass", WORDS.encode() + b"\n")
    assert_made(init(folder, "--passphrase-file", path), folder, f"the passphrase in {path}")
    assert_opens(folder, PassphraseKeyRing(lambda: passphrase_of(WORDS)))
    other = tmp_path / "other.data"
    made = init(other, env={"QSS_PASSPHRASE_FILE": str(path)})
    assert_made(made, other, f"the passphrase in {path}")
    assert WORDS not in made.output


def test_a_systemd_credential_is_used(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    secret(tmp_path / "qss-master", mode=0o440)
    made = init(folder, "--systemd-credential", "qss-master")
    assert_made(made, folder, "the systemd credential qss-master")
    assert_opens(folder, systemd_ring("qss-master"))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's input is a terminal."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)


@pytest.mark.usefixtures("terminal")
def test_without_an_option_a_passphrase_is_asked_for_twice_and_not_shown(folder) -> None:
    made = init(folder, input=f"{WORDS}\n{WORDS}\n")
    assert made.stderr.startswith("Passphrase (12 characters or more): \nRepeat for confirmation: \n")
    assert_made(made, folder, "your passphrase")
    assert WORDS not in made.output
    assert_opens(folder, PassphraseKeyRing(lambda: passphrase_of(WORDS)))


@pytest.mark.usefixtures("terminal")
def test_two_passphrases_that_differ_are_asked_for_again(folder) -> None:
    assert_refused(init(folder, input=f"{WORDS}\n{WORDS}!\n"), "The two entered values do not match", folder)


@pytest.mark.usefixtures("terminal")
def test_a_short_passphrase_is_refused(folder) -> None:
    assert_refused(init(folder, input="hush hush\nhush hush\n"), "shorter than 12 characters", folder)


@pytest.mark.usefixtures("terminal")
def test_whoever_ends_the_asking_has_made_nothing(folder) -> None:
    assert_refused(init(folder, input=""), "Aborted!", folder)


def test_an_option_overrules_the_passphrase_file_of_the_environment(folder, tmp_path) -> None:
    path = tmp_path / "master"
    made = init(folder, "--key-file", path, "--make-key", env={"QSS_PASSPHRASE_FILE": "/no/such/file"})
    assert_made(made, folder, f"the key file {path}")
    assert_opens(folder, key_file_ring(path))


# --- refusals -----------------------------------------------------------------------------------------------------


def test_without_a_terminal_nothing_is_asked(folder) -> None:
    says = "there is no terminal to ask a passphrase at: give --passphrase-file, --key-file or --systemd-credential"
    assert_refused(init(folder), says, folder, status=2)


@pytest.mark.parametrize(
    "options",
    [
        ["--passphrase-file", "p", "--key-file", "k"],
        ["--passphrase-file", "p", "--systemd-credential", "c"],
        ["--key-file", "k", "--systemd-credential", "c"],
        ["--passphrase-file", "p", "--key-file", "k", "--make-key", "--systemd-credential", "c"],
    ],
)
def test_there_is_one_master_key(folder, options) -> None:
    says = "give one of --passphrase-file, --key-file and --systemd-credential, not several"
    assert_refused(init(folder, *options), says, folder, status=2)


@pytest.mark.parametrize("options", [[], ["--passphrase-file", "p"], ["--systemd-credential", "c"]])
def test_a_key_is_made_in_a_key_file_alone(folder, options) -> None:
    says = "--make-key makes the file that --key-file names: give --key-file as well"
    assert_refused(init(folder, "--make-key", *options), says, folder, status=2)


def test_a_site_is_named(folder) -> None:
    assert_refused(init(folder, site=None), "Missing option '--site'", folder, status=2)


@pytest.mark.parametrize("site", ["", "a b", "../A", "x" * 64])
def test_a_site_is_a_qks_id(folder, tmp_path, site) -> None:
    made = init(folder, "--key-file", tmp_path / "master", "--make-key", site=site)
    assert_refused(made, "is no QKS ID: use 1 to 63 letters", folder)
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_is_not_overwritten(folder, tmp_path) -> None:
    path = secret(tmp_path / "master")
    assert_refused(init(folder, "--key-file", path, "--make-key"), "exists already and is not overwritten", folder)
    assert path.read_bytes() == MASTER


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (MASTER, 0o644, "can be read by others than its owner (mode 0644); change that with `chmod 600"),
        (MASTER[:-1], 0o600, "has 31 bytes, not 32; make one with `head -c 32 /dev/urandom`"),
        (b"", 0o600, "has 0 bytes, not 32"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_refused(folder, tmp_path, content, mode, says) -> None:
    assert_refused(init(folder, "--key-file", secret(tmp_path / "master", content, mode)), says, folder)


def test_files_that_are_not_there_are_refused(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    says = f"there is no key file {tmp_path / 'gone'}; name the right one, or have it made with --make-key"
    assert_refused(init(folder, "--key-file", tmp_path / "gone"), says, folder)
    assert_refused(init(folder, "--passphrase-file", tmp_path / "gone"), "cannot be read (No such file", folder)
    assert_refused(init(folder, "--systemd-credential", "gone"), "was not started by systemd", folder)
    assert_refused(init(folder, "--systemd-credential", "../gone"), "is no name of a systemd credential", folder)
    assert_refused(init(folder, "--key-file", tmp_path), "is a directory", folder, status=2)


def test_a_passphrase_file_that_cannot_be_used_is_refused(folder, tmp_path) -> None:
    for content, mode, says in (
        (WORDS.encode(), 0o640, "chmod 600"),
        (b"hush\n", 0o600, "shorter than 12 characters"),
        (b"", 0o600, "is empty"),
        (WORDS.encode() + b"\nand more", 0o600, "has more than one line"),
    ):
        path = secret(tmp_path / "pass", content, mode)
        assert_refused(init(folder, "--passphrase-file", path), says, folder)


def test_where_there_is_no_room_the_key_file_that_was_made_for_it_goes_as_well(folder, tmp_path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_bytes(b"ten years")
    path = tmp_path / "master"
    for place, says in ((folder, "is not empty and is left as it is"), (tmp_path / "no" / "where", "mkdir -p")):
        refused = init(place, "--key-file", path, "--make-key")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith("qss: ")
        assert says in refused.stderr
        assert list(tmp_path.iterdir()) == [folder]
    assert [file.name for file in folder.iterdir()] == ["thesis.tex"]


def test_a_data_folder_is_not_made_twice(folder, tmp_path) -> None:
    path = secret(tmp_path / "master")
    init(folder, "--key-file", path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    again = init(folder, "--key-file", path)
    assert again.exit_code == 1
    assert "is not empty and is left as it is" in again.stderr
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_relative_folder_is_told_by_its_whole_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = init(Path("A.data"), "--key-file", "master", "--make-key")
    assert made.exit_code == 0, made.output
    assert f"Made {tmp_path / 'A.data'} for site A" in made.stdout
