"""What a site tells its administrators: readiness, status and metrics, read from what is running."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from qss import __version__
from qss.app.audit.log import AuditLog
from qss.app.module_states import module_state, told_state
from qss.app.pair_watch import trouble_of
from qss.app.remote_routing import RemoteRouting
from qss.app.site_key_streams import SiteKeyStreams
from qss.app.site_modules import SiteModules
from qss.app.site_routing import SiteRouting
from qss.app.site_tables import Link, LinkModule, SiteConfiguration
from qss.core.reservation import Link as ReservationLink
from qss.model.addresses import Address
from qss.model.errors import BadRequest, Unavailable
from qss.model.identifiers import PairId, QksId
from qss.model.records import BurnReason, Scope, StreamRecord, Tally
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.runtime.link import LinkRunner
from qss.runtime.site import Site
from qss.wire.metrics import Sample
from qss.wire.relay_status import RelayStatus
from qss.wire.status import (
    PAST,
    LinkStatus,
    ModuleState,
    PairStatus,
    SiteStatus,
    StreamBalance,
    status_samples,
)


class Overview:
    """Implements `qss.servers.admin.AdminService` for one site."""

    def __init__(
        self,
        configuration: SiteConfiguration,
        site: Site,
        modules: SiteModules,
        certificate_expires: datetime,
        audit: AuditLog,
        relaying: Callable[[], RelayStatus],
        routing: SiteRouting | RemoteRouting | None = None,
    ) -> None:
        """`relaying` tells how it goes with that; `routing` None: this process has no routing module."""
        self._relaying = relaying
        self._routing = routing
        self._configuration = configuration
        self._certificate_expires = certificate_expires
        self._audit = audit
        self._site = site
        self._modules = modules
        self.serving = False
        """Whether Northbound takes requests."""
        self.key_streams: SiteKeyStreams | None = None
        """None: there are none."""

    def stop_serving(self) -> None:
        """Northbound is about to be drained."""
        self.serving = False

    def alive(self) -> bool:
        """Whether the process works at all: to be asked is to be alive, unless the site has failed."""
        return not self._site.failed.done()

    def ready(self) -> bool:
        """Whether the site takes requests."""
        return self.serving and self.alive()

    def status(self) -> SiteStatus:
        """Return the site's status."""
        return SiteStatus(
            site=self._configuration.site.id,
            uuid=str(self._configuration.site.uuid),
            version=__version__,
            ready=self.ready(),
            certificate_expires=self._certificate_expires,
            store_writable=self._site.store_writable,
            anchor_writable=self._site.anchor_writable,
            audit_writable=self._audit.writable,
            audit_lost=self._audit.lost,
            audit_findings=self._audit.findings,
            audit_checkpoint=None if self._audit.checkpoint is None else self._audit.checkpoint.noted,
            links=(
                *(_link(link, self._site.links[link.peer], self._modules) for link in self._configuration.links),
                *(_far(self._site.links[peer]) for peer in sorted(self._site.links.keys() - self._site.neighbours)),
            ),
            relay=self._relaying(),
            key_streams=None if self.key_streams is None else self.key_streams.state(),
        )

    def metrics(self) -> Iterator[Sample]:
        """Yield the site's metrics."""
        yield from status_samples(self.status())
        if self.key_streams is not None:
            yield from self.key_streams.counts.samples()
        if self._routing is not None:
            yield from self._routing.samples()

    def set_exchange(self, pair: PairId, *, on: bool) -> None:
        """Start or stop the exchange of a device pair, until this process ends."""
        self._modules.set_exchange(pair, on=on)

    async def recall(self, scope: Scope, peer: QksId | None) -> Mapping[QksId, int]:
        """Burn keys that were not fetched yet, of the link to `peer` or of all links; return bits burned here."""
        if peer is not None and peer not in self._site.links:
            raise BadRequest(f"there is no link to site {peer}: name one of {', '.join(sorted(self._site.links))}")
        peers = list(self._site.links) if peer is None else [peer]
        if self.key_streams is not None:  # first: what they have was fetched, as far as links can tell
            self.key_streams.recall(scope, peer)
        recalls = (self._site.links[each].asks.recall(scope) for each in peers)
        answers = dict(zip(peers, await asyncio.gather(*recalls, return_exceptions=True), strict=True))
        for each, answer in answers.items():
            if isinstance(answer, BaseException):
                done = ", ".join(other for other, bits in answers.items() if isinstance(bits, int)) or "none"
                raise Unavailable(f"the link to {each}: {answer}; recalled at links: {done}; recall again") from answer
        return {each: bits for each, bits in answers.items() if isinstance(bits, int)}

    def adjust_device(self, pair: str, change: SettingsChange) -> SimulatorSettings:
        """Change settings of the simulated device of a pair, named by its UUID; return all that it has then."""
        modules = {str(each): module for each, module in self._modules.here.items()}
        if pair not in modules:
            known = ", ".join(modules) or "none"
            raise BadRequest(
                f"no device pair of this UUID has its module in this process: those that have are {known}. "
                "A module in a process of its own is asked at its own Admin interface"
            )
        return modules[pair].adjust_device(change)


