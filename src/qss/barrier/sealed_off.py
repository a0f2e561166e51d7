"""A store without its master key: it exists, and every operation says that it is sealed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from qss.model.errors import Sealed
from qss.model.identifiers import StreamId
from qss.model.ranges import Range
from qss.ports.store import SealedChange


class SealedOff:
    """Implements `qss.ports.store.SealedStore` by refusing. `remedy` says how the master key can be had."""

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy

    async def start(self) -> NoReturn:
        """Raise `Sealed`."""
        self._refuse()

    async def commit(self, batch: Sequence[SealedChange], fence: int) -> NoReturn:
        """Raise `Sealed`."""
        self._refuse()

    async def contents(self) -> NoReturn:
        """Raise `Sealed`."""
        self._refuse()

    async def read_key(self, stream: StreamId, part: Range) -> NoReturn:
        """Raise `Sealed`."""
        self._refuse()

    async def erase_key(self, stream: StreamId, parts: Sequence[Range], fence: int) -> NoReturn:
        """Raise `Sealed`."""
        self._refuse()

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def _refuse(self) -> NoReturn:
        raise Sealed(f"the store is sealed: its master key is not at hand; {self._remedy}")
