"""Changing who may share keys while a site runs: what of a configuration is taken over, and what needs a restart.

Taken over are `[[pairs]]`, `[[saes]]` and `[quotas]`, together and at once: the next request, of an application or of a
neighbour, is judged by the new rules. Anything else that differs refuses the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from qss.app import site_tables as tables
from qss.app.catalogue import routing_table_of
from qss.core.keyserver.policy import PairPolicy, PairRule
from qss.core.keyserver.quotas import Quota, QuotaPlan, Quotas
from qss.core.keyserver.requests import RequestPlanner
from qss.model.errors import ConfigurationError
from qss.model.identifiers import QksId, SaeId
from qss.ports.routing_table import RoutingTable

CHANGEABLE = ("pairs", "saes", "quotas")
"""Tables that can change while a site runs."""


class Rules:
    """The rules of a running site, as its configuration has them; `take_over` changes them."""

    def __init__(self, configuration: tables.SiteConfiguration) -> None:
        self._configuration = configuration
        self._homes = {sae.id: sae.site for sae in configuration.saes}
        self.planner = RequestPlanner(
            configuration.site.id,
            configuration.northbound.key_limits(),
            _policy(configuration),
            _homes(configuration),
            frozenset(link.peer for link in configuration.links),
        )
        self.quotas = Quotas(_quota_plan(configuration))

    def home(self, sae: SaeId) -> QksId | None:
        """Return an SAE's home site, as it is configured now."""
        return self._homes.get(sae)

    def saes_at_home(self) -> tuple[SaeId, ...]:
        """Return the SAEs that are at home here."""
        here = self._configuration.site.id
        return tuple(sae for sae, site in self._homes.items() if site == here)

    def take_over(self, changed: tables.SiteConfiguration, file: Path) -> dict[str, int]:
        """Take over the rules of a changed configuration, and return how many entries came and went.

        Raises `ConfigurationError`, and changes nothing, if something else has changed.
        """
        before = self._configuration
        for name in before.__struct_fields__:
            if name not in CHANGEABLE and getattr(before, name) != getattr(changed, name):
                raise ConfigurationError(
                    str(file), name, "another value than this node runs with", "that value, or a restart of the node"
                )
        self.planner.replace_rules(_policy(changed), _homes(changed))
        self.quotas.plan = _quota_plan(changed)
        self._configuration = changed
        self._homes = {sae.id: sae.site for sae in changed.saes}
        return {
            **_counts("pairs", set(before.pairs), set(changed.pairs)),
            **_counts("saes", set(before.saes), set(changed.saes)),
            "quotas_changed": int(before.quotas != changed.quotas),
        }


def _counts[T: msgspec.Struct](what: str, before: set[T], after: set[T]) -> dict[str, int]:
    return {f"{what}_added": len(after - before), f"{what}_removed": len(before - after)}


def _policy(configuration: tables.SiteConfiguration) -> PairPolicy:
    return PairPolicy(PairRule(pair.master, frozenset(pair.slaves)) for pair in configuration.pairs)


def _homes(configuration: tables.SiteConfiguration) -> Callable[[SaeId], QksId | None]:
    return partial(_home, routing_table_of(configuration))


def _home(table: RoutingTable, sae: SaeId) -> QksId | None:
    route = table.route(sae)
    return None if route is None else route.dest


def _quota_plan(configuration: tables.SiteConfiguration) -> QuotaPlan:
    table = configuration.quotas
    return QuotaPlan(
        sae=Quota(table.sae_bps, table.sae_keys),
        pair=Quota(table.pair_bps, table.pair_keys),
        burst_s=table.burst_s,
        saes={
            sae.id: Quota(
                table.sae_bps if sae.quota_bps is None else sae.quota_bps,
                table.sae_keys if sae.quota_keys is None else sae.quota_keys,
            )
            for sae in configuration.saes
        },
    )
