"""The anchor: a file outside the store and its back-ups that remembers how far the store had come.

A store that is found behind its anchor was restored from a back-up, and what it holds may have been used already. So
the file must stay out of the back-ups of the data folder. Refused here: drawing that conclusion (the runtime does).
"""

from __future__ import annotations

import threading
from pathlib import Path

from qss.model.errors import StoreError, StoreUnavailable
from qss.pki.durable import replace_file

MAX_COMMIT_NUMBER = 1 << 62
"""No store counts further."""

_MAX_BYTES = 64


class AnchorFile:
    """One decimal number in a file, mode 0600. Implements `qss.ports.anchor.Anchor`; blocks while it syncs.

    Several threads may write; one file belongs to one object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()

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
                f"the anchor {self._path} cannot be read ({error.strerror}); "
                "check its owner and mode (0600), and those of its folder"
            ) from error
        if not (text.isascii() and text.isdigit() and int(text) <= MAX_COMMIT_NUMBER):
            raise StoreError(
                f"the anchor {self._path} holds no commit number; remove it: "
                "all key gathered so far is then burned, for nobody can tell any more whether the store is a back-up"
            )
        return int(text)

    def write(self, commit_number: int) -> None:
        """Remember `commit_number`, durably and in one piece; a number not higher than the last changes nothing.

        Raises `StoreUnavailable` if the disk refuses; the last number is kept then, or this one.
        """
        with self._turn:
            last = self.read()
            if last is not None and commit_number <= last:
                return
            try:
                replace_file(self._path, f"{commit_number}\n".encode(), 0o600)
            except OSError as error:
                raise StoreUnavailable(
                    f"the anchor {self._path} cannot be written ({error.strerror}); "
                    "make room, or check the folder's owner and how it is mounted"
                ) from error
