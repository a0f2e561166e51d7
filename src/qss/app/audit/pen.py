"""Adding to the last segment of an audit log: what was added is durable, or does not count and is cut off.

Held here: one file at a time. Refused: what is written (`scribe`), and any change but at the end.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from qss.app.audit.segments import segment_file
from qss.pki.durable import create_file, sync_folder

_HOW = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class SegmentChanged(Exception):
    """The file is not as this process left it: another one has changed, replaced or removed it."""


class Pen:
    """Adds to the last segment in `folder`. For one thread of one process. Any method may raise `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._failed = False
        self.segment = 0
        """The segment; 0 before the first one."""
        self.size = 0
        """How many bytes of it count."""

    @property
    def path(self) -> Path:
        """The segment's file."""
        return segment_file(self._folder, self.segment)

    def begin(self, segment: int, content: bytes) -> None:
        """Make the next segment; the one before stays as it is if that fails."""
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700)
            sync_folder(self._folder.parent)
        create_file(segment_file(self._folder, segment), content, 0o600)
        self.close()
        self.segment, self.size, self._failed = segment, len(content), False

    def resume(self, segment: int, size: int) -> None:
        """Go on with a segment of which so many bytes count; what is behind them is cut off now."""
        self.close()
        self.segment, self.size, self._failed = segment, size, False
        self._descriptor = os.open(self.path, _HOW)
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, size)
            os.fsync(self._descriptor)

    def add(self, content: bytes) -> None:
        """Add lines; they are durable when this returns, and do not count if it raises.

        Raises `SegmentChanged`, and changes nothing.
        """
        descriptor = self._in_place()
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            # What was written may be on the disk or not, also if it can be read: it is written once more, as new.
            self._failed = True
            with suppress(OSError):
                os.ftruncate(descriptor, self.size)
            self.close()
            raise
        self.size += len(content)
        self._failed = False

    def _in_place(self) -> int:
        """Return the descriptor of the segment, which ends where it should."""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, _HOW)
            opened, named = os.fstat(self._descriptor), self.path.lstat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SegmentChanged(f"{self.path} was removed") from error
        if (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino):
            raise SegmentChanged(f"{self.path} was replaced by another file")
        if opened.st_size > self.size and self._failed:
            os.ftruncate(self._descriptor, self.size)
        elif opened.st_size != self.size:
            raise SegmentChanged(f"{self.path} has {opened.st_size} bytes, and was left with {self.size}")
        return self._descriptor

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
