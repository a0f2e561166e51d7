"""What a key server in another process has published to its site's routing module, for as long as that counts.

One that is silent counts as gone, and its links as down: nobody can say that they work. Its SAEs stay at home at the
site, as they do while a whole site is away. Not here: how its word comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from qss.model.network import SiteState
from qss.ports.routing_table import RoutingTable
from qss.wire.site_state import Publication

SILENT_S = 5.0
"""After so long without a word of the key server its links are taken to be down."""

LOOK_S = 1.0
"""How often that is looked at, and what still counts is said again: links' cost follows their key by the clock."""


_log = structlog.get_logger(__name__)


class Published:
    """The key server's last word, as the routing table is told it. All methods belong to the event loop's thread."""

    def __init__(self, table: RoutingTable, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._state: SiteState | None = None
        self._revision = 0
        self._heard_at: float | None = None
        self.begun = asyncio.Event()
        """Set once the key server has said anything: before that the module has nothing to say to the network."""

    @property
    def heard(self) -> bool:
        """Whether the key server has said lately how the site is."""
        return self._heard_at is not None

    def take(self, publication: Publication) -> bool:
        """Take in how the site is; return False, having taken nothing, for more of a revision that is not known."""
        state = publication.state
        if not publication.whole:
            if self._state is None or publication.revision != self._revision:
                return False
            state = replace(self._state, links=state.links)
        self._state, self._revision = state, publication.revision
        if self._heard_at is None:
            _log.info("the key server says how the site is")
        self._heard_at = self._clock()
        self._table.publish(state)
        self.begun.set()
        return True

    async def keep_watching(self) -> None:
        """Look whether the key server is there, again and again."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Take the site's links to be down when the key server has been silent for long, and say what is so."""
        if self._state is None:
            return
        if self._heard_at is not None and self._clock() - self._heard_at > SILENT_S:
            _log.warning(
                "the key server is silent: its links are taken to be down",
                silent_s=SILENT_S,
                remedy="see whether the site's node runs, and whether its routing.process is this module's Admin",
            )
            self._heard_at = None
            self._state = replace(self._state, links={})
        self._table.publish(self._state)
