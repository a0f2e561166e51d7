"""The rules of a running site: who is at home where, who may share keys, and how many.

Changed while it runs are, by its configuration, `[[pairs]]`, `[[saes]]` and `[quotas]`, together and at once; and the
SAEs that are registered here (`sae_register`). The next request, of an application or of a neighbour, is judged by the
new rules. Anything else that differs in a configuration refuses the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from qss.app import site_tables as tables
from qss.app.homes import Homes, read_statement
from qss.app.pair_demands import demand_of
from qss.app.sae_register import SaeRegister
from qss.core.keyserver.policy import PairPolicy, PairRule
from qss.core.keyserver.quotas import Quota, QuotaPlan, Quotas
from qss.core.keyserver.requests import RequestPlanner
from qss.model.errors import ConfigurationError, PkiError, Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.model.keys import Priority
from qss.ports.routing_table import RoutingTable

_log = structlog.get_logger(__name__)

CHANGEABLE = ("pairs", "saes", "quotas")
"""Tables that can change while a site runs."""


class Rules:
    """The rules of a running site."""

    def __init__(
        self,
        configuration: tables.SiteConfiguration,
        register: SaeRegister,
        routing: RoutingTable,
        network_is_known: Callable[[], bool] = lambda: True,
    ) -> None:
        """Begin with what is configured and registered. Raises `PkiError` if a statement cannot be used.

        `network_is_known` tells whether all neighbours' routing modules are heard.
        """
        self._configuration = configuration
        self._register = register
        self._routing = routing
        self._configured = {sae.id: sae.site for sae in configuration.saes}
        self.homes = Homes(configuration.tls.authority)
        """Judges what the authority states, as it was at the start."""
        self._statements = read_statements(configuration, self.homes)
        self.planner = RequestPlanner(
            configuration.site.id,
            configuration.northbound.key_limits(),
            _policy(configuration),
            self.home,
            frozenset(link.peer for link in configuration.links),
            lambda: routing.graph,
            network_is_known,
            detours=configuration.relay.detours,
        )
        self.quotas = Quotas(_quota_plan(configuration))

    def home(self, sae: SaeId) -> QksId | None:
        """Return an SAE's home site: as configured, or registered here, or else as the network tells."""
        if sae in self._configured:
            return self._configured[sae]
        if sae in self._register:
            return self._configuration.site.id
        if sae in self._register.leaving:
            return None
        route = self._routing.route(sae)
        return None if route is None or route.dest == self._configuration.site.id else route.dest

    def is_configured(self, sae: SaeId) -> bool:
        """Whether an SAE's home is in the configuration."""
        return sae in self._configured

    def configured(self) -> tuple[frozenset[SaeId], frozenset[SaeId]]:
        """Return the SAEs that are configured as at home here, and as at home elsewhere."""
        here = frozenset(sae for sae, site in self._configured.items() if site == self._configuration.site.id)
        return here, frozenset(self._configured) - here

    def saes_at_home(self) -> Mapping[SaeId, bytes | None]:
        """Return the SAEs that are at home here, each with the authority's statement of that, if there is one."""
        registered = {sae: each for sae, each in self._register.statements.items() if sae not in self._configured}
        return registered | self._statements

    def homes_elsewhere(self) -> Mapping[SaeId, QksId]:
        """Return the homes of other sites' SAEs that are configured."""
        here = self._configuration.site.id
        return {sae: site for sae, site in self._configured.items() if site != here}

    def take_over(self, changed: tables.SiteConfiguration, file: Path) -> dict[str, int]:
        """Take over the rules of a changed configuration, and return how many entries came and went.

        Raises `ConfigurationError` or `PkiError`, and changes nothing, if something else has changed or a statement
        cannot be used.
        """
        before = self._configuration
        for name in before.__struct_fields__:
            if name not in CHANGEABLE and getattr(before, name) != getattr(changed, name):
                raise ConfigurationError(
                    str(file), name, "another value than this node runs with", "that value, or a restart of the node"
                )
        self._statements = read_statements(changed, self.homes)
        self.planner.replace_policy(_policy(changed))
        self.quotas.plan = _quota_plan(changed)
        self._configuration = changed
        self._configured = {sae.id: sae.site for sae in changed.saes}
        if before.quotas != changed.quotas:
            _log.info("quotas were changed", audit="alone", **_fields(changed.quotas))
        return {
            **_changes("pairs", set(before.pairs), set(changed.pairs)),
            **_changes("saes", set(before.saes), set(changed.saes)),
            "quotas_changed": int(before.quotas != changed.quotas),
        }


def read_statements(configuration: tables.SiteConfiguration, homes: Homes) -> dict[SaeId, bytes | None]:
    """Return the SAEs that are configured as at home here, each with its statement. Raises `PkiError`."""
    here = configuration.site.id
    found: dict[SaeId, bytes | None] = {}
    for i, sae in enumerate(configuration.saes):
        if sae.site == here:
            found[sae.id] = None
        if sae.statement is not None:
            try:
                statement = read_statement(sae.statement)
            except PkiError as error:
                raise PkiError(f"saes[{i}].statement: {error}") from None
            try:
                homes.check(statement, sae.id, here)
            except Unauthorised as error:
                raise PkiError(f"saes[{i}].statement: {sae.statement}: {error}") from None
            found[sae.id] = statement
    return found


def _changes[T: msgspec.Struct](what: str, before: set[T], after: set[T]) -> dict[str, int]:
    """Have recorded what came and went; return how many did."""
    for word, entries in (("removed from", before - after), ("added to", after - before)):
        for entry in sorted(entries, key=repr):
            _log.info(f"an entry was {word} {what}", audit="alone", **_fields(entry))
    return {f"{what}_added": len(after - before), f"{what}_removed": len(before - after)}


def _fields(entry: msgspec.Struct) -> dict[str, object]:
    """Return what an entry says, for people to read."""
    said: dict[str, object] = msgspec.to_builtins(entry, enc_hook=str)
    return {name: value for name, value in said.items() if value is not None}


def _policy(configuration: tables.SiteConfiguration) -> PairPolicy:
    return PairPolicy(
        PairRule(
            pair.master,
            frozenset(pair.slaves),
            demand_of(pair.relay),
            None if pair.priority is None else Priority(pair.priority),
        )
        for pair in configuration.pairs
    )


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
