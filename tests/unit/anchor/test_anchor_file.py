"""The anchor never falls, survives a power cut at any step, and tells a damaged file from an absent one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qss.adapters.stores.anchor import AnchorFile
from qss.model.errors import StoreError, StoreUnavailable
from support.failing_disk import FailingDisk, PowerCut


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "A.anchor"


def new(path: Path) -> Path:
    """Where the next content is written before it takes the place of the last."""
    return path.with_name(path.name + ".new")


def test_there_is_no_anchor_before_the_first_write(path) -> None:
    assert AnchorFile(path).read() is None
    AnchorFile(path).write(0)
    assert AnchorFile(path).read() == 0


@given(st.lists(st.integers(0, 1 << 62), min_size=1, max_size=10))
@settings(max_examples=30)
def test_it_is_the_highest_number_ever_written(tmp_path_factory, numbers) -> None:
    path = tmp_path_factory.mktemp("anchor") / "A.anchor"
    for place, number in enumerate(numbers, 1):
        AnchorFile(path).write(number)  # a new object each time, as after a start
        assert AnchorFile(path).read() == max(numbers[:place])


def test_a_number_that_is_not_higher_touches_no_file(path, monkeypatch) -> None:
    anchor = AnchorFile(path)
    anchor.write(7)
    disk = FailingDisk(monkeypatch)
    disk.arm(0, OSError(28, "No space left on device"))
    for number in (7, 6, 0):
        anchor.write(number)
    assert disk.taken == []


def test_it_is_its_owners_alone_and_durable_with_its_name(path, monkeypatch) -> None:
    disk = FailingDisk(monkeypatch)
    disk.disarm()
    AnchorFile(path).write(7)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "7\n"
    # First the content, then its name, then the folder that has the name.
    assert disk.synced == [path.stat().st_ino, path.parent.stat().st_ino]
    assert disk.taken.index("fsync") < max(
        disk.taken.index(step) for step in ("rename", "replace") if step in disk.taken
    )
    assert disk.taken[-1] == "fsync"
    assert list(path.parent.iterdir()) == [path]


def test_a_power_cut_at_any_step_leaves_the_old_number_or_the_new(path, monkeypatch) -> None:
    AnchorFile(path).write(7)
    disk = FailingDisk(monkeypatch)
    seen: list[int | None] = []
    for step in range(20):
        disk.arm(step, PowerCut())
        try:
            AnchorFile(path).write(8)
        except PowerCut:
            disk.disarm()
        seen.append(AnchorFile(path).read())
        if seen[-1] == 8:
            break
    disk.disarm()
    assert seen[:-1] == [7] * (len(seen) - 1)
    assert len(seen) > 2
    AnchorFile(path).write(9)
    assert AnchorFile(path).read() == 9
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_refuses_any_step_is_told_and_no_number_is_lost(path, monkeypatch) -> None:
    AnchorFile(path).write(7)
    disk = FailingDisk(monkeypatch)
    anchor = AnchorFile(path)
    for step in range(20):
        number = 10 + step
        disk.arm(step, OSError(28, "No space left on device"))
        before = anchor.read()
        try:
            anchor.write(number)
        except StoreUnavailable as error:
            text = str(error)
        else:
            break
        assert (
            text == f"the anchor {path} cannot be written (No space left on device); "
            "make room, or check the folder's owner and how it is mounted"
        )
        assert anchor.read() in (before, number)
        assert list(path.parent.iterdir()) == [path]
    assert step > 2
    assert not disk.failed
    assert anchor.read() == number


@pytest.mark.parametrize("left", [b"", b"8", b"99999999\n", b"\0" * 4096])
def test_what_a_crash_left_is_never_read_and_does_not_stand_in_the_way(path, left) -> None:
    AnchorFile(path).write(7)
    new(path).write_bytes(left)
    assert AnchorFile(path).read() == 7
    AnchorFile(path).write(8)
    assert path.read_text() == "8\n"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_crash_left_before_the_first_write_is_no_anchor(path) -> None:
    new(path).write_bytes(b"99\n")
    assert AnchorFile(path).read() is None
    AnchorFile(path).write(1)
    assert AnchorFile(path).read() == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\0\0\0\0", b"-7\n", b"+7", b"7.0", b"1_000", b"0x7", b"7 8", b"x" * 100, "\u0667".encode()],
)
def test_a_damaged_anchor_is_told_and_not_overwritten(path, content) -> None:
    path.write_bytes(content)
    for use in (AnchorFile(path).read, lambda: AnchorFile(path).write(8)):
        with pytest.raises(
            StoreError, match="holds no commit number; remove it: all key gathered so far is then burned"
        ):
            use()
    assert path.read_bytes() == content


def test_an_anchor_that_cannot_be_read_is_not_taken_for_none(path) -> None:
    path.mkdir()
    for use in (AnchorFile(path).read, lambda: AnchorFile(path).write(8)):
        with pytest.raises(
            StoreUnavailable, match=r"cannot be read \(Is a directory\); check its owner and mode \(0600\)"
        ):
            use()


def test_an_anchor_whose_folder_is_gone_is_told(tmp_path) -> None:
    anchor = AnchorFile(tmp_path / "gone" / "A.anchor")
    assert anchor.read() is None
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        anchor.write(1)
