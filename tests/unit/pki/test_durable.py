"""Files after a power cut: what was synced, in which order, and what a failure leaves."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from qss.adapters.keyrings.key_file import make_key_file
from qss.adapters.stores.anchor import AnchorFile
from qss.model.errors import KeyRingError, PkiError
from qss.pki.durable import create_file, make_folder, replace_file
from qss.pki.files import public_file, write_new


@pytest.fixture
def synced(monkeypatch) -> list[int]:
    """The inodes that were synced, in order."""
    inodes: list[int] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        inodes.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return inodes


def inode(path: Path) -> int:
    return path.stat().st_ino


@pytest.fixture
def disk(monkeypatch) -> Callable[[Callable[[int], bool]], None]:
    """Let the syncing of some files fail: those whose mode the given function says yes to."""
    fsync = os.fsync

    def failing(fails: Callable[[int], bool]) -> None:
        def sync(descriptor: int) -> None:
            if fails(os.fstat(descriptor).st_mode):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", sync)

    return failing


def test_a_new_file_is_synced_and_then_its_folder(tmp_path, synced):
    path = tmp_path / "file"
    create_file(path, b"content", 0o600)
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert synced == [inode(path), inode(tmp_path)]


def test_what_is_there_is_not_overwritten(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        create_file(path, b"new", 0o600)
    assert path.read_bytes() == b"old"


def test_a_file_is_replaced_in_one_piece(tmp_path, synced):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / "file.new").write_bytes(b"what a crash left, and longer than that")
    replace_file(path, b"new", 0o600)
    assert path.read_bytes() == b"new"
    assert synced == [inode(path), inode(tmp_path)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fails", [stat.S_ISREG, stat.S_ISDIR])
def test_a_file_that_may_not_last_is_not_left_behind(tmp_path, disk, fails):
    disk(fails)
    with pytest.raises(OSError, match="Input/output"):
        create_file(tmp_path / "file", b"content", 0o600)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_keeps_the_old_content(tmp_path, disk):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    disk(stat.S_ISREG)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(path, b"new", 0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_new_folders_are_named_durably(tmp_path, synced):
    folder = tmp_path / "a" / "b"
    make_folder(folder)
    make_folder(folder)
    assert synced == [inode(tmp_path), inode(tmp_path / "a")]


def test_whatever_is_written_for_good_is_named_durably(tmp_path, synced):
    for number, write in enumerate(
        (
            lambda folder: write_new([public_file(folder / "a.pem", b"x"), public_file(folder / "b.pem", b"x")]),
            lambda folder: make_key_file(folder / "master"),
            lambda folder: AnchorFile(folder / "anchor").write(7),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        synced.clear()
        write(folder)
        assert set(synced) == {inode(folder), *(inode(path) for path in folder.iterdir())}
        assert synced[-1] == inode(folder)


def test_a_failing_disk_leaves_neither_certificates_nor_a_master_key(tmp_path, disk):
    disk(stat.S_ISDIR)
    with pytest.raises(PkiError, match="nothing was left behind"):
        write_new([public_file(tmp_path / "a.pem", b"x")])
    with pytest.raises(KeyRingError, match="cannot be made"):
        make_key_file(tmp_path / "master")
    assert list(tmp_path.iterdir()) == []
