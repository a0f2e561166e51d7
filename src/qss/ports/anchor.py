"""The anchor: the site's own memory, outside its store and its back-ups, of how far the store has come."""

from __future__ import annotations

from typing import Protocol


class Anchor(Protocol):
    """One number that never falls."""

    def read(self) -> int | None:
        """Return the highest commit number written, or None if there is no anchor."""
        ...

    def write(self, commit_number: int) -> None:
        """Remember `commit_number` durably; a lower one than before changes nothing. Raises `StoreUnavailable`."""
        ...
