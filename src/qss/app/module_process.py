"""The composition root of `qss qkd-module`: one module in a process of its own, from its configuration.

What is started first is stopped last: the module, the southbound interface, Sync, the registration, Admin. So the key
server hears first that the module leaves, while all that its last calls need still works.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from qss.app.catalogue import device_of, identity_of
from qss.app.certificate_expiry import watch_expiry
from qss.app.connecting import QRP_PATH, dial, dial_sync, listening_as, sync_path, sync_route
from qss.app.module_callers import Callers
from qss.app.module_configuration import is_initiator
from qss.app.module_overview import ModuleOverview
from qss.app.module_preparation import PreparedModule, prepare_module
from qss.app.module_tables import Admin, ModuleConfiguration
from qss.model.addresses import Address
from qss.model.errors import ConfigurationError
from qss.model.identifiers import site_of_module
from qss.ports.device import DeviceRole
from qss.runtime.module import QkdModule
from qss.runtime.module.registering import Registering
from qss.runtime.module.southbound import Southbound
from qss.runtime.tasks import Tasks
from qss.servers.admin_door import AdminDoor
from qss.servers.administrators import Administrators
from qss.servers.counts import CallCounts
from qss.servers.door import HttpsListener
from qss.servers.etsi004 import Etsi004Limits, Etsi004Server
from qss.transport.listening import Listener
from qss.wire import qrp

_log = structlog.get_logger(__name__)


class ModuleProcess:
    """A module in operation: where it listens, and what ends it."""

    def __init__(self, configuration: ModuleConfiguration, callers: Callers, failed: asyncio.Future[None]) -> None:
        self._configuration = configuration
        self._callers = callers
        self.failed = failed
        """Gets an exception when the module cannot go on at all."""
        self.addresses: dict[str, Address] = {}

    def listening(self) -> dict[str, str]:
        """Return where it listens, by the interface's name."""
        return {name: str(address) for name, address in self.addresses.items()}

    def take_over(self, changed: ModuleConfiguration, file: Path) -> dict[str, int]:
        """Take over who may call, `southbound.clients`, and return how many came and went.

        Raises `ConfigurationError`, and changes nothing, if something else has changed.
        """
        before = self._configuration
        for name in before.__struct_fields__:
            if _without_clients(getattr(before, name)) != _without_clients(getattr(changed, name)):
                raise ConfigurationError(
                    str(file), name, "another value than this module runs with", "that value, or a restart"
                )
        was, clients = set(before.southbound.clients), set(changed.southbound.clients)
        self._callers.clients = frozenset(clients)
        self._configuration = changed
        return {"clients_added": len(clients - was), "clients_removed": len(was - clients)}


def _without_clients(table: object) -> object:
    return {name: getattr(table, name) for name in getattr(table, "__struct_fields__", ()) if name != "clients"}


@asynccontextmanager
async def running(configuration: ModuleConfiguration) -> AsyncIterator[ModuleProcess]:
    """Run a module for as long as the context lasts. Raises what keeps it from starting: `PkiError`, `ListenError`."""
    prepared = prepare_module(configuration)
    for note in prepared.notes:
        _log.warning("found before the start", note=note)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(error: BaseException) -> None:
        if not failed.done():
            failed.set_exception(error)

    here = site_of_module(configuration.module.id)
    async with AsyncExitStack() as stack:
        stack.callback(failed.cancel)
        role = DeviceRole.INITIATOR if is_initiator(configuration) else DeviceRole.RESPONDER
        module = QkdModule(device_of(configuration.device), role, configuration.module.peer, fail)
        stack.push_async_callback(module.stop)
        callers = Callers(here, configuration.southbound.clients, identity_of(configuration.southbound.identity))
        process = ModuleProcess(configuration, callers, failed)
        tasks = Tasks(fail)
        southbound = _southbound(configuration, prepared, module, callers)
        stack.push_async_callback(southbound.close)
        with listening_as("southbound.listen"):
            await southbound.start()
        process.addresses["southbound"] = Address(*southbound.address)
        await _start_sync(configuration, prepared, module, process, stack, tasks)
        tasks.start(watch_expiry(prepared.certificate_expires), "own certificate")
        registering = _registering(configuration, module, process.addresses["southbound"], fail)
        stack.push_async_callback(tasks.cancelled)
        if registering is not None and configuration.register is not None:
            stack.push_async_callback(registering.stop)
            dial(tasks, prepared.client, here, configuration.register.address, QRP_PATH, qrp, registering.serve)
        overview = ModuleOverview(configuration, module, registering, southbound, prepared.certificate_expires, failed)
        if configuration.admin is not None:
            await _start_admin(configuration.admin, prepared, overview, process, stack)
        yield process


def _southbound(
    configuration: ModuleConfiguration, prepared: PreparedModule, module: QkdModule, callers: Callers
) -> Etsi004Server:
    table, here = configuration.southbound, site_of_module(configuration.module.id)
    return Etsi004Server(
        table.listen.host,
        table.listen.port,
        prepared.southbound,
        lambda: Southbound(module, here, configuration.module.peer),
        callers.name,
        CallCounts(configuration.module.id),
        limits=Etsi004Limits(max_connections=table.max_connections),
    )


async def _start_sync(
    configuration: ModuleConfiguration,
    prepared: PreparedModule,
    module: QkdModule,
    process: ModuleProcess,
    stack: AsyncExitStack,
    tasks: Tasks,
) -> None:
    """Dial the module at the other end, or listen for it (Sync 1.1)."""
    peer, pair, table = configuration.module.far_end, configuration.module.pair_id, configuration.sync
    if table.address is not None:
        dial_sync(tasks, prepared.client, peer, table.address, pair, module)
        return
    assert table.listen is not None  # `module_configuration` has seen to it
    routes = {sync_path(pair): sync_route(peer, module)}
    listener = Listener(table.listen.host, table.listen.port, prepared.server, routes)
    stack.push_async_callback(listener.close)
    with listening_as("sync.listen"):
        await listener.start()
    process.addresses["sync"] = Address(*listener.address)


def _registering(
    configuration: ModuleConfiguration, module: QkdModule, southbound: Address, fail: Callable[[BaseException], None]
) -> Registering | None:
    if configuration.register is None:
        return None
    table = configuration.module
    address = configuration.southbound.address or southbound
    return Registering(table.id, {table.pair_id: (table.peer, module)}, address, fail)


async def _start_admin(
    table: Admin,
    prepared: PreparedModule,
    overview: ModuleOverview,
    process: ModuleProcess,
    stack: AsyncExitStack,
) -> None:
    door = AdminDoor(
        Administrators(
            site_of_module(overview.name), table.administrators, identity_of(("uri", "cn")), module=overview.name
        ),
        overview.views(),
    )
    listener = HttpsListener(table.listen.host, table.listen.port, prepared.probe, door)
    stack.push_async_callback(listener.close)
    with listening_as("admin.listen"):
        await listener.start()
    process.addresses["admin"] = Address(*listener.address)
