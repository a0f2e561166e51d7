"""A site's files on their own: configuration, certificates, master key, data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qss.app.catalogue import keyring_of, make_master_key
from qss.app.configuration import load
from qss.app.data_folder import initialise
from qss.app.site_tables import KeyFileKeyRing, SiteConfiguration
from qss.model.identifiers import QksId
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


async def made_place(tmp_path: Path) -> Place:
    """Make them in a folder that exists."""
    pki = Pki(tmp_path / "pki")
    pki.site("A")
    table = KeyFileKeyRing(file=tmp_path / "A.master")
    make_master_key(table)
    await initialise(tmp_path / "A.data", QksId("A"), keyring_of(table))
    (tmp_path / "anchors").mkdir()
    return Place(tmp_path, pki)
