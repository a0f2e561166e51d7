"""What `[[pairs]]` of a configuration demand of the way that keys come: for the key server, and what no way can be."""

from __future__ import annotations

from collections.abc import Iterator

from qss.app.site_tables import PairRelay
from qss.app.toml_decoding import shown
from qss.core.keyserver.demands import Demand
from qss.model.errors import InvalidIdentifier
from qss.model.relay_policy import Hop, Hybrid


def demand_of(relay: PairRelay) -> Demand:
    """Return what the key server takes for it."""
    return Demand(
        direct_only=relay.direct_only,
        avoid=frozenset(relay.avoid),
        disjoint_paths=relay.disjoint_paths,
        hop=None if relay.hop is None else Hop(relay.hop),
        hybrid=None if relay.hybrid is None else Hybrid(relay.hybrid),
        max_hops=relay.max_hops,
    )


def demand_faults(key: str, relay: PairRelay) -> Iterator[tuple[str, str, str]]:
    """Yield key, what was found, and what is allowed, for what no key can ever meet; `key` is the table's."""
    demand = demand_of(relay)
    if relay.direct_only and not demand.is_met_by_a_link:
        yield f"{key}.direct_only", "true", "false with disjoint_paths or hybrid: a link is one path, and not hybrid"
    for i, site in enumerate(relay.avoid):
        if site in relay.avoid[:i]:
            yield f"{key}.avoid[{i}]", shown(site) + " again", "each site once"
    try:
        demand.policy(frozenset())
    except InvalidIdentifier:
        yield f"{key}.avoid", f"a list of {len(relay.avoid)}", "fewer sites, or such with shorter names"
