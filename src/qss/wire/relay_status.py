"""What a site tells its administrators about relaying: a part of Admin's status, and its metrics.

Held here: names and shapes. Every counter but the failures of single sites is there from the start, at 0. Labels come
from closed sets or from what is configured or bounded elsewhere: neighbours, far sites (`runtime.site.MAX_FAR`), and
sites at which transfers fail (`runtime.relay.counts.MAX_SITES`). Not here: balances of streams (`status`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from qss.wire.metrics import Metric, Sample

UP = Metric("qss_relay_up", "gauge", "Whether the connection with the neighbour's relay stands: 1 or 0.")
PASSED_ON = Metric("qss_relay_passed_on_total", "counter", "Other sites' transfers passed on to the neighbour.")
FAILED_HERE = Metric("qss_relay_failed_here_total", "counter", "Other sites' transfers that failed here, by reason.")
DROPPED = Metric("qss_relay_dropped_total", "counter", "What was passed over of the neighbour's relay, by reason.")
TRANSFERS = Metric("qss_relay_transfers_total", "counter", "Transfers of this site's own, by what became of them.")
FAILURES = Metric("qss_relay_failures_total", "counter", "Failed transfers of this site's own, by site and reason.")
REQUESTS = Metric("qss_relay_requests_total", "counter", "Requests for relayed key, by whether they waited for it.")
WAITING = Metric("qss_relay_waiting_requests", "gauge", "Requests that wait for relayed key now.")
PASSED_BY = Metric("qss_relay_passed_by", "gauge", "Sites and links that paths keep clear of now.")
WARM = Metric("qss_relay_warm_bits", "gauge", "Bits that are to be held ready of a stream, as configured.")
WARM_SHORT = Metric("qss_relay_warm_short_bits", "gauge", "Bits that a stream has less than are to be held ready.")

ELSEWHERE = "*"
"""In the place of a site at which transfers failed: all for which there was no room. It is no site's name."""


class NeighbourRelay(msgspec.Struct, frozen=True, kw_only=True):
    """The relay of a neighbour. What is counted is counted since the process began."""

    peer: str
    up: bool
    """A connection for relaying stands; it is another one than External's."""
    security: str | None
    """How it is protected."""
    passed_on: int
    """Transfers of other sites that were passed on to it."""
    dropped: Mapping[str, int]
    """What was passed over of it, by reason."""


class FarStreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An end-to-end stream that is in use."""

    pair: str
    """The UUID that stands for its device pair."""
    policy: str
    """As in `StreamBalance`."""
    source: bool
    """This end has its key relayed; else the other one has."""
    waiting: int
    """Requests that wait for its key."""
    trouble: str
    """At the source: why the last attempt came to nothing; empty since one came to something."""


class FarRelay(msgspec.Struct, frozen=True, kw_only=True):
    """Relaying with one site, which is far, or a neighbour of which more is demanded than a link can give."""

    peer: str
    transfers: Mapping[str, int]
    """Of this site's own, by what became of them."""
    requests: Mapping[str, int]
    """By whether they waited."""
    streams: tuple[FarStreamStatus, ...]
    avoided_sites: tuple[str, ...]
    """Repeaters that paths to it keep clear of now, because a block was changed."""
    avoided_links: tuple[tuple[str, str], ...]
    """Links that paths to it keep clear of now, because a transfer has failed there."""


class WarmStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that is to be held ready, as configured."""

    peer: str
    policy: str
    bits: int
    short_bits: int
    """How much less than that there is."""


class FailedAt(msgspec.Struct, frozen=True, kw_only=True):
    """Transfers of this site's own that failed at one site (or `ELSEWHERE`), as far as neighbours can be believed."""

    site: str
    reason: str
    transfers: int


class RelayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Relaying at one site."""

    neighbours: tuple[NeighbourRelay, ...] = ()
    far: tuple[FarRelay, ...] = ()
    warm: tuple[WarmStream, ...] = ()
    failures: tuple[FailedAt, ...] = ()
    failed_here: Mapping[str, int] = {}
    """Transfers of other sites that could not go on at this one, by reason."""


def relay_samples(status: RelayStatus) -> Iterator[Sample]:
    """Yield metrics."""
    for neighbour in status.neighbours:
        yield from _of_neighbour(neighbour)
    for reason, count in status.failed_here.items():
        yield Sample(FAILED_HERE, (("reason", reason),), count)
    for far in status.far:
        yield from _of_far(far)
    for failed in status.failures:
        yield Sample(FAILURES, (("site", failed.site), ("reason", failed.reason)), failed.transfers)
    for warm in status.warm:
        labels = (("peer", warm.peer), ("policy", warm.policy))
        yield Sample(WARM, labels, warm.bits)
        yield Sample(WARM_SHORT, labels, warm.short_bits)


def _of_neighbour(neighbour: NeighbourRelay) -> Iterator[Sample]:
    peer = ("peer", neighbour.peer)
    yield Sample(UP, (peer,), int(neighbour.up))
    yield Sample(PASSED_ON, (peer,), neighbour.passed_on)
    for reason, count in neighbour.dropped.items():
        yield Sample(DROPPED, (peer, ("reason", reason)), count)


def _of_far(far: FarRelay) -> Iterator[Sample]:
    peer = ("peer", far.peer)
    for outcome, count in far.transfers.items():
        yield Sample(TRANSFERS, (peer, ("outcome", outcome)), count)
    for outcome, count in far.requests.items():
        yield Sample(REQUESTS, (peer, ("outcome", outcome)), count)
    yield Sample(WAITING, (peer,), sum(stream.waiting for stream in far.streams))
    yield Sample(PASSED_BY, (peer, ("what", "sites")), len(far.avoided_sites))
    yield Sample(PASSED_BY, (peer, ("what", "links")), len(far.avoided_links))
