"""The modules of a site, in this process and in their own: what attaches them to the links, and stops their exchange.

Modules in this process are attached from the start. Those in processes of their own are attached when they register,
and pulled from over ETSI GS QKD 004. Not here: who may register for what (`core.keyserver.modules`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from qss.app import site_tables as tables
from qss.app.catalogue import SouthboundSource, device_of, southbound_source
from qss.core.keyserver.modules import PairPlan, Registration
from qss.model.addresses import Address
from qss.model.errors import BadRequest
from qss.model.identifiers import PairId, QkdmId, QksId
from qss.ports.device import DeviceRole
from qss.runtime.link import LinkRunner
from qss.runtime.module import QkdModule
from qss.runtime.registrations import Registrations
from qss.runtime.tasks import Defect, Tasks

_RETIRE_S = 10.0
"""How long a source that was detached may take to close its key stream."""

_STOPPED = "its exchange was stopped"


class SiteModules:
    """Implements `qss.runtime.registrations.Attaching`. All methods belong to the event loop's thread."""

    def __init__(self, configuration: tables.SiteConfiguration, context: ssl.SSLContext, defect: Defect) -> None:
        """Make the modules of this process. `context` is for calling those of other processes."""
        here = configuration.site.id
        self._context = context
        self._pairs = {pair.pair: (link, pair) for link in configuration.links for pair in link.pairs}
        self.here = {
            pair: _module(here, link.peer, configured.device, defect)
            for pair, (link, configured) in self._pairs.items()
            if configured.device is not None
        }
        """The modules in this process."""
        self.registrations = Registrations(
            here,
            [
                PairPlan(pair, link.peer, configured.module)
                for pair, (link, configured) in self._pairs.items()
                if configured.module is not None
            ],
            self,
            defect,
        )
        self._links: Mapping[QksId, LinkRunner] = {}
        self._sources: dict[PairId, SouthboundSource] = {}
        self._retired: set[SouthboundSource] = set()
        self._tasks = Tasks(defect)

    def start(self, links: Mapping[QksId, LinkRunner]) -> None:
        """Take modules that register, for the links of the site, which have started."""
        self._links = links
        self.registrations.start()

    async def stop(self) -> None:
        """Stop the modules of this process, and let go of the others; the links have been stopped before."""
        await asyncio.gather(*(module.stop() for module in self.here.values()))
        await self._tasks.cancelled()
        for source in (*self._sources.values(), *self._retired):
            await source.stop()

    # --- modules that register ------------------------------------------------------------------------------------

    def attach(self, pair: PairId, module: QkdmId, southbound: Address) -> None:
        """Pull key of this pair from `module`, whose 004 is at `southbound`."""
        source = self._sources[pair] = southbound_source(southbound, self._context, module)
        self._link(pair).sources.attach(pair, source)

    def detach(self, pair: PairId, reason: str) -> None:
        """Pull key of this pair no more."""
        source = self._sources.pop(pair)
        self._link(pair).sources.detach(pair, reason)
        self._retired.add(source)
        self._tasks.start(self._retire(source))

    async def _retire(self, source: SouthboundSource) -> None:
        await asyncio.sleep(_RETIRE_S)  # its CLOSE leaves meanwhile
        await source.stop()
        self._retired.discard(source)

    # --- what administrators see and do ---------------------------------------------------------------------------

    def exchange_is_on(self, pair: PairId) -> bool:
        """Whether key streams may be opened on this pair."""
        if pair in self.here:
            return self.here[pair].status().exchange
        return self.registrations.modules.exchange_is_on(pair)

    def registration(self, pair: PairId) -> Registration | None:
        """Return what is known of the module of its own process that is registered for this pair."""
        return self.registrations.modules.registration(pair)

    def set_exchange(self, pair: PairId, *, on: bool) -> None:
        """Start or stop the exchange of a pair, until this process ends. Raises `BadRequest` for an unknown pair."""
        if pair not in self._pairs:
            raise BadRequest(f"there is no device pair {pair} at this site; `qss module list` shows those that are")
        module = self.here.get(pair)
        if module is None:
            self.registrations.set_exchange(pair, on=on)
        elif module.status().exchange is not on:
            if on:
                module.set_exchange(on=True)
                self._link(pair).sources.attach(pair, module)
            else:
                self._link(pair).sources.detach(pair, _STOPPED)
                module.set_exchange(on=False)

    def _link(self, pair: PairId) -> LinkRunner:
        link, _ = self._pairs[pair]
        return self._links[link.peer]


def _module(here: QksId, peer: QksId, device: tables.DeviceTable, defect: Defect) -> QkdModule:
    role = DeviceRole.INITIATOR if here < peer else DeviceRole.RESPONDER
    return QkdModule(device_of(device), role, peer, defect)
