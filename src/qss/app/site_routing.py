"""A site's routing module, in its node or in its own process: what it is made of, and what it tells administrators.

It speaks with the site's neighbours, signs with the site's certificate, and takes the homes of SAEs that the network's
authority has stated. In the node's process it may tag with key of the site's links. Not here: the protocol
(`core.routing`), nor what the site publishes (`publishing`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from qss.app.homes import Homes
from qss.app.settling import GIVEN_UP_S, has_settled
from qss.app.site_tables import RoutingCosts, Tls
from qss.core.routing import CostWeights, Origin, Router, RouterSettings, TagSetting
from qss.core.routing.events import Happening
from qss.model.addresses import Address
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Graph, Route, SiteState
from qss.pki.statements import Judge, Signer
from qss.runtime.routing import RoutingModule
from qss.runtime.tag_keeper import TagKeeper
from qss.runtime.tag_ranges import TagRanges
from qss.runtime.tasks import Defect
from qss.transport.connection import Connection
from qss.wire import routing as wire
from qss.wire.metrics import Sample
from qss.wire.routes import LinkView, LsaView, RouteView, RoutingStatus, TagsView
from qss.wire.routing_metrics import RoutingCounts, routing_samples


class SiteRouting:
    """The RM of one site, a `RoutingTable`. All methods belong to the event loop's thread."""

    def __init__(
        self,
        site: QksId,
        tls: Tls,
        table: RoutingCosts,
        neighbours: Sequence[QksId],
        defect: Defect,
        tags: Mapping[QksId, TagSetting] | None = None,
        ranges: TagRanges | None = None,
    ) -> None:
        """Read what is needed. Raises `PkiError`.

        `tags` are the settings of neighbours that it tags with, for whom `ranges` has key; None: it tags with nobody.
        """
        self._site = site
        self._tags = dict(tags or {})
        self._ranges = ranges
        self._table = table
        self._neighbours = tuple(sorted(neighbours))
        self._defect = defect
        self._signer = Signer(tls.certificate, tls.key)
        self._judge = Judge(tls.authority)
        self._homes = Homes(tls.authority)
        self._running: RoutingModule | None = None
        self._started_at = 0.0
        self._version = time.time_ns() // 1000  # higher than any that an earlier process has come to
        self._changed_at = 0.0
        self._changed = asyncio.Event()
        self._watchers: list[Callable[[], None]] = []

    @property
    def _module(self) -> RoutingModule:
        assert self._running is not None, "it was started before anybody was let in"
        return self._running

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self, external: Address, routing: Address, generation: int) -> None:
        """Begin to tell of the site, whose External and whose RM listen there, in this generation of its LSAs."""
        table = self._table
        origin = Origin(
            wire.Source(self._site, external.host, external.port),
            wire.Endpoint(routing.host, routing.port),
            table.route_invalidation_s,
            transit=table.transit,
        )
        settings = RouterSettings(weights=CostWeights(table.cost_base, table.cost_level, table.cost_trend))
        keeper = TagKeeper()
        router = Router(
            origin, self._sign, self._verify, self._homes.are_stated, settings, generation, keeper, self._tags
        )
        tag_key = None if self._ranges is None else (self._ranges, keeper)
        self._running = RoutingModule(router, self._neighbours, self._defect, tag_key=tag_key)
        self._running.watch(self._settled)
        self._running.start()
        self._started_at = time.monotonic()

    async def stop(self) -> None:
        """Withdraw what the site has said, and end all connections. Can be called twice, and before the start."""
        if self._running is not None:
            await self._running.stop()

    def serve(self, peer: QksId) -> Callable[[Connection], Awaitable[None]]:
        """Return what serves the connections of a neighbour's RM, once this was started."""

        async def serve(connection: Connection) -> None:
            if self._running is None:
                await connection.close()
            else:
                await self._running.serve(peer, connection)

        return serve

    def _sign(self, body: bytes) -> wire.Authentication:
        return wire.Authentication(
            self._signer.algorithm, self._signer.certificates, self._signer.sign(wire.SIGNED_AS + body)
        )

    def _verify(self, origin: QksId, body: bytes, said: wire.Authentication) -> None:
        self._judge.check(origin, wire.SIGNED_AS + body, said.algorithm, said.certificates, said.signature)

    # --- the routing table ------------------------------------------------------------------------------------------

    def publish(self, state: SiteState) -> None:
        """Say how the site is now (`RoutingTable`)."""
        self._module.publish(state)

    def route(self, sae: SaeId) -> Route | None:
        """Return an SAE's home site and the way there; None also before the start (`RoutingTable`)."""
        return None if self._running is None else self._running.route(sae)

    @property
    def graph(self) -> Graph:
        """The network's links as this site sees them now."""
        return Graph() if self._running is None else self._running.graph

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever routes or graph may be others."""
        self._watchers.append(changed)

    def _settled(self) -> None:
        self._version += 1
        self._changed_at = time.time()
        self._changed.set()
        self._changed = asyncio.Event()
        for changed in self._watchers:
            changed()

    @property
    def settled(self) -> bool:
        """Whether all that neighbours have to tell at the start is here, as far as it can be had."""
        if self._running is None:
            return False
        router, since_s = self._running.router, time.monotonic() - self._started_at
        if not router.is_current and since_s < GIVEN_UP_S:
            return False
        return has_settled((router.adjacency(peer).phase for peer in self._neighbours), since_s)

    @property
    def hears_all(self) -> bool:
        """Whether the routing modules of all neighbours are heard, and the table has the homes that they told."""
        router = None if self._running is None else self._running.router
        return router is not None and router.has_all_homes and all(router.adjacency(p).full for p in self._neighbours)

    @property
    def version(self) -> int:
        """What `RoutingStatus.version` says."""
        return self._version

    async def changed(self, after: int, wait_s: float) -> None:
        """Wait until the version is another one than `after`, but no longer than `wait_s`."""
        if self._version == after:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    # --- what administrators see ------------------------------------------------------------------------------------

    def status(self) -> RoutingStatus:
        """Return what this site knows of the network."""
        router, graph = self._module.router, self._module.graph
        return RoutingStatus(
            site=self._site,
            version=self._version,
            changed=self._changed_at,
            neighbours={peer: str(router.adjacency(peer).phase) for peer in self._neighbours},
            lsas=len(router.database),
            settled=self.settled,
            dropped={f"{peer} {reason}": count for (peer, reason), count in sorted(router.dropped.items())},
            links=tuple(
                LinkView(ends=(one, other), cost=edge.cost, available_bits=edge.available_bits)
                for one in sorted(graph.edges)
                for other, edge in sorted(graph.edges[one].items())
                if one < other
            ),
            repeaters=tuple(sorted(graph.repeaters)),
            externals={str(site): str(address) for site, address in sorted(graph.externals.items())},
            routes=tuple(
                RouteView(
                    SAE_ID=route.sae, next_hop=route.next_hop, dest=route.dest, cost=route.cost, length=route.length
                )
                for route in self._module.routes()
            ),
            contested={str(sae): tuple(map(str, sites)) for sae, sites in sorted(router.contested.items())},
            tags={peer: self._tags_with(peer) for peer in sorted(self._tags)},
        )

    def _tags_with(self, peer: QksId) -> TagsView:
        router = self._module.router
        return TagsView(
            setting=str(self._tags[peer]),
            state=str(router.tags(peer).state),
            key_bits=0 if self._ranges is None else self._ranges.bits[peer],
            untagged=sum(count for (other, _, tagged), count in router.updates.items() if other == peer and not tagged),
        )

    def lsas(self) -> tuple[LsaView, ...]:
        """Return the link state database."""
        now = time.monotonic()
        known = sorted(self._module.router.database, key=lambda instance: instance.header.key)
        return tuple(_lsa(instance.carried(self._site, now), instance.body) for instance in known)

    def samples(self) -> Iterator[Sample]:
        """Yield metrics."""
        router, routes = self._module.router, list(self._module.routes())
        reachable = sum(route.next_hop is not None for route in routes)
        return routing_samples(
            RoutingCounts(
                full={peer: router.adjacency(peer).full for peer in self._neighbours},
                happened={
                    (peer, str(what)): router.happened[peer, what] for peer in self._neighbours for what in Happening
                },
                dropped={(str(peer), str(reason)): count for (peer, reason), count in router.dropped.items()},
                lsas=Counter(str(instance.header.key.type) for instance in router.database),
                originated={str(lsa_type): count for lsa_type, count in router.originated.items()},
                costs={str(peer): told.cost for peer, told in router.told_of_all().items()},
                changed=self._changed_at,
                saes={
                    "reachable": reachable,
                    "unreachable": len(routes) - reachable,
                    "contested": len(router.contested),
                },
                untold=len(router.untold),
                updates={(peer, str(way), tagged): n for (peer, way, tagged), n in router.updates.items()},
                tag_bits={} if self._ranges is None else {peer: self._ranges.bits[peer] for peer in self._tags},
            )
        )


def _lsa(carried: wire.Carried, body: wire.Preamble) -> LsaView:
    known = body if isinstance(body, wire.Body) else None
    return LsaView(
        origin=body.source.qks,
        type=str(body.type),
        part=body.part,
        generation=body.generation,
        sequence=body.sequence,
        age_s=carried.age_ms / 1000,
        lifetime_s=body.lifetime_s,
        withdrawn=body.withdrawn,
        transit=known is not None and known.transit,
        timestamp=0 if known is None else known.timestamp,
        algorithm=carried.authentication.algorithm,
        bytes=len(carried.body),
        external=str(Address(body.source.host, body.source.port)),
        routing=str(Address(body.routing.host, body.routing.port)),
        links={link.peer: (link.cost, link.available_bits) for link in (known.links if known else ())},
        saes={state.sae: state.statement is not None for state in (known.saes if known else ())},
    )
