"""Key in files that a courier brought, used once: how far it is used is durable before a byte of it leaves.

The files, sorted by name, are one sequence of bytes. Beside them is a state folder:

==========  ============================================================================================
`manifest`  size, SHA-256 and name of each file, as they were before anything was used
`position`  two numbers: so many bytes are used, and so many of these are known to be erased
==========  ============================================================================================

Bytes are taken in this order, and a crash between any two steps loses bytes at worst: (1) the new position is made
durable; (2) the bytes are read; (3) they are erased, if they are to be; (4) they are handed out. What was not erased
because of a crash is erased at the next opening.

Held here: files, and nothing of the other end. All functions block. Refused: files that others than their owner can
use, files that changed, and a state that does not fit the files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from pathlib import Path

from qss.model.errors import DeviceError
from qss.pki.durable import make_folder, replace_file, sync_folder

MAX_FILES = 1000
"""Files of one manifest, those that are used up included."""

_PRIVATE = 0o600
_READ_BYTES = 1 << 20
_ERASED_BYTES = 64
_MAX_STATE_BYTES = 1 << 20


class Used(StrEnum):
    """What becomes of bytes that were used."""

    OVERWRITTEN = "overwritten"
    """With zeros, in place."""
    REMOVED = "removed"
    """The same; and a file that is used up is removed."""
    KEPT = "kept"
    """Nothing: for a medium that cannot be written. The state alone keeps the key from being used again."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One file as it was before anything of it was used. `digest` is SHA-256."""

    name: str
    size: int
    digest: bytes


