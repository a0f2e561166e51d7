"""What the Admin interfaces of sites and of modules have in common: paths, methods, and who may see or do what.

Probes need no certificate and get no data. Everything else is for whom `authorise` lets in. Not here: what a path shows
or does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from qss.model.certificates import PeerCertificate
from qss.model.errors import BadRequest, Unauthorised, Unavailable
from qss.servers.messages import JSON, Request, Response, error_response
from qss.wire.metrics import CONTENT_TYPE, Sample, render_metrics

Action = Callable[[str, str, bytes], Awaitable[Response]]
"""Takes who asks, the rest of the path and the body of the request. Raises `BadRequest`, and `Unavailable`."""

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Views:
    """What can be seen, and what can be done besides: `actions` by their paths, asked for by POST.

    A path that ends with a slash stands for all that begin with it.
    """

    alive: Callable[[], bool]
    ready: Callable[[], bool]
    status: Callable[[], bytes]
    """JSON."""
    samples: Callable[[], Iterable[Sample]]
    actions: Mapping[str, Action] = field(default_factory=dict)
    more: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    """Further JSON, by its paths."""


class AdminDoor:
    """Answers requests."""

    def __init__(self, authorise: Callable[[PeerCertificate], str], refusal: str, views: Views) -> None:
        """`authorise` returns who asks or raises `Unauthorised`; `refusal` is what such a caller is told."""
        self._authorise = authorise
        self._refusal = refusal
        self._views = views
        self._open = {
            "/livez": lambda: _probe(views.alive(), "not alive"),
            "/readyz": lambda: _probe(views.ready(), "not ready"),
        }
        self._guarded: dict[str, Callable[[], Response]] = {
            "/status": lambda: Response(200, JSON, views.status()),
            "/metrics": lambda: Response(200, {**_TEXT, "Content-Type": CONTENT_TYPE}, render_metrics(views.samples())),
            **{path: partial(_shown, show) for path, show in views.more.items()},
        }
        self._paths = ", ".join([*self._open, *self._guarded, *views.actions])

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        action, rest = self._action(request.path)
        if request.path not in self._open and request.path not in self._guarded and action is None:
            return error_response(404, f"there is nothing at this path: use {self._paths}")
        verb = "GET" if action is None else "POST"
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
            return error_response(403, self._refusal)
        if action is None:
            return self._guarded[request.path]()
        try:
            return await action(who, rest, request.body)
        except BadRequest as error:
            return error_response(400, error.message)
        except Unavailable as error:
            return error_response(503, str(error))

    def _action(self, path: str) -> tuple[Action | None, str]:
        for known, action in self._views.actions.items():
            if path == known or (known.endswith("/") and path.startswith(known)):
                return action, path.removeprefix(known)
        return None, ""


def _shown(show: Callable[[], bytes]) -> Response:
    return Response(200, JSON, show())


def _probe(good: bool, otherwise: str) -> Response:  # noqa: FBT001 - what it says is the point
    return Response(200, _TEXT, b"ok\n") if good else Response(503, _TEXT, f"{otherwise}\n".encode())
