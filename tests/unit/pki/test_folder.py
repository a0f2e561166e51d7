"""The authority's folder: nothing overwritten, nothing half made, keys for their owner alone."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from qss.model.errors import PkiError
from qss.model.identifiers import QkdmId, QksId, SaeId
from qss.pki.files import private_file, public_file, read, write_new
from qss.pki.folder import PkiFolder
from qss.pki.keys import new_private_key


@pytest.fixture
def folder(tmp_path: Path) -> PkiFolder:
    made = PkiFolder(tmp_path / "pki")
    made.create("test authority", days=30)
    return made


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def csr(tmp_path: Path) -> Path:
    path = tmp_path / "request.pem"
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(new_private_key(), SHA256())
    path.write_bytes(request.public_bytes(Encoding.PEM))
    return path


def test_what_is_where(folder, csr):
    folder.issue_site(QksId("A"), ["localhost"], 10)
    folder.issue_sae(SaeId("sae:alice"), 10)
    folder.sign_sae(csr, SaeId("sae:bob"), 10)
    folder.sign_site(csr, QksId("B"), ["localhost"], 10)
    folder.issue_module(QkdmId("A/1"), ["localhost"], 10)
    folder.sign_module(csr, QkdmId("A/2"), ["localhost"], 10)
    assert set(content(folder.root)) == {
        "ca.pem", "ca.key", "sites/A.pem", "sites/A.key", "sites/B.pem",
        "saes/sae_alice.pem", "saes/sae_alice.key", "saes/sae_bob.pem",
        "modules/A/1.pem", "modules/A/1.key", "modules/A/2.pem",
    }  # fmt: skip


def test_keys_are_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        folder = PkiFolder(tmp_path / "pki")
        folder.create("test authority", days=30)
        folder.issue_site(QksId("A"), ["localhost"], 10)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.root.rglob("*.key")}
    assert modes == {"ca.key": 0o600, "A.key": 0o600}


@pytest.mark.parametrize(
    "act",
    [
        lambda folder, csr: folder.create("again", days=30),
        lambda folder, csr: folder.issue_site(QksId("A"), ["localhost"], 10),
        lambda folder, csr: folder.issue_sae(SaeId("sae:alice"), 10),
        lambda folder, csr: folder.sign_site(csr, QksId("A"), ["localhost"], 10),
        lambda folder, csr: folder.issue_module(QkdmId("A/1"), ["localhost"], 10),
        lambda folder, csr: folder.sign_module(csr, QkdmId("A/1"), ["localhost"], 10),
        lambda folder, csr: folder.sign_sae(csr, SaeId("sae:alice"), 10),
    ],
)
def test_nothing_is_overwritten(folder, csr, act):
    folder.issue_site(QksId("A"), ["localhost"], 10)
    folder.issue_module(QkdmId("A/1"), ["localhost"], 10)
    folder.issue_sae(SaeId("sae:alice"), 10)
    before = content(folder.root)
    with pytest.raises(PkiError, match="is there already and is not overwritten"):
        act(folder, csr)
    assert content(folder.root) == before


@pytest.mark.parametrize("left", ["A.key", "A.pem"])
def test_half_a_pair_is_not_completed(folder, left):
    pair = folder.issue_site(QksId("A"), ["localhost"], 10)
    for path in (pair.key, pair.certificate):
        if path.name != left:
            path.unlink()
    before = content(folder.root)
    with pytest.raises(PkiError, match=left):
        folder.issue_site(QksId("A"), ["localhost"], 10)
    assert content(folder.root) == before


def test_a_dangling_link_is_not_written_through(folder, tmp_path):
    (folder.root / "sites").mkdir()
    (folder.root / "sites" / "A.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PkiError, match="is there already"):
        folder.issue_site(QksId("A"), ["localhost"], 10)
    assert not (tmp_path / "elsewhere").exists()


def test_a_refusal_writes_nothing(folder):
    before = content(folder.root)
    for days in (31, 0):
        with pytest.raises(PkiError):
            folder.issue_site(QksId("A"), ["localhost"], days)
    with pytest.raises(PkiError):
        folder.issue_site(QksId("A"), ["not a host"], 10)
    with pytest.raises(PkiError):
        folder.issue_sae(SaeId("alice"), 10)
    assert content(folder.root) == before
    assert not (folder.root / "sites").exists()


def test_a_full_disk_leaves_nothing_half_made(folder, monkeypatch):
    before = content(folder.root)
    calls = 0

    def full_at_the_second(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_at_the_second)
    with pytest.raises(PkiError, match="No space left on device"):
        folder.issue_site(QksId("A"), ["localhost"], 10)
    assert calls == 2
    assert content(folder.root) == before


def test_losing_a_race_removes_only_what_is_ours(tmp_path, monkeypatch):
    # The other process comes between the check and the writing.
    monkeypatch.setattr("qss.pki.files.refuse_existing", lambda paths: None)
    (tmp_path / "b").write_bytes(b"theirs")
    with pytest.raises(PkiError, match="cannot be written"):
        write_new([private_file(tmp_path / "a", b"ours"), public_file(tmp_path / "b", b"ours")])
    assert content(tmp_path) == {"b": b"theirs"}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PkiError, match="cannot be written"):
        PkiFolder(tmp_path / "file" / "pki").create("x", days=1)


def test_without_an_authority_the_remedy_is_named(tmp_path):
    with pytest.raises(PkiError, match="make one with: qss pki ca --out"):
        PkiFolder(tmp_path / "none").issue_sae(SaeId("sae:alice"), 10)
    assert not (tmp_path / "none").exists()


def test_no_content_in_a_files_repr(tmp_path):
    assert "secret" not in repr(private_file(tmp_path / "k", b"secret"))


def test_what_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "big.pem"
    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(PkiError, match="larger than"):
        read(path)
