"""Metrics of a routing module. Not here: what it knows, which is in its views (`wire.routes`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qss.wire.metrics import Metric, Sample

ADJACENCY = Metric("qss_routing_adjacency", "gauge", "Whether the adjacency with the neighbour is full: 1 or 0.")
EVENTS = Metric("qss_routing_events_total", "counter", "What has happened with the neighbour's routing module.")
DROPPED = Metric("qss_routing_dropped_lsas_total", "counter", "Link state advertisements that were not taken.")
LSAS = Metric("qss_routing_lsas", "gauge", "Link state advertisements that are known, by their type.")
ORIGINATED = Metric("qss_routing_originated_lsas_total", "counter", "Advertisements that this site has told.")
LINK_COST = Metric("qss_routing_link_cost", "gauge", "What this site tells of the cost of a link.")
CHANGED = Metric("qss_routing_table_changed_timestamp_seconds", "gauge", "When the table was made last.")
SAES = Metric("qss_routing_saes", "gauge", "SAEs of the network, by what can be done for them.")
SILENT = Metric("qss_routing_process_silent_seconds", "gauge", "For how long the routing module could not be asked.")
TAG_BITS = Metric("qss_routing_tag_bits_total", "counter", "Key of the link that was drawn for tags, by either end.")
UPDATES = Metric(
    "qss_routing_updates_total", "counter", "Updates with the neighbour, with tag from link key or without."
)
UNTOLD = Metric("qss_routing_untold_saes", "gauge", "SAEs at home here that no advertisement can tell of.")


@dataclass(frozen=True, slots=True)
class RoutingCounts:
    """What is counted of one routing module, by the neighbour where there is one."""

    full: Mapping[str, bool]
    """Whether the adjacency is full."""
    happened: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How often what has happened."""
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How much was not taken, for which reason."""
    lsas: Mapping[str, int] = field(default_factory=dict)
    """By their type."""
    originated: Mapping[str, int] = field(default_factory=dict)
    """By their type."""
    costs: Mapping[str, int] = field(default_factory=dict)
    """Of links that work, as they are told here."""
    changed: float = 0.0
    """In seconds since 1970."""
    saes: Mapping[str, int] = field(default_factory=dict)
    """`reachable`, `unreachable` (there is no way), `contested` (there are two homes)."""
    untold: int = 0
    updates: Mapping[tuple[str, str, bool], int] = field(default_factory=dict)
    """`sent` and `received`, and whether they had a tag."""
    tag_bits: Mapping[str, int] = field(default_factory=dict)
    """Of neighbours that it tags with."""


def routing_samples(counts: RoutingCounts) -> Iterator[Sample]:
    """Yield metrics."""
    for peer, is_full in counts.full.items():
        yield Sample(ADJACENCY, (("peer", peer),), int(is_full))
    for (peer, what), count in sorted(counts.happened.items()):
        yield Sample(EVENTS, (("peer", peer), ("event", what)), count)
    for (peer, reason), count in sorted(counts.dropped.items()):
        yield Sample(DROPPED, (("peer", peer), ("reason", reason)), count)
    for lsa_type, count in sorted(counts.lsas.items()):
        yield Sample(LSAS, (("type", lsa_type),), count)
    for lsa_type, count in sorted(counts.originated.items()):
        yield Sample(ORIGINATED, (("type", lsa_type),), count)
    for peer, cost in sorted(counts.costs.items()):
        yield Sample(LINK_COST, (("peer", peer),), cost)
    yield Sample(CHANGED, (), counts.changed)
    for what, count in counts.saes.items():
        yield Sample(SAES, (("state", what),), count)
    yield Sample(UNTOLD, (), counts.untold)
    for (peer, way, is_tagged), count in sorted(counts.updates.items()):
        yield Sample(UPDATES, (("peer", peer), ("direction", way), ("tagged", "yes" if is_tagged else "no")), count)
    for peer, bits in sorted(counts.tag_bits.items()):
        yield Sample(TAG_BITS, (("peer", peer),), bits)
