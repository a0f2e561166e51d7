"""What a site tells its administrators: readiness, status and metrics, read from what is running."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from qss import __version__
from qss.model.identifiers import QksId
from qss.model.records import StreamRecord
from qss.runtime.link import LinkRunner
from qss.runtime.module import QkdModule
from qss.runtime.site import Site
from qss.wire.metrics import Sample
from qss.wire.status import LinkStatus, SiteStatus, StreamBalance, status_samples


class Overview:
    """Implements `qss.servers.admin.AdminService` for one site."""

    def __init__(self, here: QksId, site: Site, modules: Mapping[QksId, QkdModule]) -> None:
        self._here = here
        self._site = site
        self._modules = modules
        self.serving = False
        """Whether Northbound takes requests."""

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
            site=self._here,
            version=__version__,
            ready=self.ready(),
            links=tuple(_link(peer, runner, self._modules[peer]) for peer, runner in self._site.links.items()),
        )

    def metrics(self) -> Iterator[Sample]:
        """Yield the site's metrics."""
        return status_samples(self.status())


def _link(peer: QksId, runner: LinkRunner, module: QkdModule) -> LinkStatus:
    link = runner.core
    burned = Counter({str(reason): bits for reason, bits in link.peer.past.burned.items()})
    for record in link.streams:
        burned.update({str(reason): bits for reason, bits in record.tally.burned.items()})
    return LinkStatus(
        peer=peer,
        up=link.up,
        security=runner.security,
        streams=tuple(_balance(record) for record in link.streams),
        burned=burned,
    )


def _balance(record: StreamRecord) -> StreamBalance:
    end = record.mark if record.limit is None else record.limit
    return StreamBalance(
        stream=str(record.stream),
        ingested=8 * record.mark,
        available=8 * (end - record.head),
        reserved=record.tally.reserved,
        delivered=record.tally.delivered,
        relayed=record.tally.relayed,
        burned=record.tally.burned_total,
    )
