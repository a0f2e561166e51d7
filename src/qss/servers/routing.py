"""What the Admin interface of a routing module does for its site's key server: takes what is so at the site, and tells
what it knows of the network as soon as that changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from qss.servers.admin_door import Action
from qss.servers.messages import JSON, Response
from qss.wire.routes import RoutingStatus, render_routing
from qss.wire.site_state import Publication, parse_publication, parse_wait, render_taken

PUBLISH_PATH = "/routing/publish"
WAIT_PATH = "/routing/wait"

MAX_STATE_BYTES = 1 << 24
"""The largest state that is read: a site with tens of thousands of SAEs says much."""


class RoutingService(Protocol):
    """What a routing module does for its site's key server."""

    def publish(self, publication: Publication) -> bool:
        """Take in how the site is; return False, having taken nothing, for more of a revision that is not known."""
        ...

    @property
    def version(self) -> int:
        """The table's version."""
        ...

    async def changed(self, after: int, wait_s: float) -> None:
        """Wait until the table has another version than `after`, but no longer than `wait_s`."""
        ...

    def status(self) -> RoutingStatus:
        """Return what is known of the network."""
        ...


def routing_actions(service: RoutingService) -> Mapping[str, Action]:
    """Return the actions by their paths."""
    return {PUBLISH_PATH: partial(_publish, service), WAIT_PATH: partial(_wait, service)}


async def _publish(service: RoutingService, _who: str, _rest: str, body: bytes) -> Response:
    known = service.publish(parse_publication(body))
    return Response(200, JSON, render_taken(service.version, known=known))


async def _wait(service: RoutingService, _who: str, _rest: str, body: bytes) -> Response:
    after, wait_s = parse_wait(body)
    await service.changed(after, wait_s)
    return Response(200, JSON, render_routing(service.status()))
