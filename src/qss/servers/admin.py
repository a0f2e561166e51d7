"""Admin: liveness, readiness, status, metrics, recalls, exchanges and simulated devices of one site.

Specified in docs/reference/northbound.md, section 8. Probes need no certificate and get no data. The rest is for the
site itself and for the administrators that its configuration lists. Recalls, the SAEs at home here (`saes`), starting
and stopping an exchange, and the settings of simulated devices are all that can be changed here; the log says by whom.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain
from typing import Protocol

import structlog

from qss.model.errors import Unavailable
from qss.model.identifiers import PairId, QksId, SaeId
from qss.model.records import Scope
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.ports.identity import Identity
from qss.servers.admin_door import Action, AdminDoor, Views
from qss.servers.administrators import Administrators
from qss.servers.counts import RequestCounts
from qss.servers.devices import DEVICES_PATH, device_action
from qss.servers.messages import JSON, Request, Response
from qss.wire.exchange import parse_exchange, render_exchange
from qss.wire.metrics import Sample
from qss.wire.recall import parse_recall, render_recalled
from qss.wire.status import SiteStatus, render_status

_log = structlog.get_logger(__name__)


class AdminService(Protocol):
    """What the runtime tells about a site."""

    def alive(self) -> bool:
        """Whether the process works at all; if not, it should be started anew."""
        ...

    def ready(self) -> bool:
        """Whether the site takes requests (section 8 says what that tells, and what not)."""
        ...

    def status(self) -> SiteStatus:
        """Return the site's status."""
        ...

    def metrics(self) -> Iterable[Sample]:
        """Return the site's metrics; `status_samples` makes most of them."""
        ...

    async def recall(self, scope: Scope, peer: QksId | None) -> Mapping[QksId, int]:
        """Burn keys that were not fetched yet, of one link or of all; return the bits burned here, by link.

        Raises `BadRequest` for a link that is none, and `Unavailable`.
        """
        ...

    def adjust_device(self, pair: str, change: SettingsChange) -> SimulatorSettings:
        """Change settings of the simulated device of a pair, by its UUID; return all that it has then.

        Raises `BadRequest`, and then nothing was changed.
        """
        ...

    def set_exchange(self, pair: PairId, *, on: bool) -> None:
        """Start or stop the exchange of a device pair. Raises `BadRequest` for a pair that is none here."""
        ...


class Admin:
    """The handler behind the Admin listener, whose TLS context leaves the client's certificate optional."""

    def __init__(
        self,
        here: QksId,
        administrators: Collection[SaeId],
        identity: Identity,
        service: AdminService,
        counts: RequestCounts,
        more: Mapping[str, Callable[[], bytes]] | None = None,
        actions: Mapping[str, Action] | None = None,
    ) -> None:
        """Show besides what `more` returns, JSON by its paths, and do what `actions` do, by theirs."""
        self._service = service
        self._door = AdminDoor(
            Administrators(here, administrators, identity),
            Views(
                service.alive,
                service.ready,
                lambda: render_status(service.status()),
                lambda: chain(service.metrics(), counts.samples()),
                {
                    "/recall": self._recall,
                    "/exchange": self._exchange,
                    DEVICES_PATH: device_action(service.adjust_device),
                    **(actions or {}),
                },
                more or {},
            ),
        )

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        return await self._door(request)

    def entry(self, request: Request) -> Response | int:
        """Look at a request before its body is read (`Guarded`)."""
        return self._door.entry(request)

    async def _recall(self, who: str, _: str, body: bytes) -> Response:
        scope, peer = parse_recall(body)
        try:
            bits = await self._service.recall(scope, peer)
        except Unavailable as error:
            _log.warning("keys could not be recalled", by=who, keys=str(scope), reason=str(error))
            raise
        named = [str(key_id) for key_id in scope.key_ids]
        _log.warning("keys recalled", audit=True, by=who, keys=str(scope), key_ids=named, burned_bits=dict(bits))
        return Response(200, JSON, render_recalled(bits))

    async def _exchange(self, who: str, _: str, body: bytes) -> Response:
        pair, on = parse_exchange(body)
        self._service.set_exchange(pair, on=on)
        _log.warning("exchange started" if on else "exchange stopped", audit=True, by=who, pair=str(pair))
        return Response(200, JSON, render_exchange(pair, on=on))
