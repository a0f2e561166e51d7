"""Couriered files of one end: used once, whatever crashes at whatever step; and what is refused."""

from __future__ import annotations

import os
import random

import pytest

from qss.adapters.devices import key_files
from qss.adapters.devices.key_files import KeyFiles, Used
from qss.model.errors import DeviceError
from support.failing_disk import FailingDisk, PowerCut

SIZE = 10_000


def key(size=SIZE, seed=1):
    return random.Random(seed).randbytes(size)


def put(path, content, mode=0o600):
    path.touch(mode=mode)
    path.write_bytes(content)
    return path


@pytest.fixture
def path(tmp_path):
    return put(tmp_path / "key", key())


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    for number, size in enumerate((3000, 10, 4000)):
        put(folder / f"{number:03}", key(size, number))
    return folder


def opened(path, used=Used.OVERWRITTEN, state=None):
    files = KeyFiles(path, state, used)
    files.open()
    return files


# --- use ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", Used)
def test_bytes_come_in_order_and_once(path, used):
    files = opened(path, used)
    assert (files.size, files.position) == (SIZE, 0)
    assert files.take(0, 100) == key()[:100]
    assert files.take(100, 50) == key()[100:150]
    with pytest.raises(DeviceError, match="150 are used"):
        files.take(149, 1)
    assert files.take(300, 10) == key()[300:310]
    files.close()
    files = opened(path, used)
    assert files.position == 310
    assert files.take(310, 1) == key()[310:311]
    files.close()


@pytest.mark.parametrize("used", [Used.OVERWRITTEN, Used.REMOVED])
def test_what_is_used_or_given_up_is_overwritten(path, used):
    files = opened(path, used)
    files.take(1000, 500)
    assert path.read_bytes() == bytes(1500) + key()[1500:]
    files.close()


def test_a_medium_that_cannot_be_written_is_left_alone(path, tmp_path):
    path.chmod(0o400)
    files = opened(path, Used.KEPT, tmp_path / "elsewhere")
    files.take(0, 500)
    files.close()
    assert path.read_bytes() == key()
    assert opened(path, Used.KEPT, tmp_path / "elsewhere").position == 500
    assert not path.with_name("key.state").exists()


def test_files_of_a_folder_are_one_sequence_and_are_removed_when_used_up(folder):
    whole = key(3000, 0) + key(10, 1) + key(4000, 2)
    files = opened(folder, Used.REMOVED)
    assert [(file.name, file.size) for file in files.files] == [("000", 3000), ("001", 10), ("002", 4000)]
    assert files.take(0, 2999) == whole[:2999]
    assert len(list(folder.iterdir())) == 3
    assert files.take(2999, 100) == whole[2999:3099]
    assert [place.name for place in folder.iterdir()] == ["002"]
    files.close()
    files = opened(folder, Used.REMOVED)
    assert files.take(3099, 3911) == whole[3099:]
    assert list(folder.iterdir()) == []
    files.close()


def test_a_file_that_comes_later_is_found_at_the_next_opening(folder):
    files = opened(folder)
    assert not files.has_news()
    put(folder / "003", key(100, 3))
    assert files.has_news()
    files.close()
    files = opened(folder)
    assert not files.has_news()
    assert files.size == 7110
    assert files.take(7010, 100) == key(100, 3)
    files.close()


