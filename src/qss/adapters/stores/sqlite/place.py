"""Whether an open store still has its files at their places: who writes to a file without a name notices nothing.

The log counts as well: without it, or with another, whoever opens the store next misses what it held.

Refused here: what comes of it.
"""

from __future__ import annotations

from pathlib import Path

from qss.model.errors import StoreDamaged

_PUT_BACK = (
    "keys that were given out since may be known to nobody any more. Put the data folder back as it was, if it was "
    "moved or unmounted; otherwise restore it from a back-up with `qss restore`. Leave the anchor where it is"
)
_START_AGAIN = (
    "what the log holds is moved into the ledger as this process ends, if nothing kills it. Find out who did that, and "
    "start again"
)


class Place:
    """The files of one open store, as they were when it was opened. Raises `OSError` if one is not there."""

    def __init__(self, store: Path) -> None:
        remedies = {store: _PUT_BACK, store.with_name(store.name + "-wal"): _START_AGAIN}
        self._files = [(path, _identity(path), remedy) for path, remedy in remedies.items()]

    def check(self) -> None:
        """Raise `StoreDamaged` if a file is gone or another lies at its place. Where nobody can tell, say nothing."""
        for path, opened, remedy in self._files:
            try:
                found = _identity(path)
            except (FileNotFoundError, NotADirectoryError):
                what = "is gone: it was removed, or its folder was moved or unmounted,"
            except OSError:
                continue
            else:
                if found == opened:
                    continue
                what = "was replaced by another file"
            raise StoreDamaged(f"{path} {what} while this process had it open; {remedy}")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
