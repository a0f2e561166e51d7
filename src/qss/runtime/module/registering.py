"""A module's registration at its key server: QRP over one connection after the other, the module's side.

Feeds its core with events and carries out the effects; what the Information says is asked of the modules. Not here: who
dials, and whether the site that answers is the right one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import assert_never

import structlog

from qss import __version__
from qss.core.module import Counts
from qss.core.module import registration as core
from qss.model.addresses import Address
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import PairId, QkdmId, QksId
from qss.ports.device import DeviceStatus
from qss.runtime.module.qkd_module import QkdModule
from qss.runtime.module.status import ModuleStatus
from qss.runtime.outbox import Outbox
from qss.runtime.session import Session
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.wire import qrp

MAX_WAITING = 64
"""Messages that may wait: one a second is sent, and one for each change of the exchange."""

_TICK_S = 0.2

_log = structlog.get_logger(__name__)


class Registering:
    """Keeps modules registered while it is given connections. All methods belong to the event loop's thread."""

    def __init__(
        self,
        name: QkdmId,
        modules: Mapping[PairId, tuple[QksId, QkdModule]],
        southbound: Address,
        defect: Defect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Register `modules`, each under its pair and with the site at the other end, as those of the process `name`.

        `southbound` is where the QKS finds their 004.
        """
        self._modules = {pair: module for pair, (_, module) in modules.items()}
        device = next(iter(self._modules.values())).status().device
        self._core = core.Registration(
            qrp.Register(
                name,
                tuple(qrp.Claim(pair.value, peer) for pair, (peer, _) in modules.items()),
                _card(device),
                southbound.host,
                southbound.port,
                __version__,
            )
        )
        self._clock = clock
        self._defect = defect
        self._tasks = Tasks(defect)
        self._ticking: asyncio.Task[None] | None = None
        self._log = _log.bind(subject="registration")
        self._session = Session[qrp.Message](
            lambda connection: Outbox(connection, _frames, MAX_WAITING),
            self._connected,
            self._received,
            self._disconnected,
            defect,
            self._log,
        )

    @property
    def registered(self) -> bool:
        """Whether the QKS has accepted this module."""
        return self._core.phase is core.Phase.REGISTERED

    async def serve(self, connection: Connection) -> None:
        """Speak QRP over this connection until it ends. A newer connection takes the place of an older one."""
        await self._session.serve(connection)

    async def stop(self) -> None:
        """Deregister, end the connection, and take no further one. Can be called twice."""
        self._handle(core.Leave("it stops"))
        await self._session.stop()
        await self._tasks.cancelled()

    # --- the connection -------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._handle(core.Connected())
        self._ticking = self._tasks.start(self._tick())

    def _received(self, frame: bytes) -> None:
        for message in qrp.decode(frame):
            self._handle(core.Received(message))

    def _disconnected(self, _: str) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        self._handle(core.Disconnected())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._handle(core.Tick())

    # --- effects --------------------------------------------------------------------------------------------------

    def _handle(self, event: core.Event) -> None:
        before = self.registered
        try:
            effects = self._core.handle(event, self._clock())
        except RemoteProtocolError:
            raise
        except Exception as error:
            self._defect(error)
            raise
        for effect in effects:
            self._perform(effect)
        if self.registered and not before:
            self._log.info("registered at the key server")

    def _perform(self, effect: core.Effect) -> None:
        match effect:
            case core.Send(message):
                self._session.send((message,))
            case core.SetExchange(pair, on):
                self._set_exchange(pair, on=on)
            case core.Inform():
                states = tuple(_state(pair, module.status()) for pair, module in self._modules.items())
                self._session.send((qrp.Information(states),))
            case core.Disconnect(reason):
                self._session.disconnect(reason)
            case _:
                assert_never(effect)

    def _set_exchange(self, pair: PairId, *, on: bool) -> None:
        module = self._modules[pair]
        if module.status().exchange is not on:
            self._log.warning("exchange started" if on else "exchange stopped", audit=True, pair=str(pair))
            module.set_exchange(on=on)


def _frames(messages: Sequence[qrp.Message]) -> list[bytes]:
    return [qrp.encode([message]) for message in messages]


def _state(pair: PairId, status: ModuleStatus) -> qrp.PairState:
    return qrp.PairState(
        pair.value,
        status.exchange,
        qrp.StreamPhase(status.phase),
        None if status.stream is None else status.stream.value,
        status.chunk_bytes,
        None if status.security is None else qrp.plain(status.security),
        _card(status.device),
        int(status.owed_s),
        {one.name: getattr(status.counts, one.name) for one in fields(Counts) if one.name != "unhealthy"},
        {str(test): count for test, count in status.counts.unhealthy.items()},
    )


def _card(device: DeviceStatus) -> qrp.DeviceCard:
    return qrp.DeviceCard(
        device.kind,
        device.running,
        device.rate_bps,
        device.qber,
        device.simulated,
        device.seeded,
        device.lost_bits,
        device.left_bits,
        qrp.plain(device.note),
    )