# --- crashes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", Used)
@pytest.mark.parametrize("error", [PowerCut(), OSError(28, "No space left on device")], ids=["power cut", "full disk"])
def test_no_byte_is_used_twice_whatever_step_fails(tmp_path, monkeypatch, used, error):
    """Every step at which the disk changes fails once, at the first opening and at any use of it."""
    whole = b"".join(key(size, number) for number, size in enumerate((300, 700)))
    disk = FailingDisk(monkeypatch)
    crashes = 0
    for step in range(10_000):
        disk.disarm()
        folder = tmp_path / f"{step}"
        folder.mkdir()
        for number, size in enumerate((300, 700)):
            put(folder / f"{number}", key(size, number))
        handed_out = set()

        def use(folder=folder, handed_out=handed_out):
            files = KeyFiles(folder, None, used)
            try:
                files.open()
                while files.position + 128 <= files.size:
                    start = files.position
                    taken = files.take(start, 128)
                    assert taken == whole[start : start + 128], "other bytes than were brought"
                    assert start not in handed_out, "a byte was used twice"
                    handed_out.add(start)
            finally:
                files.close()

        disk.arm(step, error)
        try:
            use()
        except (PowerCut, DeviceError):
            crashes += 1
        if not disk.failed:
            break
        disk.disarm()
        use()
        assert len(handed_out) >= 5  # of 7: at most one block is lost by the crash, and one that does not fit any more
        if used is not Used.KEPT:
            left = b"".join(place.read_bytes() for place in sorted(folder.iterdir()))
            assert not any(left[: len(left) - 1000 % 128])
    else:
        pytest.fail("there is no end to the steps")
    assert crashes >= 25


def test_the_position_is_durable_before_bytes_are_read(path, monkeypatch):
    files = opened(path)
    order = []
    monkeypatch.setattr(files, "_read", lambda *_: order.append("read") or b"x" * 100)
    write = files._write_position
    monkeypatch.setattr(files, "_write_position", lambda *numbers: (write(*numbers), order.append("durable")))
    monkeypatch.setattr(files, "_overwrite", lambda *_: order.append("erased"))
    files.take(0, 100)
    assert order == ["durable", "read", "erased"]
    files.close()


def test_what_a_crash_left_is_erased_at_the_next_opening(path, monkeypatch):
    files = opened(path)
    with monkeypatch.context() as crash:
        crash.setattr(files, "_read", lambda *_: (_ for _ in ()).throw(PowerCut()))
        with pytest.raises(PowerCut):
            files.take(0, 500)
    assert path.read_bytes() == key()
    files.close()
    files = opened(path)
    assert files.position == 500
    assert path.read_bytes() == bytes(500) + key()[500:]
    files.close()


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_that_others_can_use_is_refused(path, mode):
    path.chmod(mode)
    with pytest.raises(DeviceError, match=f"chmod 600 {path}"):
        opened(path)
    path.chmod(0o600)
    opened(path).close()


def test_permissions_are_looked_at_again_whenever_a_file_is_read(path):
    files = opened(path)
    path.chmod(0o644)
    with pytest.raises(DeviceError, match="chmod 600"):
        files.take(0, 100)
    files.close()


def test_a_link_or_a_folder_in_the_place_of_a_file_is_refused(folder, path):
    (folder / "link").symlink_to(path)
    with pytest.raises(DeviceError, match="cannot be used"):
        opened(folder)
    (folder / "link").unlink()
    (folder / "sub").mkdir()
    with pytest.raises(DeviceError, match="files of key and nothing else"):
        opened(folder)


def test_one_key_serves_one_device(path, tmp_path):
    files = opened(path)
    with pytest.raises(DeviceError, match="one device pair"):
        opened(path)
    with pytest.raises(DeviceError, match="one device pair"):
        opened(path, state=tmp_path / "another state")
    files.close()
    opened(path).close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: (state / "position").unlink(), "has no position"),
        (lambda state: (state / "manifest").unlink(), "has no manifest"),
        (lambda state: (state / "position").write_text("nonsense"), "damaged position"),
        (lambda state: (state / "position").write_text("99999 0"), "beyond the files"),
        (lambda state: (state / "position").write_text("10 20"), "beyond the files"),
        (lambda state: (state / "manifest").write_text("x y z"), "damaged manifest"),
        (lambda state: (state / "manifest").write_bytes(b"\xff"), "damaged manifest"),
    ],
)
def test_a_state_that_does_not_tell_what_was_used_is_refused(path, spoil, message):
    files = opened(path)
    files.take(0, 500)
    files.close()
    spoil(path.with_name("key.state"))
    with pytest.raises(DeviceError, match=message):
        opened(path)


