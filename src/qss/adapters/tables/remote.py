"""The routing table of a routing module in a process of its own, `qss routing`, by way of its Admin interface.

What the key server publishes is sent at once if it has changed, and every second in any case: the routing module takes
a key server that is silent for long for one that is gone. What the routing module knows comes as soon as it changes.
While that cannot be asked, the last table counts for as long as an LSA may be old; then there is none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from qss.model.errors import QssError
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Graph, Route, SiteState
from qss.wire.routes import RoutingStatus, graph_of
from qss.wire.site_state import MAX_WAIT_S

ALIVE_S = 1.0
"""How often the state is sent even if it has not changed."""

RETRY_S = 0.5

_log = structlog.get_logger(__name__)


class Asked(Protocol):
    """What is asked of the routing module's Admin (`qss.client.AdminClient`)."""

    async def publish(self, state: SiteState) -> int:
        """Tell it how its site is."""
        ...

    async def routing_after(self, version: int, wait_s: float) -> RoutingStatus:
        """Return what it knows once that has changed."""
        ...


class RemoteTable:
    """Implements `qss.ports.routing_table.RoutingTable`. All methods belong to the event loop's thread."""

    def __init__(self, here: QksId, client: Asked, stale_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask `client`; its last answer counts for `stale_s` seconds."""
        self._client = client
        self._stale_s = stale_s
        self._clock = clock
        self._state = SiteState()
        self._published = asyncio.Event()
        self._homes: Mapping[SaeId, QksId] = {}
        self._routes: Mapping[SaeId, Route] = {}
        self._graph = Graph()
        self._watchers: list[Callable[[], None]] = []
        self.status = _nothing_known(QksId(here))
        """What the routing module said last."""

    def publish(self, state: SiteState) -> None:
        """Say how the site is now (`RoutingTable`)."""
        if state != self._state:
            self._state = state
            self._published.set()

    def route(self, sae: SaeId) -> Route | None:
        """Return an SAE's home site and the way there, as the routing module has told last (`RoutingTable`)."""
        return self._routes.get(sae)

    @property
    def graph(self) -> Graph:
        """The network's links, as the routing module has told last."""
        return self._graph

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever routes or graph may be others."""
        self._watchers.append(changed)

    # --- what runs --------------------------------------------------------------------------------------------------

    async def keep_telling(self) -> None:
        """Send the state, again and again."""
        while True:
            self._published.clear()
            try:
                await self._client.publish(self._state)
            except QssError:
                await asyncio.sleep(RETRY_S)  # `keep_asking` fails as well, and tells why
                continue
            try:
                async with asyncio.timeout(ALIVE_S):
                    await self._published.wait()
            except TimeoutError:
                pass

    async def keep_asking(self) -> None:
        """Take over what the routing module knows, again and again."""
        heard_at, lost = self._clock(), False
        while True:
            try:
                status = await self._client.routing_after(self.status.version, MAX_WAIT_S / 2)
            except QssError as error:
                if not lost:
                    _log.warning("the routing module cannot be asked", reason=str(error))
                lost = True
                if self._clock() - heard_at > self._stale_s and self.status.routes:
                    _log.warning("nothing is known of the network any more", silent_s=round(self._clock() - heard_at))
                    self._take(_nothing_known(QksId(self.status.site)))
                await asyncio.sleep(RETRY_S)
                continue
            if lost:
                _log.info("the routing module answers again")
            heard_at, lost = self._clock(), False
            if status.version != self.status.version:
                self._take(status)

    def _take(self, status: RoutingStatus) -> None:
        self.status = status
        self._graph = graph_of(status)
        self._routes = {
            SaeId(view.SAE_ID): Route(
                SaeId(view.SAE_ID),
                None if view.next_hop is None else QksId(view.next_hop),
                QksId(view.dest),
                view.cost,
                view.length,
            )
            for view in status.routes
        }
        for changed in self._watchers:
            changed()


def _nothing_known(here: QksId) -> RoutingStatus:
    return RoutingStatus(
        site=here,
        version=0,
        changed=0.0,
        neighbours={},
        lsas=0,
        settled=False,
        dropped={},
        links=(),
        repeaters=(),
        routes=(),
    )
