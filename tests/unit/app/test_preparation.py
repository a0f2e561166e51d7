"""What is looked at before a start: each thing that would end it is refused, and nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from qss.app.catalogue import keyring_of, make_master_key
from qss.app.configuration import load
from qss.app.data_folder import LEDGER, initialise
from qss.app.preparation import prepare
from qss.app.site_tables import KeyFileKeyRing, SiteConfiguration
from qss.cli.main import main
from qss.model.errors import KeyRingError, PkiError, QssError, StoreError, StoreUnavailable
from qss.model.identifiers import QksId
from qss.pki.contexts import check_site
from support.pki import Pki

TOML = """
[site]
id = "A"
uuid = "6f1c2f5e-9a52-4a0a-8f0f-1f4f0c6c7d01"
data = "A.data"
anchor = "anchors/A"
[keyring]
type = "key-file"
file = "A.master"
[tls]
authority = "pki/ca.pem"
certificate = "pki/sites/A.pem"
key = "pki/sites/A.key"
[northbound]
listen = "127.0.0.1:0"
[external]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[[saes]]
id = "sae:carol"
site = "C"
"""


@dataclass(frozen=True)
class Place:
    """The files of a site."""

    folder: Path
    pki: Pki

    def configuration(self, change: tuple[str, str] = ("", "")) -> SiteConfiguration:
        file = self.folder / "A.toml"
        assert change[0] in TOML
        file.write_text(TOML.replace(*change) if change[0] else TOML, encoding="utf-8")
        return load(file)

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".toml"}


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    pki = Pki(tmp_path / "pki")
    pki.site("A")
    table = KeyFileKeyRing(file=tmp_path / "A.master")
    make_master_key(table)
    await initialise(tmp_path / "A.data", QksId("A"), keyring_of(table))
    (tmp_path / "anchors").mkdir()
    return Place(tmp_path, pki)


async def test_a_site_that_can_start(place: Place) -> None:
    before = place.files()
    prepared = await prepare(place.configuration())
    assert prepared.certificate_expires == check_site(place.pki.site("A").certificate, QksId("A"))
    assert len(prepared.notes) == 1
    assert "sae:carol is at home at C" in prepared.notes[0]
    assert place.files() == before


async def test_a_data_folder_that_others_can_enter_is_noted(place: Place) -> None:
    (place.folder / "A.data").chmod(0o750)
    note = (await prepare(place.configuration())).notes[-1]
    data = place.folder / "A.data"
    assert note == f"others than its owner can enter the data folder {data} (mode 0750): `chmod 700 {data}`"


def issue_another(place: Place) -> None:
    place.pki.site("B")


def open_key(place: Place) -> None:
    place.pki.site("A").key.chmod(0o644)


def another_master(place: Place) -> None:
    (place.folder / "A.master").write_bytes(os.urandom(32))


def no_ledger(place: Place) -> None:
    (place.folder / "A.data" / LEDGER).unlink()


def no_anchors(place: Place) -> None:
    (place.folder / "anchors").rmdir()


def garbled_anchor(place: Place) -> None:
    (place.folder / "anchors" / "A").write_bytes(b"\0\0\0\0")


BROKEN: list[tuple[Callable[[Place], None], tuple[str, str], type[QssError], str]] = [
    (issue_another, ("sites/A", "sites/B"), PkiError, r"B\.pem is a certificate of site B, not A"),
    (open_key, ("", ""), PkiError, "chmod 600"),
    (another_master, ("", ""), KeyRingError, "does not open this data key"),
    (no_ledger, ("", ""), StoreError, "there is no store at"),
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


def check(place: Place) -> tuple[int, str, str]:
    ran = CliRunner().invoke(main, ["node", "--config", str(place.folder / "A.toml"), "--check"])
    return ran.exit_code, ran.stdout, ran.stderr


def test_check_says_what_it_found(place: Place) -> None:
    place.configuration()
    (place.folder / "A.data").chmod(0o755)
    status, out, err = check(place)
    lines = out.splitlines()
    assert (status, err, len(lines)) == (0, "", 4)
    assert lines[0].startswith("note: saes[0]: sae:carol")
    assert lines[1].endswith(f"`chmod 700 {place.folder / 'A.data'}`")
    assert lines[2].startswith("note: this site's certificate ends on ")  # the tests' certificates live ten days
    assert lines[3] == f"{place.folder / 'A.toml'} can be used"

    no_anchors(place)
    status, out, err = check(place)
    assert (status, out) == (1, "")
    assert err.startswith("qss: there is no folder ")
