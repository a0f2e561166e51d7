"""Commits of one link that are under way, and its share of what the store lets wait.

All links of a site commit to one store, which refuses whoever comes last when too much waits for the disk. So no link
may have more under way than its share: it takes no more key, reads no more from its peer and refuses asks before the
store would have to refuse another link's commit, which would cost that link its memory (see `Rebuild`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from qss.runtime.tasks import Defect, Tasks

ALL_COMMITS = 4000
"""Commits that all links of a site may have under way. A store lets some more wait: erasures, notes of restores."""

ALL_BYTES = 48 << 20
"""Bytes of key in them. A store lets more wait: sealed key is longer, and a link may exceed its share by one block."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one link may have under way."""

    commits: int
    key_bytes: int

    @classmethod
    def among(cls, links: int) -> Share:
        """Return the share of each of so many links."""
        return cls(max(1, ALL_COMMITS // max(1, links)), max(1, ALL_BYTES // max(1, links)))


class Commits:
    """The commits of one link, and whether it may begin more."""

    def __init__(self, share: Share, defect: Defect) -> None:
        self._share = share
        self._tasks = Tasks(defect)
        self._number = 0
        self._key_bytes = 0
        self._ended = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether the link has its share under way."""
        return self._number >= self._share.commits or self._key_bytes >= self._share.key_bytes

    def start(self, work: Coroutine[Any, Any, None], key_bytes: int) -> None:
        """Begin a commit with so much key. What has to be committed is: the share binds what leads to commits."""
        self._number += 1
        self._key_bytes += key_bytes
        self._tasks.start(work).add_done_callback(lambda _: self._end(key_bytes))

    def _end(self, key_bytes: int) -> None:
        self._number -= 1
        self._key_bytes -= key_bytes
        self._ended.set()

    async def room(self) -> None:
        """Return when the link has less than its share under way; at once if it has."""
        while self.full:
            self._ended.clear()
            await self._ended.wait()

    async def finished(self) -> None:
        """Return when no commit is under way."""
        await self._tasks.finished()
