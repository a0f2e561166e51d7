"""The anchor: a file outside the store and its back-ups that remembers how far the store had come.

A store that is found behind its anchor was restored from a back-up, and what it holds may have been used already. So
the file must stay out of the back-ups of the data folder. Refused here: drawing that conclusion (the runtime does).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from qss.model.errors import StoreError, StoreUnavailable

_MAX_BYTES = 64


class AnchorFile:
    """One decimal number in a file, mode 0600. Implements `qss.ports.anchor.Anchor`; blocks while it syncs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int | None:
        """Return the highest commit number written, or None if there is no file.

        Raises `StoreError` if the file holds something else, `StoreUnavailable` if it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                text = file.read(_MAX_BYTES).strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(
                f"the anchor {self._path} cannot be read ({error.strerror}); check its owner"
            ) from error
        if not (text.isascii() and text.isdigit()):
            raise StoreError(
                f"the anchor {self._path} holds no commit number; remove it if the store is known not to be a back-up"
            )
        return int(text)

    def write(self, commit_number: int) -> None:
        """Remember `commit_number`, durably and in one piece; a number not higher than the last changes nothing.

        Raises `StoreUnavailable` if the disk refuses; the last number is kept then.
        """
        last = self.read()
        if last is not None and commit_number <= last:
            return
        new = self._path.with_name(self._path.name + ".new")
        try:
            _write_durably(new, f"{commit_number}\n".encode())
            new.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise StoreUnavailable(
                f"the anchor {self._path} cannot be written ({error.strerror}); make room, or check the folder's owner"
            ) from error


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
