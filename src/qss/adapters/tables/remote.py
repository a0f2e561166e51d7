"""The routing table of a routing module in a process of its own, `qss routing`, by way of its Admin interface.

What the key server publishes is sent at once if it has changed, and every second in any case: the routing module takes
a key server that is silent for long for one that is gone. Its SAEs and their homes are sent only if they have changed,
or if the module says that it does not have them. What the routing module knows comes as soon as it changes, but a large
table not so often that the node would do nothing else than read it.

While the module cannot be asked, or was started anew and has not heard from its neighbours yet, the last table counts,
for as long as an LSA may be old; then there is none, or whatever the module has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from qss.client.errors import AnswerTooLarge
from qss.model.errors import QssError, RemoteProtocolError
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Graph, Load, Route, SiteState
from qss.wire.routes import RoutingStatus, graph_of
from qss.wire.site_state import MAX_WAIT_S

ALIVE_S = 1.0
"""How often the state is sent even if it has not changed."""

RETRY_S = 0.5
"""The first pause after the module could not be asked; each further one is twice as long."""

MAX_RETRY_S = 4.0

UNSETTLED_WAIT_S = 1.0
"""How long the module may keep a question for a change while it has not settled: that it has is no change."""

ENTRY_S = 50e-6
"""Pause after a table that has changed, for each route and link in it: some 40 times what it takes to read one."""

MAX_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)


class Asked(Protocol):
    """What is asked of the routing module's Admin (`qss.client.AdminClient`)."""

    async def publish(self, state: SiteState, revision: int) -> bool:
        """Tell it how its site is."""
        ...

    async def publish_links(self, links: Mapping[QksId, Load], revision: int) -> bool:
        """Tell it how links are; return whether it knows SAEs and homes of this revision, else it has taken nothing."""
        ...

    async def routing_after(self, version: int, wait_s: float) -> RoutingStatus:
        """Return what it knows once that has changed."""
        ...


class RemoteTable:
    """Implements `qss.ports.routing_table.RoutingTable`. All methods belong to the event loop's thread."""

    def __init__(self, here: QksId, client: Asked, stale_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask `client`, the module of the site `here`; its last answer counts for `stale_s` seconds."""
        self._here = here
        self._client = client
        self._stale_s = stale_s
        self._clock = clock
        self._state = SiteState()
        self._revision = time.time_ns() // 1000  # no process before this one had it
        self._published = asyncio.Event()
        self._confirmed_at = clock()
        self._lost_at: float | None = clock()
        self._routes: Mapping[SaeId, Route] = {}
        self._graph = Graph()
        self._watchers: list[Callable[[], None]] = []
        self.status = _nothing_known(here)
        """What the routing module has said, as far as it counts."""

    def publish(self, state: SiteState) -> None:
        """Say how the site is now (`RoutingTable`)."""
        before = self._state
        if state == before:
            return
        if (state.saes, state.homes) != (before.saes, before.homes):
            self._revision += 1
        self._state = state
        self._published.set()

    def route(self, sae: SaeId) -> Route | None:
        """Return an SAE's home site and the way there, as the routing module has told last (`RoutingTable`)."""
        return self._routes.get(sae)

    @property
    def graph(self) -> Graph:
        """The network's links, as the routing module has told last."""
        return self._graph

    @property
    def silent_s(self) -> float:
        """For how many seconds the routing module could not be asked; 0: it can be."""
        return 0.0 if self._lost_at is None else self._clock() - self._lost_at

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever routes or graph may be others."""
        self._watchers.append(changed)

    # --- telling ----------------------------------------------------------------------------------------------------

    async def keep_telling(self) -> None:
        """Send the state, again and again."""
        trouble = _Trouble("the routing module cannot be told how this site is", "the routing module is told again")
        known: int | None = None
        while True:
            self._published.clear()
            try:
                known = await self._tell(known)
            except QssError as error:
                await asyncio.sleep(trouble.pause(error))
                continue
            trouble.over()
            try:
                async with asyncio.timeout(ALIVE_S):
                    await self._published.wait()
            except TimeoutError:
                pass

    async def _tell(self, known: int | None) -> int:
        """Send what the module does not have; return the revision that it has then."""
        state, revision = self._state, self._revision
        if known == revision and await self._client.publish_links(state.links, revision):
            return revision
        if not await self._client.publish(state, revision):
            raise RemoteProtocolError("the routing module does not know what it was told just now: upgrade it")
        return revision

    # --- asking -----------------------------------------------------------------------------------------------------

    async def keep_asking(self) -> None:
        """Take over what the routing module knows, again and again."""
        trouble = _Trouble("the routing module cannot be asked", "the routing module answers again")
        after, settled = self.status.version, True
        while True:
            try:
                status = await self._client.routing_after(after, MAX_WAIT_S / 2 if settled else UNSETTLED_WAIT_S)
                self._check(status)
            except QssError as error:
                pause = trouble.pause(error)
                if self._lost_at is None:
                    self._lost_at = self._clock()
                self._forget_what_is_stale()
                after = self.status.version  # what was forgotten is news
                await asyncio.sleep(pause)
                continue
            trouble.over()
            self._lost_at = None
            is_new, after, settled = status.version != after, status.version, status.settled
            self._weigh(status)
            if is_new:
                await asyncio.sleep(min(MAX_PAUSE_S, ENTRY_S * (len(status.routes) + len(status.links))))

    def _check(self, status: RoutingStatus) -> None:
        if status.site != self._here:
            raise RemoteProtocolError(
                f"the routing module there is that of site {status.site}, not {self._here}: correct routing.process"
            )

    def _weigh(self, status: RoutingStatus) -> None:
        """Take over an answer, unless what is known counts for more: the module was started anew, and knows little."""
        if not status.settled and self.status.settled and not self._is_stale():
            return
        self._confirmed_at = self._clock()
        before, self.status = self.status, status
        if status.version != before.version:
            self._take(status)

    def _forget_what_is_stale(self) -> None:
        if self._is_stale() and (self._routes or self._graph.edges):
            silent_s = round(self._clock() - self._confirmed_at)
            _log.warning("nothing is known of the network any more", silent_s=silent_s)
            self._take(_nothing_known(self._here))

    def _is_stale(self) -> bool:
        return self._clock() - self._confirmed_at > self._stale_s

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


class _Trouble:
    """Says once for each reason that something does not work, and once that it does again; pauses grow meanwhile."""

    def __init__(self, told: str, over: str) -> None:
        self._told = told
        self._over = over
        self._reason: str | None = None
        self._pause_s = RETRY_S

    def pause(self, error: QssError) -> float:
        """Return how many seconds to wait before the next attempt."""
        if str(error) != self._reason:
            self._reason = str(error)
            _log.warning(self._told, reason=self._reason, **_remedy(error))
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, MAX_RETRY_S)
        return pause

    def over(self) -> None:
        """It works."""
        self._pause_s = RETRY_S
        if self._reason is not None:
            self._reason = None
            _log.info(self._over)


def _remedy(error: QssError) -> dict[str, str]:
    if not isinstance(error, AnswerTooLarge):
        return {}
    return {
        "remedy": "the table is too large to be asked for: have the module in this node's process (without "
        "routing.process), or fewer SAEs in the network"
    }


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
