"""Room in the log, made before it is needed.

A sync of a file that has grown also makes its new length durable, which costs most file systems as much again. So the
log is lengthened with zeros, for many commits at once. To SQLite they are what an earlier round of the log might have
left behind: frames whose checksums are wrong, which end the log (https://sqlite.org/walformat.html).

Refused here: large commits. What they write weighs more than the length, and they lengthen the log themselves.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from qss.model.errors import StoreUnavailable

ROOM_BYTES = 256 << 10
"""By how much the log is lengthened, once half of that is left."""

LARGE_COMMIT_BYTES = ROOM_BYTES // 8
"""Commits that write more than this lengthen the log themselves: room for them is used up before it has paid."""

_ZEROS = bytes(ROOM_BYTES)
_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24


class LogRoom:
    """The length of one store's log. Belongs to the thread that writes it, between two transactions."""

    def __init__(self, store: Path, page_bytes: int) -> None:
        """Take the log of an open `store`. Raises `StoreUnavailable` if it cannot be had."""
        log = f"{store}-wal"
        try:
            self._file = os.open(log, os.O_RDWR)
        except OSError as error:
            raise StoreUnavailable(
                f"{log} cannot be opened ({error.strerror}); check its owner, and how many files a process may open"
            ) from error
        self._frame_bytes = page_bytes + _FRAME_HEADER_BYTES
        self._used = os.fstat(self._file).st_size
        self._grown = 0
        self._before = 0
        self.went_on = False
        """Whether the log was appended to where it should have begun anew: a reader elsewhere can bring that about."""

    def note(self, pages: int) -> None:
        """Hear after a commit how many pages are in the log now."""
        used = _HEADER_BYTES + pages * self._frame_bytes if pages else 0
        self.went_on = self.went_on or (self._used == 0 and used > self._before)
        self._grown, self._used = used - self._used, used

    def begin_anew(self) -> None:
        """Hear that the next commit should find the log empty."""
        self._before, self._used, self.went_on = self._used, 0, False

    @property
    def is_written(self) -> bool:
        """Whether the log has anything in it, as far as is known: at the start it may be what was there before."""
        return self._used > 0

    def trim(self) -> None:
        """Cut what earlier rounds of the log have left behind its end. Raises `OSError`."""
        if os.fstat(self._file).st_size > self._used:
            os.ftruncate(self._file, self._used)

    def make(self) -> None:
        """Lengthen the log if the next commits would. What the disk has against it, it says to them."""
        with suppress(OSError):
            length = os.fstat(self._file).st_size
            if length - self._used >= ROOM_BYTES // 2 or self._grown > LARGE_COMMIT_BYTES:
                return
            if not length:  # a log that was cut and then torn by a crash must not show what it was before
                os.fdatasync(self._file)
            os.pwrite(self._file, _ZEROS, max(length, self._used))
            os.fdatasync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
