"""Files that hold a secret, and what is told of one that cannot be used: never what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from qss.adapters.keyrings.key_file import key_file_ring, make_key_file
from qss.adapters.keyrings.master_key import MASTER_KEY_BYTES
from qss.adapters.keyrings.passphrase import read_passphrase_file
from qss.adapters.keyrings.secret_file import MAX_SECRET_BYTES, read_guarded, read_private
from qss.adapters.keyrings.systemd import DIRECTORY_VARIABLE, systemd_ring
from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial
from support.failing_disk import FailingDisk

SECRET = b"0123456789abcdef0123456789ABCDEF"
CONTEXT = b"context"


def written(path: Path, secret: bytes = SECRET, mode: int = 0o600) -> Path:
    path.write_bytes(secret)
    path.chmod(mode)
    return path


def refused(read: Callable[[], object], says: str) -> None:
    with pytest.raises(KeyRingError, match=says) as caught:
        read()
    assert "0123" not in str(caught.value)
    assert "0123" not in repr(caught.value.__cause__)


# --- any secret file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_that_its_owner_alone_can_read_is_read(tmp_path, mode) -> None:
    assert read_private(written(tmp_path / "s", mode=mode), "it").reveal() == SECRET


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o666, 0o620, 0o602, 0o610, 0o601, 0o777, 0o444])
def test_a_file_that_others_can_reach_is_refused_with_the_command_that_mends_it(tmp_path, mode) -> None:
    path = written(tmp_path / "s", mode=mode)
    says = rf"the key file {path} can be read by others than its owner \(mode {mode:04o}\)"
    refused(lambda: read_private(path, "the key file"), f"{says}; change that with `chmod 600 {path}`")


@pytest.mark.parametrize(
    ("mode", "taken"), [(0o440, True), (0o640, True), (0o400, True), (0o444, False), (0o401, False)]
)
def test_of_a_guarded_folder_the_group_may_read(tmp_path, mode, taken) -> None:
    path = written(tmp_path / "s", mode=mode)
    if taken:
        assert read_guarded(path, "it").reveal() == SECRET
    else:
        refused(lambda: read_guarded(path, "it"), "chmod 600")


def test_a_link_is_as_open_as_the_file_that_it_leads_to(tmp_path) -> None:
    closed, opened = written(tmp_path / "closed"), written(tmp_path / "opened", mode=0o644)
    for name, target in (("one", closed), ("two", opened), ("three", tmp_path / "gone"), ("four", tmp_path / "four")):
        (tmp_path / name).symlink_to(target)
    assert read_private(tmp_path / "one", "it").reveal() == SECRET
    refused(lambda: read_private(tmp_path / "two", "it"), r"mode 0644")
    refused(lambda: read_private(tmp_path / "three", "it"), r"cannot be read \(No such file or directory\)")
    refused(lambda: read_private(tmp_path / "four", "it"), r"cannot be read \(Too many levels of symbolic links\)")


def test_what_is_no_file_is_refused(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "gone", written(tmp_path / "s") / "below"):
        refused(
            lambda path=path: read_private(path, "the key file"), r"cannot be read \(.*\); check the path and the owner"
        )


@pytest.mark.parametrize(("size", "taken"), [(0, True), (MAX_SECRET_BYTES, True), (MAX_SECRET_BYTES + 1, False)])
def test_a_secret_has_a_longest_size(tmp_path, size, taken) -> None:
    path = written(tmp_path / "s", b"0123" * (size // 4) + b"0" * (size % 4))
    if taken:
        assert len(read_private(path, "it")) == size
    else:
        refused(lambda: read_private(path, "it"), "is longer than 4096 bytes; name the right file")


def test_no_more_than_that_is_read_of_an_endless_file(tmp_path) -> None:
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        file.truncate(1 << 40)
    endless.chmod(0o600)
    refused(lambda: read_private(endless, "it"), "is longer than")


# --- key files ------------------------------------------------------------------------------------------------------


def test_a_key_file_is_32_fresh_bytes_for_its_owner_alone(tmp_path) -> None:
    before = os.umask(0)
    try:
        for name in ("one", "two"):
            make_key_file(tmp_path / name)
    finally:
        os.umask(before)
    one, two = (tmp_path / "one").read_bytes(), (tmp_path / "two").read_bytes()
    assert len(one) == len(two) == MASTER_KEY_BYTES
    assert one != two
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600


def test_a_key_file_is_never_overwritten(tmp_path) -> None:
    path = written(tmp_path / "s")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for there in (path, tmp_path / "link"):
        refused(lambda there=there: make_key_file(there), "exists already and is not overwritten; use it as it is")
    assert path.read_bytes() == SECRET
    assert not (tmp_path / "gone").exists()


def test_a_key_file_needs_its_folder(tmp_path) -> None:
    refused(lambda: make_key_file(tmp_path / "gone" / "s"), "cannot be made .*; check the folder and its owner")


def test_a_disk_that_fails_leaves_no_half_made_key_file(tmp_path, monkeypatch) -> None:
    disk = FailingDisk(monkeypatch)
    for step in range(20):
        disk.arm(step, OSError(28, "No space left on device"))
        try:
            make_key_file(tmp_path / "s")
        except KeyRingError:
            assert not (tmp_path / "s").exists()
        else:
            break
    assert step > 2
    assert not disk.failed
    assert len((tmp_path / "s").read_bytes()) == MASTER_KEY_BYTES


@pytest.mark.parametrize("secret", [b"", b"0", SECRET[:-1], SECRET + b"0", SECRET + b"\n", SECRET.hex().encode()])
async def test_a_master_key_of_another_size_is_refused(tmp_path, monkeypatch, secret) -> None:
    written(tmp_path / "s", secret)
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    for ring in (key_file_ring(tmp_path / "s"), systemd_ring("s")):
        with pytest.raises(KeyRingError, match=f"has {len(secret)} bytes, not 32; make one with") as caught:
            await ring.wrap(KeyMaterial(bytes(32)), CONTEXT)
        assert "0123" not in str(caught.value)


async def test_the_master_key_is_read_at_every_use_and_not_kept(tmp_path) -> None:
    ring = key_file_ring(written(tmp_path / "s"))
    wrapped = await ring.wrap(KeyMaterial(bytes(32)), CONTEXT)
    (tmp_path / "s").unlink()
    with pytest.raises(KeyRingError, match=r"the key file .*/s cannot be read \(No such file or directory\)"):
        await ring.unwrap(wrapped, CONTEXT)


# --- systemd credentials --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../key"])
def test_a_credential_lies_in_its_folder(name) -> None:
    refused(lambda: systemd_ring(name), "is no name of a systemd credential; give the name that the unit file gives")


@pytest.mark.parametrize("value", [None, ""])
async def test_without_systemd_there_are_no_credentials(monkeypatch, value) -> None:
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(DIRECTORY_VARIABLE, value)
    with pytest.raises(
        KeyRingError, match="was not started by systemd with credentials; add `LoadCredentialEncrypted=m:"
    ):
        await systemd_ring("m").wrap(KeyMaterial(bytes(32)), CONTEXT)


async def test_a_credential_that_is_absent_or_open_to_all_is_refused(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    written(tmp_path / "open", mode=0o444)
    written(tmp_path / "group", mode=0o440)
    with pytest.raises(KeyRingError, match="cannot be read"):
        await systemd_ring("absent").wrap(KeyMaterial(bytes(32)), CONTEXT)
    with pytest.raises(KeyRingError, match="can be read by others"):
        await systemd_ring("open").wrap(KeyMaterial(bytes(32)), CONTEXT)
    await systemd_ring("group").wrap(KeyMaterial(bytes(32)), CONTEXT)


# --- passphrase files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"0123 is it", "0123 is it"),
        (b"0123 is it\n", "0123 is it"),
        (b"0123 is it\r\n", "0123 is it"),
        (b"  0123\t", "  0123\t"),
        ("0123 ü\n".encode(), "0123 ü"),
        ("0123 u\u0308\n".encode(), "0123 ü"),
    ],
)
def test_a_passphrase_file_is_one_line_without_its_end_in_composed_form(tmp_path, content, passphrase) -> None:
    assert read_passphrase_file(written(tmp_path / "s", content)).reveal() == passphrase.encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; write the passphrase into it"),
        (b"\n", "is empty"),
        (b"0123\nmore", "has more than one line; write the passphrase as one line"),
        (b"0123\n\n", "has more than one line"),
        (b"0123\xff\xfe", "is no UTF-8 text; write the passphrase as one line"),
        (b"\xff\xfe0\x001\x00", "is no UTF-8 text"),
        (b"0123" * 2000, "is longer than"),
    ],
)
def test_another_passphrase_file_is_refused(tmp_path, content, says) -> None:
    path = written(tmp_path / "s", content)
    refused(lambda: read_passphrase_file(path), f"the passphrase file {path} {says}")


def test_a_passphrase_file_that_others_can_read_is_refused(tmp_path) -> None:
    refused(lambda: read_passphrase_file(written(tmp_path / "s", mode=0o640)), "chmod 600")
