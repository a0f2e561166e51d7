"""The modules that register at this site's key server: QRP, the side of the QKS, on any number of connections.

Feeds its core with events and carries out the effects. What attaching and detaching a pair means is the composition's
matter. Refused: connections whose certificate names no module of this site.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, assert_never

import structlog

from qss.core.keyserver import modules as core
from qss.model.addresses import Address
from qss.model.certificates import module_of
from qss.model.errors import RemoteProtocolError, Unauthorised
from qss.model.identifiers import PairId, QkdmId, QksId, site_of_module
from qss.runtime.outbox import Outbox
from qss.runtime.session import Session
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.wire import qrp

MAX_WAITING = 64
"""Messages that may wait for one module."""

_TICK_S = 0.2

_log = structlog.get_logger(__name__)


class Attaching(Protocol):
    """What the QKS does with a pair whose module comes or goes."""

    def attach(self, pair: PairId, module: QkdmId, southbound: Address) -> None:
        """Pull key of this pair from `module`, whose 004 is at `southbound`."""
        ...

    def detach(self, pair: PairId, reason: str) -> None:
        """Pull key of this pair no more."""
        ...


class Registrations:
    """The modules of site `here`. All methods belong to the event loop's thread."""

    def __init__(
        self,
        here: QksId,
        plans: Iterable[core.PairPlan],
        attaching: Attaching,
        defect: Defect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the pairs that modules of their own may register, and who attaches and detaches them."""
        self._here = here
        self._core = core.Modules(plans)
        self._attaching = attaching
        self._defect = defect
        self._clock = clock
        self._tasks = Tasks(defect)
        self._numbers = itertools.count(1)
        self._sessions: dict[int, Session[qrp.Message]] = {}
        self._stopped = False

    @property
    def modules(self) -> core.Modules:
        """The core, for its queries."""
        return self._core

    def start(self) -> None:
        """Begin to watch for silence."""
        self._tasks.start(self._tick())

    async def stop(self) -> None:
        """End all connections, and take no further one. Can be called twice."""
        self._stopped = True
        await asyncio.gather(*(session.stop() for session in list(self._sessions.values())))
        await self._tasks.cancelled()

    async def serve(self, connection: Connection) -> None:
        """Speak QRP over this connection until it ends. Raises `Unauthorised` unless a module of this site called."""
        module = module_of(connection.peer)
        if site_of_module(module) != self._here:
            raise Unauthorised(f"module {module} belongs to another site than {self._here}; let it register at its own")
        if self._stopped:
            await connection.close()
            return
        number = next(self._numbers)
        session = self._sessions[number] = self._session(number, module)
        try:
            await session.serve(connection)
        finally:
            del self._sessions[number]

    def set_exchange(self, pair: PairId, *, on: bool) -> None:
        """Start or stop the exchange of a pair that modules of their own may register."""
        self._handle(core.SetExchange(pair, on))

    def _session(self, number: int, module: QkdmId) -> Session[qrp.Message]:
        def received(frame: bytes) -> None:
            for message in qrp.decode(frame):
                self._handle(core.Received(number, message))

        return Session[qrp.Message](
            lambda connection: Outbox(connection, _frames, MAX_WAITING),
            lambda: self._handle(core.Connected(number, module)),
            received,
            lambda reason: self._handle(core.Disconnected(number, reason)),
            self._defect,
            _log.bind(subject="registration", module=module),
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._handle(core.Tick())

    def _handle(self, event: core.Event) -> None:
        try:
            effects = self._core.handle(event, self._clock())
        except RemoteProtocolError:
            raise  # the module is told by the end of its connection
        except Exception as error:
            self._defect(error)
            raise
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: core.Effect) -> None:
        match effect:
            case core.Send(number, message):
                self._sessions[number].send((message,))
            case core.Attach(pair, module, host, port):
                self._attaching.attach(pair, module, Address(host, port))
            case core.Detach(pair, reason):
                self._attaching.detach(pair, reason)
            case core.Disconnect(number, reason):
                self._sessions[number].disconnect(reason)
            case _:
                assert_never(effect)


def _frames(messages: Sequence[qrp.Message]) -> list[bytes]:
    return [qrp.encode([message]) for message in messages]
