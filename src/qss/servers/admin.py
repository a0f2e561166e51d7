"""Admin: liveness, readiness, status and metrics of one site (docs/reference/northbound.md, section 7).

Probes need no certificate and get no data. Status and metrics are for the site itself and for the administrators that
its configuration lists. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain
from typing import Protocol

import structlog

from qss.model.certificates import PeerCertificate, is_site_uri, site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.ports.identity import Identity
from qss.servers.counts import RequestCounts
from qss.servers.messages import JSON, Request, Response, error_response
from qss.wire.metrics import CONTENT_TYPE, Sample, render_metrics
from qss.wire.status import SiteStatus, render_status

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}

_log = structlog.get_logger(__name__)


class AdminService(Protocol):
    """What the runtime tells about a site."""

    def alive(self) -> bool:
        """Whether the process works at all; if not, it should be started anew."""
        ...

    def ready(self) -> bool:
        """Whether the site takes requests (section 7 says what that tells, and what not)."""
        ...

    def status(self) -> SiteStatus:
        """Return the site's status."""
        ...

    def metrics(self) -> Iterable[Sample]:
        """Return the site's metrics; `status_samples` makes most of them."""
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
        view = self._open.get(request.path) or self._guarded.get(request.path)
        if view is None:
            return error_response(404, "there is nothing at this path: use /livez, /readyz, /status or /metrics")
        if request.method != "GET":
            refusal = error_response(405, "use GET")
            return Response(refusal.status, {**refusal.headers, "Allow": "GET"}, refusal.body)
        if request.path in self._guarded:
            if request.identity is None:
                return error_response(401, "a client certificate is needed: show the site's or an administrator's")
            try:
                self._authorise(request.identity)
            except Unauthorised as error:
                _log.warning("refused", path=request.path, reason=str(error))
                return error_response(403, "this certificate is not the site's own, nor a listed administrator's")
        return view()

    def _authorise(self, certificate: PeerCertificate) -> None:
        if any(is_site_uri(uri) for uri in certificate.uris):
            if site_of(certificate) != self._here:
                raise Unauthorised("the certificate is another site's")
        elif (caller := self._identity.sae(certificate)) not in self._administrators:
            raise Unauthorised(f"{caller} is no administrator")

    def _livez(self) -> Response:
        return Response(200, _TEXT, b"ok\n") if self._service.alive() else Response(503, _TEXT, b"not alive\n")

    def _readyz(self) -> Response:
        return Response(200, _TEXT, b"ok\n") if self._service.ready() else Response(503, _TEXT, b"not ready\n")

    def _status(self) -> Response:
        return Response(200, JSON, render_status(self._service.status()))

    def _metrics(self) -> Response:
        samples = chain(self._service.metrics(), self._counts.samples())
        return Response(200, {**_TEXT, "Content-Type": CONTENT_TYPE}, render_metrics(samples))
