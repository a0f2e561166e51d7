"""What of a site has to do with relaying, as its node composes it: the relay itself, and the site's own streams.

Links tell it what was drawn for transfers, and what far sites want. Not here: the protocol (`core.relay`), nor when a
stream is filled (`far_streams`).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping

from qss.app.far_calls import FarCalls
from qss.app.far_streams import FarStreams
from qss.app.pair_demands import demand_of
from qss.app.site_tables import SiteConfiguration
from qss.core.relay import Relay, RelaySettings
from qss.core.reservation.relay_events import DrawFailure
from qss.model.identifiers import PairId, QksId, StreamId, TransferId
from qss.model.ranges import Range
from qss.model.relay_policy import RelayPolicy
from qss.pki.statements import Judge, Signer
from qss.ports.routing_table import RoutingTable
from qss.ports.store import SealedStore
from qss.runtime.relay.agreement import Agreement
from qss.runtime.relay.relaying import Relaying
from qss.runtime.site import Site
from qss.runtime.tasks import Defect
from qss.transport.connection import Connection
from qss.transport.listening import Listener
from qss.wire.lsa import Authentication
from qss.wire.relay_status import RelayStatus


class SiteRelay:
    """Implements `qss.runtime.relay_listener.RelayListener`, and `qss.runtime.end_to_end.EndToEnd`."""

    def __init__(self, configuration: SiteConfiguration, store: SealedStore, defect: Defect) -> None:
        """Read the site's certificate. Raises `PkiError`."""
        here, neighbours = configuration.site.id, [link.peer for link in configuration.links]
        settings = RelaySettings(transit=configuration.routing.transit)
        self._configuration = configuration
        self._defect = defect
        self.relaying = Relaying(here, Relay(here, frozenset(neighbours), settings), store, neighbours, defect)
        self._signer = Signer(configuration.tls.certificate, configuration.tls.key)
        self._judge = Judge(configuration.tls.authority)
        self._streams: FarStreams | None = None

    def _warm(self) -> Mapping[tuple[QksId, RelayPolicy], int]:
        """Return the bytes that are to be held ready of streams."""
        here = self._configuration.site.id
        return {
            (warm.site, demand_of(warm.relay).policy({here, warm.site})): warm.bits // 8
            for warm in self._configuration.relay.warm
        }

    def _agreement(self, peer: QksId, pair: PairId) -> Agreement:
        """Return this end's part in the agreements of a hybrid stream."""
        return Agreement(peer, pair, self._sign, self._verify, os.urandom)

    def _sign(self, text: bytes) -> Authentication:
        signer = self._signer
        return Authentication(signer.algorithm, signer.certificates, signer.sign(text))

    def _verify(self, site: QksId, text: bytes, said: Authentication) -> None:
        self._judge.check(site, text, said.algorithm, said.certificates, said.signature)

    def relay_over(self, site: Site) -> None:
        """Begin to relay over these links: before anybody can connect."""
        self.relaying.start(site.links)

    def start(self, site: Site, table: RoutingTable, context: ssl.SSLContext, listener: Listener) -> None:
        """Begin to fill the site's own end-to-end streams."""
        relay = self._configuration.relay
        self._streams = FarStreams(
            self._configuration.site.id,
            site,
            table,
            self.relaying,
            FarCalls(table, context, listener),
            relay.capacity_bits // 8,
            relay.wait_s,
            self._agreement,
            self._defect,
            warm=self._warm(),
        )
        self._streams.start()

    async def stop(self) -> None:
        """Fill nothing more, and relay nothing more. Can be called twice, and before the start."""
        if self._streams is not None:
            await self._streams.stop()
        await self.relaying.stop()

    def status(self) -> RelayStatus:
        """Return how it goes with relaying, for those who watch, once this was started."""
        return self.streams.status()

    @property
    def streams(self) -> FarStreams:
        """The site's own end-to-end streams, once this was started."""
        assert self._streams is not None, "it was started before anybody was let in"
        return self._streams

    def serve(self, peer: QksId) -> Callable[[Connection], Awaitable[None]]:
        """Return what serves the connections of a neighbour's relay."""

        async def serve(connection: Connection) -> None:
            await self.relaying.serve(peer, connection)

        return serve

    async def take(self, connection: Connection) -> None:
        """Serve the External connection of a site that is no neighbour."""
        if self._streams is None:
            await connection.close()
        else:
            await self._streams.take(connection)

    # --- what links tell ------------------------------------------------------------------------------------------

    def drawn(self, peer: QksId, draw: TransferId, stream: StreamId, part: Range, *, own: bool) -> None:
        """As `RelayListener.drawn`."""
        self.relaying.drawn(peer, draw, stream, part, own=own)

    def undrawn(self, peer: QksId, draw: TransferId, reason: DrawFailure, *, own: bool) -> None:
        """As `RelayListener.undrawn`."""
        self.relaying.undrawn(peer, draw, reason, own=own)

    def wanted(self, peer: QksId, pair: PairId, policy: str, length: int, *, urgent: bool) -> None:
        """As `RelayListener.wanted`."""
        if self._streams is not None:
            self._streams.wanted(peer, pair, policy, length, urgent=urgent)
