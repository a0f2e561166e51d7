"""What a site's key server publishes to routing, and when: its SAEs, the homes that are configured, its links' load.

The key of a link changes with every request, so it is looked at by the clock; SAEs are told at once. Not here: what of
it the network is told (`core.routing.cost`, `core.routing.origination`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from qss.app.rules import Rules
from qss.app.site_tables import SiteConfiguration
from qss.model.identifiers import QksId
from qss.model.network import Load, SiteState
from qss.ports.routing_table import RoutingTable
from qss.runtime.link import LinkRunner

PUBLISH_S = 0.25
"""How often the links' key is looked at: more often than the cost's tick, because a link may come up or go down."""


class Publisher:
    """Publishes the state of one site. All methods belong to the event loop's thread."""

    def __init__(
        self, configuration: SiteConfiguration, rules: Rules, links: Mapping[QksId, LinkRunner], table: RoutingTable
    ) -> None:
        self._links = {link.peer: (link, links[link.peer]) for link in configuration.links}
        self._rules = rules
        self._table = table

    def publish(self) -> None:
        """Say how the site is now."""
        self._table.publish(SiteState(self._rules.saes_at_home(), self._rules.homes_elsewhere(), dict(self._loads())))

    async def keep_publishing(self) -> None:
        """Say it again and again."""
        while True:
            self.publish()
            await asyncio.sleep(PUBLISH_S)

    def _loads(self) -> Iterator[tuple[QksId, Load]]:
        for peer, (link, runner) in self._links.items():
            if runner.core.up:
                available = sum(8 * record.available for record in runner.core.streams if not record.policy)
                yield peer, Load(available, link.capacity_bits, link.administrative_cost)