def _link(configured: Link, runner: LinkRunner, modules: SiteModules) -> LinkStatus:
    link = runner.core
    full = 8 * sum(record.available for record in link.streams if not record.policy) >= configured.capacity_bits
    pairs = tuple(_pair(pair, link, modules, full=full) for pair in configured.pairs)
    return _link_status(runner, str(configured.uuid), pairs, past="")


def _far(runner: LinkRunner) -> LinkStatus:
    return _link_status(runner, None, (), past=PAST)


def _link_status(runner: LinkRunner, uuid: str | None, pairs: tuple[PairStatus, ...], past: str) -> LinkStatus:
    """`past` is what stands for the policy of streams that are used up."""
    link = runner.core
    burned = Counter(dict.fromkeys(BurnReason, 0))  # each reason from the start, so that rates miss none
    for tally in (link.peer.past, *(record.tally for record in link.streams)):
        burned.update(tally.burned)
    return LinkStatus(
        peer=link.settings.peer,
        uuid=uuid,
        up=link.up,
        security=runner.security,
        capacity_bits=8 * link.settings.capacity_bytes,
        streams=(*map(_live, link.streams), _balance(PAST, link.peer.past_ingested, 0, link.peer.past, past)),
        burned={str(reason): bits for reason, bits in burned.items()},
        pairs=pairs,
    )


def _pair(configured: LinkModule, link: ReservationLink, modules: SiteModules, *, full: bool) -> PairStatus:
    pair = configured.pair
    stream = link.open_stream(pair)
    registered = modules.registration(pair)
    module: ModuleState | None = None
    if pair in modules.here:
        module = module_state(modules.here[pair].status())
    elif registered is not None and registered.state is not None:
        module = told_state(registered.state)
    exchange = modules.exchange_is_on(pair)
    up = stream is not None if module is None else module.up
    trouble = trouble_of(
        name=configured.module,
        registered=registered is not None,
        exchange=exchange,
        link_up=link.up,
        full=full,
        up=up,
        module=module,
    )
    return PairStatus(
        uuid=str(pair),
        name=configured.module,
        registered=registered is not None,
        release=None if registered is None else registered.release,
        southbound=None if registered is None else str(Address(registered.host, registered.port)),
        exchange=exchange,
        attached=pair in link.attached,
        up=up,
        stream=None if stream is None else str(stream),
        trouble=trouble,
        module=module,
    )


def _live(record: StreamRecord) -> StreamBalance:
    return _balance(str(record.stream), 8 * record.mark, 8 * record.available, record.tally, record.policy)


def _balance(stream: str, ingested: int, available: int, tally: Tally, policy: str = "") -> StreamBalance:
    return StreamBalance(
        stream=stream,
        ingested=ingested,
        available=available,
        reserved=tally.reserved,
        delivered=tally.delivered,
        relayed=tally.relayed,
        burned=tally.burned_total,
        policy=policy,
    )
