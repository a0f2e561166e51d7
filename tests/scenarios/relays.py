"""The relay of a simulated site, and its end-to-end streams: the real ones, over connections of the simulation.

What a node composes of configuration, TLS and routing is made up here: far sites are called through the world, and
everybody knows which roads there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from qss.app.far_streams import FarStreams
from qss.core.relay import Relay, RelaySettings
from qss.core.reservation.relay_events import DrawFailure
from qss.model.errors import ConnectionLost
from qss.model.identifiers import PairId, QksId, SaeId, StreamId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.network import Graph, Route, SiteState
from qss.model.ranges import Range
from qss.runtime.module import QkdModule
from qss.runtime.relay.relaying import Keys, Relaying
from qss.runtime.site import Site
from qss.runtime.tasks import Defect
from qss.transport.connection import Connection

WAIT_S = 6.0
"""How long a request waits for key that is relayed."""


class PadBook:
    """Which bytes of links served as pads, and at which site: each range at both ends of its link, and once at each."""

    def __init__(self, wrong: Callable[[str], None]) -> None:
        self._wrong = wrong
        self._read: dict[StreamId, list[tuple[QksId, Range]]] = defaultdict(list)

    def note(self, here: QksId, stream: StreamId, part: Range) -> None:
        for site, before in self._read[stream]:
            if before.intersection(part) is not None and (site == here or before != part):
                self._wrong(f"{part} of {stream} is a pad at {here}, and {before} was one at {site}")
        self._read[stream].append((here, part))

    def of(self, stream: StreamId) -> set[Range]:
        """Return all pads of a stream."""
        return {part for _, part in self._read[stream]}


@dataclass
class NotedKeys:
    """A site's sealed store, as its relay sees it; what is read is noted."""

    here: QksId
    keys: Keys
    book: PadBook

    async def read_key(self, stream: StreamId, part: Range) -> KeyMaterial:
        self.book.note(self.here, stream, part)
        return await self.keys.read_key(stream, part)


class Network(Protocol):
    """How far sites find each other."""

    async def call_far(self, here: QksId, peer: QksId) -> Connection: ...

    async def call_module(self, here: QksId, peer: QksId, pair: PairId) -> Connection: ...

    @property
    def graph(self) -> Graph: ...


@dataclass
class SimulatedRelay:
    """Implements `runtime.relay_listener.RelayListener` and `runtime.key_server.EndToEnd`, as `app.site_relay` does.

    And what that needs besides: `app.far_streams.Calls` and `ports.routing_table.RoutingTable`.
    """

    here: QksId
    network: Network
    offered: dict[PairId, tuple[QksId, QkdModule]] = field(default_factory=dict)
    relaying: Relaying = field(init=False)
    streams: FarStreams | None = None

    def start(
        self,
        site: Site,
        capacity_bytes: int,
        defect: Defect,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        """Relay over the links of `site`, and fill its end-to-end streams."""
        self.relaying.start(site.links)
        self.streams = FarStreams(
            self.here,
            site,
            self,
            self.relaying,
            self,
            capacity_bytes,
            WAIT_S,
            _no_agreement,
            defect,
            clock=clock,
            entropy=entropy,
        )
        self.streams.start()

    def relay(self, keys: Keys, neighbours: Sequence[QksId], defect: Defect, clock: Callable[[], float]) -> None:
        """Make the relay, which is told of draws as soon as the links run."""
        core = Relay(self.here, frozenset(neighbours), RelaySettings())
        self.relaying = Relaying(self.here, core, keys, neighbours, defect, clock=clock)

    async def stop(self) -> None:
        if self.streams is not None:
            await self.streams.stop()
        await self.relaying.stop()

    # --- what links tell ------------------------------------------------------------------------------------------

    def drawn(self, peer: QksId, draw: TransferId, stream: StreamId, part: Range, *, own: bool) -> None:
        self.relaying.drawn(peer, draw, stream, part, own=own)

    def undrawn(self, peer: QksId, draw: TransferId, reason: DrawFailure, *, own: bool) -> None:
        self.relaying.undrawn(peer, draw, reason, own=own)

    def wanted(self, peer: QksId, pair: PairId, policy: str, length: int, *, urgent: bool) -> None:
        if self.streams is not None:
            self.streams.wanted(peer, pair, policy, length, urgent=urgent)

    # --- how far sites are reached --------------------------------------------------------------------------------

    async def external(self, peer: QksId) -> Connection:
        return await self.network.call_far(self.here, peer)

    async def sync(self, peer: QksId, pair: PairId) -> Connection:
        return await self.network.call_module(self.here, peer, pair)

    def offer_sync(self, peer: QksId, pair: PairId, module: QkdModule) -> None:
        self.offered[pair] = peer, module

    def withdraw_sync(self, pair: PairId) -> None:
        self.offered.pop(pair, None)

    def module_for(self, peer: QksId, pair: PairId) -> QkdModule:
        """Return the module that a far site's module may connect to. Raises `ConnectionLost` if there is none."""
        site, module = self.offered.get(pair, (None, None))
        if module is None or site != peer:
            raise ConnectionLost("there is nothing at this path")
        return module

    # --- routing --------------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        return self.network.graph

    def publish(self, state: SiteState) -> None:
        raise NotImplementedError

    def route(self, sae: SaeId) -> Route | None:
        raise NotImplementedError

    def watch(self, changed: Callable[[], None]) -> None:
        raise NotImplementedError


def _no_agreement(peer: QksId, pair: PairId) -> NoReturn:
    raise AssertionError(f"nobody asks for a hybrid stream with {peer}: {pair}")
