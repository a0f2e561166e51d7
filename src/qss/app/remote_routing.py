"""A site's routing module that is a process of its own, as the site's node sees it: asked and told by way of Admin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from msgspec.structs import replace

from qss.app.catalogue import remote_table_of
from qss.app.site_tables import SiteConfiguration
from qss.client import AdminClient
from qss.core.routing.adjacency import Phase
from qss.model.addresses import Address
from qss.model.certificates import PeerCertificate, site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Graph, Route, SiteState
from qss.runtime.tasks import Defect, Tasks
from qss.wire.metrics import Sample
from qss.wire.routes import RoutingStatus
from qss.wire.routing_metrics import SILENT


class RemoteRouting:
    """A `RoutingTable`. All methods belong to the event loop's thread."""

    def __init__(self, configuration: SiteConfiguration, process: Address, defect: Defect) -> None:
        """`process` is the module's Admin. Raises `PkiError`."""
        tls, table = configuration.tls, configuration.routing
        # Where every SAE is at home is the site's own to say: no other server of the network is asked, though it may
        # be at the same host.
        own = partial(_check_own, configuration.site.id, process)
        self._client = AdminClient(f"https://{process}", tls.certificate, tls.key, tls.authority, check=own)
        self._table = remote_table_of(configuration.site.id, self._client, table.route_invalidation_s)
        self._tasks = Tasks(defect)

    def start(self) -> None:
        """Begin to ask and to tell."""
        self._tasks.start(self._table.keep_telling(), "routing module")
        self._tasks.start(self._table.keep_asking(), "routing module")

    async def stop(self) -> None:
        """Ask no more. Can be called twice, and before the start."""
        await self._tasks.cancelled()
        await self._client.close()

    def publish(self, state: SiteState) -> None:
        """Say how the site is now (`RoutingTable`)."""
        self._table.publish(state)

    def route(self, sae: SaeId) -> Route | None:
        """Return an SAE's home site and the way there (`RoutingTable`)."""
        return self._table.route(sae)

    @property
    def graph(self) -> Graph:
        """The network's links as this site sees them now."""
        return self._table.graph

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever routes or graph may be others."""
        self._table.watch(changed)

    @property
    def hears_all(self) -> bool:
        """Whether the module, as far as is known, hears all its neighbours."""
        phases = self._table.status.neighbours.values()
        return bool(phases) and all(phase == Phase.FULL for phase in phases)

    def status(self) -> RoutingStatus:
        """Return what the module has told last."""
        return replace(self._table.status, silent_s=round(self._table.silent_s, 1))

    def samples(self) -> Iterator[Sample]:
        """Yield whether the module can be asked; all else it has itself."""
        yield Sample(SILENT, (), round(self._table.silent_s, 1))


def _check_own(here: QksId, process: Address, certificate: PeerCertificate) -> None:
    try:
        found = site_of(certificate)
    except Unauthorised as error:
        raise Unauthorised(f"{error}; {_REMEDY}") from error
    if found != here:
        raise Unauthorised(f"{process} is site {found}, not {here}; {_REMEDY}")


_REMEDY = "routing.process must be where Admin of this site's own routing module is, which shows the site's certificate"