def test_used_key_without_its_state_is_refused(path):
    files = opened(path)
    files.take(0, 500)
    files.close()
    for place in path.with_name("key.state").iterdir():
        place.unlink()
    with pytest.raises(DeviceError, match="begins with zeros"):
        opened(path)


def test_files_that_changed_are_refused(folder):
    files = opened(folder)
    files.take(0, 3015)
    files.close()
    content = (folder / "002").read_bytes()
    (folder / "002").write_bytes(content + b"x")
    with pytest.raises(DeviceError, match="another size"):
        opened(folder)
    (folder / "002").unlink()
    with pytest.raises(DeviceError, match="002 is gone, and is not used up"):
        opened(folder)
    put(folder / "002", content)
    put(folder / "0005", b"early")
    with pytest.raises(DeviceError, match="rename it so that it comes after"):
        opened(folder)
    (folder / "0005").unlink()
    (folder / "000").unlink()  # used up
    opened(folder).close()


def test_a_file_of_which_nothing_was_used_may_become_another(folder):
    """It was read while somebody still copied it, or the other end had another one under its name."""
    opened(folder).close()
    put(folder / "002", key(5000, 7))
    files = opened(folder)
    files.take(0, 3005)
    files.close()
    (folder / "002").unlink()
    put(folder / "003", key(6000, 8))
    files = opened(folder)
    assert [(file.name, file.size) for file in files.files] == [("000", 3000), ("001", 10), ("003", 6000)]
    assert files.take(3005, 10) == key(10, 1)[5:] + key(6000, 8)[:5]
    files.close()


def test_a_file_that_is_cut_short_while_it_is_used_yields_nothing(path):
    files = opened(path, Used.KEPT)
    os.truncate(path, 50)
    with pytest.raises(DeviceError, match="shorter than it was"):
        files.take(0, 100)
    files.close()


def test_an_empty_folder_and_one_of_too_many_files_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "keys"
    with pytest.raises(DeviceError, match="cannot be used"):
        opened(folder)
    folder.mkdir()
    with pytest.raises(DeviceError, match="there is no file in"):
        opened(folder)
    monkeypatch.setattr(key_files, "MAX_FILES", 2)
    for number in range(3):
        put(folder / f"{number}", key(100, number))
    with pytest.raises(DeviceError, match="more than 2 files"):
        opened(folder)


def test_a_name_that_breaks_the_manifest_is_refused(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    put(folder / "a\nb", key(100))
    with pytest.raises(DeviceError, match="rename it"):
        opened(folder)


def test_a_name_with_spaces_is_a_name(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    put(folder / "from A to B", key(100))
    opened(folder).close()
    files = opened(folder)
    assert files.take(0, 100) == key(100)
    files.close()


def test_nothing_is_taken_while_it_is_not_open(path):
    files = KeyFiles(path)
    with pytest.raises(DeviceError):
        files.take(0, 1)
    files.close()


# --- a look beforehand ----------------------------------------------------------------------------------------------


def test_a_look_changes_nothing_and_needs_no_lock(folder):
    KeyFiles(folder).look()
    assert not folder.with_name("keys.state").exists()
    files = opened(folder)
    KeyFiles(folder).look()
    files.close()


def test_a_look_tells_what_an_opening_would(tmp_path, folder):
    with pytest.raises(DeviceError, match="gone"):
        KeyFiles(tmp_path / "gone").look()
    (folder / "001").chmod(0o644)
    with pytest.raises(DeviceError, match="chmod 600"):
        KeyFiles(folder).look()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DeviceError, match="there is no file in"):
        KeyFiles(empty).look()


def test_a_look_at_key_that_was_all_used_and_removed_finds_nothing_wrong(folder):
    files = opened(folder, Used.REMOVED)
    files.take(0, files.size)
    files.close()
    KeyFiles(folder, None, Used.REMOVED).look()
