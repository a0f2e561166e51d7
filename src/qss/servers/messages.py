"""Requests and responses as handlers see them, whatever web framework carries them.

Neither shows its body or headers when printed: a body can hold key, a header can hold a token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from qss.model.certificates import PeerCertificate
from qss.wire.etsi014.answers import render_error

JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}
"""Headers of every answer in JSON. An answer may hold key, so nobody on the way may keep it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. `path` and `query` are as they came, still percent-encoded; `headers` have lower-case names.

    `identity` is what the caller's verified certificate says, or None where it showed none.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    identity: PeerCertificate | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


Handler = Callable[[Request], Awaitable[Response]]
"""What is behind a door. It answers every request; what it raises is a defect, and becomes a 503."""


@runtime_checkable
class Guarded(Protocol):
    """A handler that looks at a request before its body is read."""

    def entry(self, request: Request) -> Response | int:
        """Return how many bytes of body may be read, or the answer, if that needs none: 0 reads nothing.

        `request` has everything but its body.
        """
        ...


def error_response(status: int, message: str, details: Sequence[Mapping[str, str]] = ()) -> Response:
    """Return a response with the Error data model (ETSI GS QKD 014, clause 6.5)."""
    return Response(status, JSON, render_error(message, details))
