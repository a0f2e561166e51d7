"""What a module in a process of its own tells its administrators: readiness, status and metrics. And its simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime

from qss import __version__
from qss.app.module_states import module_state
from qss.app.module_tables import ModuleConfiguration
from qss.core.module import Phase
from qss.model.errors import BadRequest
from qss.model.identifiers import QkdmId
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.runtime.module import QkdModule
from qss.runtime.module.registering import Registering
from qss.servers.admin_door import Views
from qss.servers.devices import DEVICES_PATH, device_action
from qss.servers.etsi004 import Etsi004Server
from qss.wire.metrics import Sample
from qss.wire.module_status import ModuleProcessStatus, module_process_samples, render_module_status


class ModuleOverview:
    """Reads what is running."""

    def __init__(
        self,
        configuration: ModuleConfiguration,
        module: QkdModule,
        registering: Registering | None,
        southbound: Etsi004Server,
        certificate_expires: datetime,
        failed: asyncio.Future[None],
    ) -> None:
        """`registering` is None where the module serves applications alone."""
        self._table = configuration.module
        self._module = module
        self._registering = registering
        self._southbound = southbound
        self._certificate_expires = certificate_expires
        self._failed = failed

    @property
    def name(self) -> QkdmId:
        """The module's name."""
        return self._table.id

    def views(self) -> Views:
        """Return what Admin shows, and does."""
        return Views(
            self._alive,
            self._ready,
            lambda: render_module_status(self.status()),
            self._samples,
            {DEVICES_PATH: device_action(self._adjust_device)},
        )

    def status(self) -> ModuleProcessStatus:
        """Return the module's status."""
        status = self._module.status()
        return ModuleProcessStatus(
            name=self._table.id,
            pair=str(self._table.pair_id),
            peer=self._table.peer,
            version=__version__,
            ready=self._ready(),
            certificate_expires=self._certificate_expires,
            registered=self._registering is not None and self._registering.registered,
            exchange=status.exchange,
            module=module_state(status),
        )

    def _adjust_device(self, pair: str, change: SettingsChange) -> SimulatorSettings:
        if pair != str(self._table.pair_id):
            raise BadRequest(
                f"this module has one end of pair {self._table.pair_id}, and of no other: "
                "ask the Admin of the module, or site, that has this one"
            )
        return self._module.adjust_device(change)

    def _alive(self) -> bool:
        return not self._failed.done()

    def _ready(self) -> bool:
        """Whether a key stream can be opened here, as far as this end is concerned."""
        registered = self._registering is None or self._registering.registered
        return self._alive() and registered and self._module.status().phase is not Phase.DOWN

    def _samples(self) -> Iterator[Sample]:
        yield from module_process_samples(self.status())
        yield from self._southbound.counts.samples()