class KeyFiles:
    """One file, or all files of one folder. Open it, take bytes, close it; one process at a time has it open."""

    def __init__(self, path: Path, state: Path | None = None, used: Used = Used.OVERWRITTEN) -> None:
        """Name the file or folder, and the state folder (None: beside it, `.state` appended). Touches nothing yet."""
        self._path = path
        self._state = state or path.with_name(path.name + ".state")
        self._used = used
        self._lock: int | None = None
        self._erased = 0
        self.files: tuple[KeyFile, ...] = ()
        """The manifest."""
        self.position = 0
        """How many bytes are used, or given up."""

    @property
    def size(self) -> int:
        """How many bytes the files had in all."""
        return sum(file.size for file in self.files)

    def look(self) -> None:
        """Look whether the files are there and private. Changes nothing, and takes no lock. Raises `DeviceError`."""
        with self._telling():
            names = self._names()
            if not names and not self._state.exists():
                raise DeviceError(f"there is no file in {self._path}: put the couriered key there, mode 0600")
            for name in names:
                os.close(self._opened(name, os.O_RDONLY))

    # --- opening ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Look at files and state, and erase what a crash left. Reads every file the first time.

        Raises `DeviceError`, and then is not open.
        """
        self.close()
        with self._telling():
            self._lock = os.open(self._path, os.O_RDONLY)
        try:
            with self._telling():
                self._take_lock()
                self._load()
                self._erase()
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        assert self._lock is not None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeviceError(
                f"the key in {self._path} is in use by another device or process: each key serves one device pair"
            ) from None

    def close(self) -> None:
        """Let others open it. Can be called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def has_news(self) -> bool:
        """Whether there are files that were not there at the last opening."""
        try:
            return bool(set(self._names()) - {file.name for file in self.files})
        except OSError:
            return False

    def _names(self) -> list[str]:
        if not self._path.is_dir():
            return [self._path.name]
        return sorted(entry.name for entry in self._path.iterdir() if not entry.name.startswith("."))

    def _place(self, name: str) -> Path:
        return self._path / name if self._path.is_dir() else self._path

    def _load(self) -> None:
        make_folder(self._state)
        state = self._read_position()
        manifest = self._read_manifest()
        if state is None and manifest is not None:
            raise self._damaged("has no position")
        if state not in (None, (0, 0)) and manifest is None:
            raise self._damaged("has no manifest")
        if state is None:
            self._write_position(0, 0)
        self.position, self._erased = state or (0, 0)
        self._take_stock(self._begun(manifest or ()))
        if not self._erased <= self.position <= self.size:
            raise self._damaged("has a position beyond the files")

    def _begun(self, known: tuple[KeyFile, ...]) -> tuple[KeyFile, ...]:
        """Return those of the files that were used in part. What is still whole is measured anew.

        It may have been copied while it was read, or have been another one than the other end has.
        """
        starts = accumulate((file.size for file in known), initial=0)
        return tuple(file for file, start in zip(known, starts, strict=False) if start < self.position)

    def _damaged(self, what: str) -> DeviceError:
        return DeviceError(
            f"{self._state} {what}, so nobody can tell which key was used: put fresh key at another path, at both ends"
        )

    def _take_stock(self, known: tuple[KeyFile, ...]) -> None:
        """Compare the files with the manifest, and add what is new."""
        names = self._names()
        fresh = sorted(set(names) - {file.name for file in known})
        if known and fresh and fresh[0] < known[-1].name:
            raise DeviceError(
                f"{self._place(fresh[0])} came later than {known[-1].name}, and sorts before it: "
                "rename it so that it comes after, alike at both ends"
            )
        if len(known) + len(fresh) > MAX_FILES:
            raise DeviceError(f"{self._path} had more than {MAX_FILES} files: begin a new folder, at both ends")
        for file, end in zip(known, accumulate(file.size for file in known), strict=True):
            self._check_known(file, end, there=file.name in names)
        self.files = (*known, *(self._measured(name) for name in fresh))
        self._refuse_doubles()
        if self._read_manifest() != self.files:
            self._write_manifest()
        if not self.files:
            raise DeviceError(f"there is no file in {self._path}: put the couriered key there, mode 0600")

    def _refuse_doubles(self) -> None:
        """No key serves twice because it was copied under a second name."""
        names: dict[bytes, str] = {}
        for file in self.files:
            first = names.setdefault(file.digest, file.name)
            if first != file.name:
                raise DeviceError(
                    f"{self._place(file.name)} holds the same key as {first}, which would be used twice: "
                    "remove it, at both ends"
                )

    def _check_known(self, file: KeyFile, end: int, *, there: bool) -> None:
        if not there:
            if end > self.position:
                raise DeviceError(f"{self._place(file.name)} is gone, and is not used up: put it back")
            return
        descriptor = self._opened(file.name, os.O_RDONLY)
        try:
            if os.fstat(descriptor).st_size != file.size:
                raise DeviceError(
                    f"{self._place(file.name)} has another size than when it was first read: put that file back, "
                    "or put fresh key at another path, at both ends"
                )
        finally:
            os.close(descriptor)

    def _measured(self, name: str) -> KeyFile:
        """Read a file that was not seen before."""
        if not name.isprintable():
            raise DeviceError(f"a file in {self._path} has a name that cannot be printed: rename it")
        digest, size = hashlib.sha256(), 0
        descriptor = self._opened(name, os.O_RDONLY)
        try:
            while part := os.read(descriptor, _READ_BYTES):
                if size == 0 and not any(part[:_ERASED_BYTES]):
                    raise DeviceError(
                        f"{self._place(name)} begins with zeros, as key that was used: "
                        "put its state folder back, or fresh key in its place, at both ends"
                    )
                digest.update(part)
                size += len(part)
        finally:
            os.close(descriptor)
        return KeyFile(name, size, digest.digest())

    def _opened(self, name: str, how: int) -> int:
        """Open a file that its owner alone can use."""
        path = self._place(name)
        descriptor = os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) and not mode & (stat.S_IRWXG | stat.S_IRWXO):
            return descriptor
        os.close(descriptor)
        if not stat.S_ISREG(mode):
            raise DeviceError(f"{path} is no file: a folder of key holds files of key and nothing else")
        raise DeviceError(
            f"the key in {path} can be used by others than its owner (mode {stat.S_IMODE(mode):04o}); "
            f"change that with `chmod 600 {path}`, and bring fresh key if somebody may have read it"
        )

    # --- using --------------------------------------------------------------------------------------------------------

    def take(self, start: int, length: int) -> bytes:
        """Use `length` bytes, or none, from `start`, and give up what lies before. Never twice, whatever happens.

        Raises `DeviceError` if that cannot be made durable, or not read, or not erased: the bytes may be lost then.
        """
        stop = start + length
        if self._lock is None or start < self.position or length < 0 or stop > self.size:
            raise DeviceError(f"bytes {start} to {stop} of the couriered key cannot be had: {self.position} are used")
        with self._telling():
            self._write_position(stop, self._erased)
            self.position = stop
            taken = b"".join(self._read(name, at, size) for name, at, size in self._pieces(start, stop))
            self._erase()
        if len(taken) != length:
            raise DeviceError(f"the couriered key in {self._path} is shorter than it was: put the files back")
        return taken

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
        """Yield name, first byte and number of bytes of each file's part in a range."""
        before = 0
        for file in self.files:
            first, last = max(start - before, 0), min(stop - before, file.size)
            if first < last:
                yield file.name, first, last - first
            before += file.size

    def _read(self, name: str, at: int, size: int) -> bytes:
        descriptor = self._opened(name, os.O_RDONLY)
        try:
            return os.pread(descriptor, size, at)
        finally:
            os.close(descriptor)

    def _erase(self) -> None:
        """Erase all that is used and not erased yet."""
        if self._used is not Used.KEPT:
            for name, at, size in self._pieces(self._erased, self.position):
                if self._place(name).exists():  # or it was removed, and that not noted
                    self._overwrite(name, at, size)
            if self._used is Used.REMOVED:
                self._remove()
        self._erased = self.position

    def _overwrite(self, name: str, at: int, size: int) -> None:
        descriptor = self._opened(name, os.O_WRONLY)
        try:
            zeros = bytes(min(size, _READ_BYTES))
            while size:
                written = os.pwrite(descriptor, zeros[:size], at)
                at, size = at + written, size - written
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self) -> None:
        ends = accumulate(file.size for file in self.files)
        last = [self._place(file.name) for file, end in zip(self.files, ends, strict=True) if end <= self.position]
        gone = [place for place in last if place.exists()]
        for place in gone:
            place.unlink()
        if gone:
            sync_folder(gone[0].parent)

    # --- the state ----------------------------------------------------------------------------------------------------

    def _read_position(self) -> tuple[int, int] | None:
        text = self._read_state("position")
        if text is None:
            return None
        numbers = text.split()
        if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
            raise self._damaged("has a damaged position")
        return int(numbers[0]), int(numbers[1])

    def _write_position(self, position: int, erased: int) -> None:
        replace_file(self._state / "position", f"{position} {erased}\n".encode(), _PRIVATE)

    def _read_manifest(self) -> tuple[KeyFile, ...] | None:
        text = self._read_state("manifest")
        if text is None:
            return None
        try:
            lines = [line.split(" ", 2) for line in text.splitlines()]
            return tuple(KeyFile(name, int(size), bytes.fromhex(digest)) for digest, size, name in lines)
        except ValueError:
            raise self._damaged("has a damaged manifest") from None

    def _write_manifest(self) -> None:
        lines = "".join(f"{file.digest.hex()} {file.size} {file.name}\n" for file in self.files)
        replace_file(self._state / "manifest", lines.encode(), _PRIVATE)

    def _read_state(self, name: str) -> str | None:
        try:
            with (self._state / name).open("rb") as file:
                return file.read(_MAX_STATE_BYTES).decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise self._damaged(f"has a damaged {name}") from None

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say what an error of the disk means."""
        try:
            yield
        except OSError as error:
            raise DeviceError(
                f"{error.filename or self._path} cannot be used ({error.strerror}): check that the couriered key and "
                f"its state {self._state} are there, are this user's, and that there is room"
            ) from error
