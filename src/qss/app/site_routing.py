"""A site's routing module in its node: what it is made of, what it is told, and what it tells administrators.

It speaks with the site's neighbours at the listener for neighbours, and signs with the site's certificate. The homes
that count are those of the configuration, as it is now. Not here: the protocol (`core.routing`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

from qss.app.reloading import Rules
from qss.app.site_tables import SiteConfiguration
from qss.core.routing import CostWeights, Origin, Router, RouterSettings
from qss.model.addresses import Address
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load
from qss.pki.statements import Judge, Signer
from qss.runtime.link import LinkRunner
from qss.runtime.routing import RoutingModule
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.wire import routing as wire
from qss.wire.metrics import Sample
from qss.wire.routes import LinkView, RouteView, RoutingStatus, routing_samples

PUBLISH_S = 0.25
"""How often the links' key is looked at: more often than the cost's tick, because a link may come up or go down."""


class SiteRouting:
    """The RM of one site. All methods belong to the event loop's thread."""

    def __init__(
        self, configuration: SiteConfiguration, rules: Rules, links: Mapping[QksId, LinkRunner], defect: Defect
    ) -> None:
        """Read what is needed. Raises `PkiError`."""
        self._configuration = configuration
        self._rules = rules
        self._links = links
        self._defect = defect
        self._tasks = Tasks(defect)
        self._signer = Signer(configuration.tls.certificate, configuration.tls.key)
        self._judge = Judge(configuration.tls.authority)
        self._running: RoutingModule | None = None

    @property
    def _module(self) -> RoutingModule:
        assert self._running is not None, "it was started before anybody was let in"
        return self._running

    def start(self, external: Address) -> None:
        """Begin to tell of the site, whose External listens at `external`."""
        table, site = self._configuration.routing, self._configuration.site.id
        origin = Origin(
            wire.Source(site, external.host, external.port),
            wire.Endpoint(external.host, external.port),
            table.route_invalidation_s,
            transit=table.transit,
        )
        settings = RouterSettings(weights=CostWeights(table.cost_base, table.cost_level, table.cost_trend))
        router = Router(origin, self._sign, self._verify, self._counts, settings, generation=int(time.time()))
        self._running = RoutingModule(router, tuple(self._links), self._defect)
        self._running.start()
        self.take_over()
        self._tasks.start(self._publish(), "routing")

    async def stop(self) -> None:
        """Withdraw what the site has said, and end all connections. Can be called twice, and before the start."""
        await self._tasks.cancelled()
        if self._running is not None:
            await self._running.stop()

    def _sign(self, body: bytes) -> wire.Authentication:
        return wire.Authentication(
            self._signer.algorithm, self._signer.certificates, self._signer.sign(wire.SIGNED_AS + body)
        )

    def _verify(self, origin: QksId, body: bytes, said: wire.Authentication) -> None:
        self._judge.check(origin, wire.SIGNED_AS + body, said.algorithm, said.certificates, said.signature)

    def _counts(self, sae: SaeId, site: QksId, _: bytes | None) -> bool:
        return self._rules.home(sae) == site

    def take_over(self) -> None:
        """Go on with the rules as they are now."""
        self._module.publish_saes(dict.fromkeys(self._rules.saes_at_home()))
        self._module.judge_anew()

    def serve(self, peer: QksId) -> Callable[[Connection], Awaitable[None]]:
        """Return what serves the connections of a neighbour's RM, once this was started."""

        async def serve(connection: Connection) -> None:
            if self._running is None:
                await connection.close()
            else:
                await self._running.serve(peer, connection)

        return serve

    async def _publish(self) -> None:
        while True:
            self._module.publish_links(dict(self._loads()))
            await asyncio.sleep(PUBLISH_S)

    def _loads(self) -> Iterator[tuple[QksId, Load]]:
        for link in self._configuration.links:
            core = self._links[link.peer].core
            if core.up:
                available = sum(8 * record.available for record in core.streams)
                yield link.peer, Load(available, link.capacity_bits, link.administrative_cost)

    # --- what administrators see ------------------------------------------------------------------------------------

    def status(self) -> RoutingStatus:
        """Return what this site knows of the network."""
        router, table = self._module.router, self._module.table
        edges = table.graph.edges
        return RoutingStatus(
            site=self._configuration.site.id,
            neighbours={peer: str(router.adjacency(peer).phase) for peer in sorted(self._links)},
            lsas=len(router.database),
            dropped={f"{peer} {reason}": count for (peer, reason), count in sorted(router.dropped.items())},
            links=tuple(
                LinkView(ends=(one, other), cost=edge.cost, available_bits=edge.available_bits)
                for one in sorted(edges)
                for other, edge in sorted(edges[one].items())
                if one < other
            ),
            routes=tuple(self._routes()),
        )

    def _routes(self) -> Iterator[RouteView]:
        table = self._module.table
        for sae in sorted(table.homes, key=str):
            entry = table.entry(SaeId(sae))
            assert entry is not None
            yield RouteView(
                SAE_ID=entry.sae, next_hop=entry.next_hop, dest=entry.dest, cost=entry.cost, length=entry.length
            )

    def samples(self) -> Iterator[Sample]:
        """Yield metrics."""
        router = self._module.router
        full: dict[str, bool] = {peer: router.adjacency(peer).full for peer in sorted(self._links)}
        dropped = {(str(peer), str(reason)): count for (peer, reason), count in router.dropped.items()}
        return routing_samples(full, len(router.database), dropped)
