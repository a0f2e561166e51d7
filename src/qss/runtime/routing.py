"""One routing module: feeds its core with events and carries out the effects. The core decides; this shell moves bytes.

It is the routing table that the key server asks (`ports.routing_table`). It knows nothing of who dials whom: it is
given one connection after the other, each with the neighbour that was identified at its end. Not here: cryptography,
which the core is given, nor the drawing of key for tags, which passes through here to whoever tags (`TagKeyTaker`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import assert_never

import structlog

from qss.core.routing import Router
from qss.core.routing import events as ev
from qss.core.routing.tag_key import RANGE_BYTES
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.network import Graph, Route, SiteState
from qss.model.ranges import Range
from qss.ports.tag_key import TagKeySource
from qss.runtime.outbox import Outbox
from qss.runtime.pacing import Pace, Paced
from qss.runtime.session import Session
from qss.runtime.tag_keeper import TagKeeper
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.transport.telling import TOLD_S, Telling
from qss.wire import routing as wire

MAX_WAITING_BYTES = 64 << 20
"""Bytes of LSAs that may wait for one neighbour."""

TICK_S = 0.05
"""The shortest time that the core holds anything back."""

LEAVING_S = 0.1
"""How long a module that stops waits for its withdrawals to leave."""

OFTEN = 4
"""So many of what should not happen, in `TOLD_S`, are worth a line."""

NAMED = 10
"""SAEs that are named in one line; of more, their number is told."""

_OFTEN = {
    ev.Happening.RESYNC: "a neighbour goes on knowing something else of the network",
    ev.Happening.OUTDONE: "somebody else speaks as this site",
}
"""What is logged if it happens often."""

_REMEDIES = {
    ev.Happening.RESYNC: "compare `qss route lsdb` at both sites: one of them may refuse what the other has; its log "
    "and qss_routing_dropped_lsas_total say why",
    ev.Happening.TAG_KEY_SHORT: "see that the two key servers are connected and their link has key (Admin's /status), "
    "and that applications leave some (links.relay_reserve_bits); or demand no tags (link_tags, at both ends)",
    ev.Happening.OUTDONE: "end the other process that has this site's certificate: a second node, or a node with its "
    "routing module inside beside `qss routing` (then set routing.process)",
}

_log = structlog.get_logger(__name__)


class RoutingModule:
    """The RM of one site, a `RoutingTable`. All methods belong to the event loop's thread."""

    def __init__(
        self,
        router: Router,
        neighbours: Sequence[QksId],
        defect: Defect,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        tag_key: tuple[TagKeySource, TagKeeper] | None = None,
    ) -> None:
        """Run `router`, which speaks with these neighbours and nobody else.

        `tag_key`: where key for tags comes from, and the router's tagger. None: it tags with nobody.
        """
        self._router = router
        self._defect = defect
        self._tag_key = tag_key
        self._clock = clock
        self._wall = wall
        self._defective = self._calculating = False
        self._site = SiteState()
        self._watchers: list[Callable[[], None]] = []
        self._lately: dict[tuple[QksId, ev.Happening], deque[float]] = {}
        self._telling = Telling(clock=clock)
        self._tasks = Tasks(defect)
        self._paces = {peer: Pace(clock) for peer in neighbours}
        self._sessions = {peer: self._session(peer) for peer in neighbours}

    @property
    def router(self) -> Router:
        """The core, for its queries."""
        return self._router

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to count time, and to take key for tags."""
        self._tasks.start(self._tick(), "routing")
        if self._tag_key is not None:
            self._tag_key[0].serve(self)

    async def stop(self) -> None:
        """Withdraw what this site has said, end all connections, and take no further one. Can be called twice."""
        if any(session.security is not None for session in self._sessions.values()):
            self._handle(ev.Leave())
            await asyncio.sleep(LEAVING_S)
        await self._tasks.cancelled()
        await asyncio.gather(*(session.stop() for session in self._sessions.values()))

    # --- the routing table ------------------------------------------------------------------------------------------

    def publish(self, state: SiteState) -> None:
        """Say how the site is now (`RoutingTable`)."""
        before, self._site = self._site, state
        if state.saes != before.saes:
            self._handle(ev.SaesAtHome(dict(state.saes)))
        if state.links or before.links:
            self._handle(ev.LinksUp(dict(state.links)))
        if state.homes != before.homes:
            self._calculate_soon()

    def route(self, sae: SaeId) -> Route | None:
        """Return an SAE's home site and the way there (`RoutingTable`). A home that is configured comes first."""
        table = self._router.table
        home = self._site.homes.get(sae) or table.homes.get(sae)
        if home is None:
            return None
        path = table.paths.get(home)
        if path is None:
            return Route(sae, None, home, 0, 0)
        return Route(sae, path.next_hop, home, path.cost, path.length)

    def routes(self) -> Iterator[Route]:
        """Yield the whole of Table 1, in the order of SAE IDs."""
        for sae in sorted({*self._site.homes, *self._router.table.homes}):
            route = self.route(sae)
            assert route is not None
            yield route

    @property
    def graph(self) -> Graph:
        """The network's links as this site sees them now."""
        return self._router.table.graph

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever routes or graph may be others."""
        self._watchers.append(changed)

    # --- neighbours -------------------------------------------------------------------------------------------------

    async def serve(self, peer: QksId, connection: Connection) -> None:
        """Speak Routing over this connection until it ends. A newer connection takes the place of an older one."""
        await self._sessions[peer].serve(Paced(connection, self._paces[peer]))

    def _session(self, peer: QksId) -> Session[wire.Message]:
        return Session[wire.Message](
            lambda connection: Outbox(connection, wire.frames, MAX_WAITING_BYTES, _weight),
            lambda: self._handle(ev.Connected(peer)),
            partial(self._received, peer),
            lambda _: self._handle(ev.Disconnected(peer)),
            self._defect,
            _log.bind(subject="routing", peer=peer),
        )

    def _received(self, peer: QksId, frame: bytes) -> None:
        with self._paces[peer].taking():
            try:
                for message in wire.decode(frame):
                    self._handle(ev.Received(peer, message))
            except RemoteProtocolError:
                self._handle(ev.Broke(peer))
                raise

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._handle(ev.Tick())

    # --- key for tags -----------------------------------------------------------------------------------------------

    def tag_key_came(self, peer: QksId, stream: StreamId, part: Range, key: KeyMaterial, *, own: bool) -> None:
        """Keep a range, and let the core use it (`TagKeyTaker`)."""
        if self._tag_key is not None:
            self._tag_key[1].put(peer, stream, part, key, own=own)
            self._handle(ev.TagKeyCame(peer, stream, part, own))

    def no_tag_key(self, peer: QksId) -> None:
        """None came that was to be drawn (`TagKeyTaker`)."""
        self._handle(ev.NoTagKey(peer))

    # --- effects ----------------------------------------------------------------------------------------------------

    def _handle(self, event: ev.Event) -> None:
        if self._defective:
            return
        try:
            effects = self._router.handle(event, self._clock(), self._wall())
        except RemoteProtocolError:
            raise  # the neighbour is told by the end of its connection
        except Exception as error:
            self._defective = True
            self._defect(error)
            raise
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Send(peer, messages):
                self._sessions[peer].send(messages)
            case ev.Disconnect(peer, reason):
                self._sessions[peer].disconnect(reason)
            case ev.Dropped(peer, reason, key):
                self._tell_dropped(peer, reason, key)
            case ev.Happened(peer, what):
                self._tell_happened(peer, what)
            case ev.Untold(saes):
                _tell_untold(saes)
            case ev.TableChanged():
                self._calculate_soon()
            case ev.DrawTagKey() | ev.ForgetTagKey():
                self._perform_for_tags(effect)
            case _:
                assert_never(effect)

    def _perform_for_tags(self, effect: ev.DrawTagKey | ev.ForgetTagKey) -> None:
        assert self._tag_key is not None, "a router that tags has a tagger"
        source, keeper = self._tag_key
        match effect:
            case ev.DrawTagKey(peer):
                # What comes at once would be handled amid the effects of this event, and its tags overtake theirs.
                asyncio.get_running_loop().call_soon(source.draw, peer, RANGE_BYTES)
            case ev.ForgetTagKey(peer, stream, part, own):
                keeper.forget(peer, stream, part, own=own)

    def _calculate_soon(self) -> None:
        """Have the table calculated, once, as soon as what came together has been dealt with, and sent on."""
        if not self._calculating:
            self._calculating = True
            asyncio.get_running_loop().call_soon(self._calculate)

    def _calculate(self) -> None:
        """Calculate the table now, so that no key request has to wait for it."""
        self._calculating = False
        if self._defective:
            return
        try:
            self._router.calculate()
            for changed in self._watchers:
                changed()
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            self._defective = True
            self._defect(error)

    def _tell_happened(self, peer: QksId, what: ev.Happening) -> None:
        match what:
            case ev.Happening.FULL:
                if self._may_tell(peer, what):
                    _log.info("routing agrees with a neighbour", peer=peer)
            case ev.Happening.NOT_FULL:
                if self._may_tell(peer, what):
                    _log.warning("routing agrees with a neighbour no more", peer=peer)
            case ev.Happening.RETRANSMISSION:
                pass  # counted
            case ev.Happening.TAG_KEY_SHORT:
                if self._may_tell(peer, what):
                    _log.warning(
                        "routing with a neighbour waits for key to tag with", peer=peer, remedy=_REMEDIES[what]
                    )
            case ev.Happening.RESYNC | ev.Happening.OUTDONE:
                if self._is_often(peer, what):
                    _log.warning(_OFTEN[what], peer=peer, remedy=_REMEDIES[what])
            case _:
                assert_never(what)

    def _may_tell(self, peer: QksId, what: ev.Reason | ev.Happening) -> bool:
        """Whether it was not told lately; counters have it all."""
        return self._telling.unsaid((peer, what)) is not None

    def _is_often(self, peer: QksId, what: ev.Happening) -> bool:
        """Whether it has happened so often lately that somebody should look; once, and then after as many more."""
        now, lately = self._clock(), self._lately.setdefault((peer, what), deque(maxlen=OFTEN))
        lately.append(now)
        is_often = len(lately) == OFTEN and now - lately[0] <= TOLD_S
        if is_often:
            lately.clear()
        return is_often

    def _tell_dropped(self, peer: QksId, reason: ev.Reason, key: wire.Key | None) -> None:
        if not self._may_tell(peer, reason):
            return
        _log.warning(
            "what a neighbour sent was dropped" if key is None else "an LSA was dropped",
            peer=peer,
            reason=str(reason),
            origin=None if key is None else key.origin,
            type=None if key is None else str(key.type),
            so_far=self._router.dropped[peer, reason],
        )


def _tell_untold(saes: Sequence[str]) -> None:
    if saes:
        _log.warning(
            "SAEs at home here cannot be told to other sites: there is no room, or nobody could read it",
            count=len(saes),
            saes=list(saes[:NAMED]),
            remedy="have other sites configure their home ([[saes]]), or move some to another site",
        )
    else:
        _log.info("all SAEs at home here are told to other sites again")


def _weight(message: wire.Message) -> int:
    if isinstance(message, wire.Tagged):
        return 64 + len(message.update)
    carried = message.carried if isinstance(message, wire.Update) else ()
    return 64 + sum(each.size for each in carried)
