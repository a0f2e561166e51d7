"""What the Admin interfaces of sites and of modules have in common: paths, methods, and who may see or do what.

Probes need no certificate and get no data. Everything else is for administrators. Path, method and who asks are looked
at before a body is read: nobody else can have anything read here. Not here: what a path shows or does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from qss.model.errors import BadRequest, Unauthorised, Unavailable
from qss.servers.administrators import Administrators
from qss.servers.messages import JSON, Request, Response, error_response
from qss.transport.telling import Telling
from qss.wire.metrics import CONTENT_TYPE, Sample, render_metrics

Action = Callable[[str, str, bytes], Awaitable[Response]]
"""Takes who asks, the rest of the path and the body of the request. Raises `BadRequest`, and `Unavailable`."""

MAX_BODY_BYTES = 65_536
"""What an action is asked with, if its path is not in `Views.body_bytes`."""

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
    body_bytes: Mapping[str, int] = field(default_factory=dict)
    """The largest body of an action, by its path, where it is another than `MAX_BODY_BYTES`."""


class AdminDoor:
    """Answers requests."""

    def __init__(self, administrators: Administrators, views: Views) -> None:
        self._administrators = administrators
        self._views = views
        self._telling = Telling()
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

    def entry(self, request: Request) -> Response | int:
        """Return a refusal, or how much body may be read: none, but for an action that the caller may ask for."""
        action, _ = self._action(request.path)
        if request.path not in self._open and request.path not in self._guarded and action is None:
            return error_response(404, f"there is nothing at this path: use {self._paths}")
        verb = "GET" if action is None else "POST"
        if request.method != verb:
            refusal = error_response(405, f"use {verb}")
            return Response(refusal.status, {**refusal.headers, "Allow": verb}, refusal.body)
        if request.path not in self._open and isinstance(who := self._who(request), Response):
            return who
        return 0 if action is None else self._views.body_bytes.get(request.path, MAX_BODY_BYTES)

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        refusal = self.entry(request)
        if isinstance(refusal, Response):
            return refusal
        if request.path in self._open:
            return self._open[request.path]()
        action, rest = self._action(request.path)
        if action is None:
            return self._guarded[request.path]()
        who = self._who(request)
        if isinstance(who, Response):
            return who
        try:
            return await action(who, rest, request.body)
        except BadRequest as error:
            return error_response(400, error.message)
        except Unavailable as error:
            return error_response(503, str(error))

    def _who(self, request: Request) -> str | Response:
        """Return who asks, or the answer to whoever may not."""
        if request.identity is None:
            return error_response(401, "a client certificate is needed: show the site's or an administrator's")
        try:
            return self._administrators.name(request.identity)
        except Unauthorised as error:
            if (unsaid := self._telling.unsaid(str(error))) is not None:
                _log.warning("refused", path=request.path, reason=str(error), unsaid=unsaid)
            return error_response(403, self._administrators.refusal)

    def _action(self, path: str) -> tuple[Action | None, str]:
        for known, action in self._views.actions.items():
            if path == known or (known.endswith("/") and path.startswith(known)):
                return action, path.removeprefix(known)
        return None, ""


def _shown(show: Callable[[], bytes]) -> Response:
    return Response(200, JSON, show())


def _probe(good: bool, otherwise: str) -> Response:  # noqa: FBT001 - what it says is the point
    return Response(200, _TEXT, b"ok\n") if good else Response(503, _TEXT, f"{otherwise}\n".encode())
