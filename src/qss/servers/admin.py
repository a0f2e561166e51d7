"""Admin: liveness, readiness, status, metrics, recalls and simulated devices of one site.

Specified in docs/reference/northbound.md, section 8.

Probes need no certificate and get no data. The rest is for the site itself and for the administrators that its
configuration lists. Recalls and the settings of simulated devices are all that can be changed here; the log says by
whom.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Protocol

import structlog

from qss.model.certificates import PeerCertificate, is_site_uri, site_of
from qss.model.errors import BadRequest, Unauthorised, Unavailable
from qss.model.identifiers import QksId, SaeId
from qss.model.records import Scope
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.ports.identity import Identity
from qss.servers.counts import RequestCounts
from qss.servers.messages import JSON, Request, Response, error_response
from qss.wire.device import parse_change, render_settings
from qss.wire.metrics import CONTENT_TYPE, Sample, render_metrics
from qss.wire.recall import parse_recall, render_recalled
from qss.wire.status import SiteStatus, render_status

_RECALL = "/recall"
_DEVICES = "/devices/"
_TEXT = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}

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


class Admin:
    """The handler behind the Admin listener, whose TLS context leaves the client's certificate optional."""

    def __init__(
        self,
        here: QksId,
        administrators: Collection[SaeId],
        identity: Identity,
        service: AdminService,
        counts: RequestCounts,
    ) -> None:
        self._here = here
        self._administrators = frozenset(administrators)
        self._identity = identity
        self._service = service
        self._counts = counts
        self._open = {"/livez": self._livez, "/readyz": self._readyz}
        self._guarded = {"/status": self._status, "/metrics": self._metrics}

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        changes = request.path == _RECALL or request.path.startswith(_DEVICES)
        if not changes and request.path not in self._open and request.path not in self._guarded:
            return error_response(
                404, "there is nothing at this path: use /livez, /readyz, /status, /metrics, /recall, /devices/<UUID>"
            )
        verb = "POST" if changes else "GET"
        if request.method != verb:
            refusal = error_response(405, f"use {verb}")
            return Response(refusal.status, {**refusal.headers, "Allow": verb}, refusal.body)
        if request.path in self._open:
            return self._open[request.path]()
        if request.identity is None:
            return error_response(401, "a client certificate is needed: show the site's or an administrator's")
        try:
            who = self._authorise(request.identity)
        except Unauthorised as error:
            _log.warning("refused", path=request.path, reason=str(error))
            return error_response(403, "this certificate is not the site's own, nor a listed administrator's")
        if request.path == _RECALL:
            return await self._recall(who, request.body)
        if changes:
            return self._adjust(who, request.path.removeprefix(_DEVICES), request.body)
        return self._guarded[request.path]()

    def _authorise(self, certificate: PeerCertificate) -> str:
        """Return who asks."""
        if any(is_site_uri(uri) for uri in certificate.uris):
            if site_of(certificate) != self._here:
                raise Unauthorised("the certificate is another site's")
            return f"site {self._here}"
        caller = self._identity.sae(certificate)
        if caller not in self._administrators:
            raise Unauthorised(f"{caller} is no administrator")
        return caller

    async def _recall(self, who: str, body: bytes) -> Response:
        try:
            scope, peer = parse_recall(body)
        except BadRequest as error:
            return error_response(400, error.message)
        try:
            bits = await self._service.recall(scope, peer)
        except BadRequest as error:
            return error_response(400, error.message)
        except Unavailable as error:
            _log.warning("keys could not be recalled", by=who, keys=str(scope), reason=str(error))
            return error_response(503, str(error))
        named = [str(key_id) for key_id in scope.key_ids]
        _log.warning("keys recalled", audit=True, by=who, keys=str(scope), key_ids=named, burned_bits=dict(bits))
        return Response(200, JSON, render_recalled(bits))

    def _adjust(self, who: str, pair: str, body: bytes) -> Response:
        try:
            change = parse_change(body)
            settings = self._service.adjust_device(pair, change)
        except BadRequest as error:
            return error_response(400, error.message)
        if change:
            _log.warning("a simulated device was set", audit=True, by=who, pair=pair, change=dict(change))
        return Response(200, JSON, render_settings(settings))

    def _livez(self) -> Response:
        return Response(200, _TEXT, b"ok\n") if self._service.alive() else Response(503, _TEXT, b"not alive\n")

    def _readyz(self) -> Response:
        return Response(200, _TEXT, b"ok\n") if self._service.ready() else Response(503, _TEXT, b"not ready\n")

    def _status(self) -> Response:
        return Response(200, JSON, render_status(self._service.status()))

    def _metrics(self) -> Response:
        samples = chain(self._service.metrics(), self._counts.samples())
        return Response(200, {**_TEXT, "Content-Type": CONTENT_TYPE}, render_metrics(samples))
