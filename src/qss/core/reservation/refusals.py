"""What the peer has refused lately, so that it is not asked again at once.

The owner allocates before it asks, so a refusal costs it the range: an application whose pair only the other site
forbids must not be able to burn a link's key request by request. Refused here: remembering for long, because the other
site may change its mind.
"""

from __future__ import annotations

from collections.abc import Hashable

from qss.core.reservation.events import Reserve
from qss.core.reservation.state import Pending
from qss.wire.external import Reason

REMEMBERED_S = {Reason.UNAUTHORISED: 60.0, Reason.SIZE: 60.0, Reason.LIMIT: 1.0}
"""For how long a refusal stands; for other reasons not at all."""

MAX_REMEMBERED = 10_000
"""Refusals that are remembered; the oldest is forgotten for another."""


class Refusals:
    """The peer's refusals, until they lapse."""

    def __init__(self) -> None:
        self._until: dict[tuple[Reason, Hashable], float] = {}

    def note(self, pending: Pending, reason: Reason, now: float) -> None:
        """Remember that the peer has refused this request."""
        if reason not in REMEMBERED_S:
            return
        if len(self._until) >= MAX_REMEMBERED:
            del self._until[next(iter(self._until))]
        self._until[reason, _what(pending, reason)] = now + REMEMBERED_S[reason]

    def standing(self, ask: Reserve, now: float) -> Reason | None:
        """Return why the peer would refuse this request, as far as is known."""
        for reason in REMEMBERED_S:
            until = self._until.get((reason, _what(ask, reason)))
            if until is not None and until > now:
                return reason
        return None


def _what(request: Reserve | Pending, reason: Reason) -> Hashable:
    """Return what a refusal for this reason is about."""
    match reason:
        case Reason.UNAUTHORISED:
            return request.master, request.slaves
        case Reason.SIZE:
            return request.count, request.key_bytes
        case _:
            return None
