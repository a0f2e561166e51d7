"""What a site tells its administrators about relaying, read from what is running."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from qss.app.far_stream import FarStream
from qss.app.far_waits import Waits
from qss.core.keyserver.suspects import Suspects
from qss.core.relay.events import DropReason
from qss.model.identifiers import QksId
from qss.model.relay_policy import RelayPolicy
from qss.runtime.link import LinkRunner
from qss.runtime.relay.relaying import Relaying
from qss.wire.relay import Reason
from qss.wire.relay_status import FailedAt, FarRelay, FarStreamStatus, NeighbourRelay, RelayStatus, WarmStream

Warm = Mapping[tuple[QksId, RelayPolicy], int]
"""Bytes that are to be held ready of streams, by the site at the other end and the policy."""


def relay_status(
    relaying: Relaying,
    links: Mapping[QksId, LinkRunner],
    streams: Collection[FarStream],
    suspects: Mapping[QksId, Suspects],
    waits: Waits,
    warm: Warm,
    now: float,
) -> RelayStatus:
    """Return all of it. `suspects` are by the site that paths lead to, `now` is of the clock that they go by."""
    return RelayStatus(
        neighbours=tuple(_neighbours(relaying)),
        far=tuple(_far(relaying, streams, suspects, waits, now)),
        warm=tuple(_warm(warm, links)),
        failures=tuple(_failures(relaying)),
        failed_here={str(reason): relaying.failed_here[reason] for reason in Reason},
    )


def _neighbours(relaying: Relaying) -> Iterator[NeighbourRelay]:
    """Yield how the relays of neighbours are connected, and what was counted of them."""
    counts = relaying.counts
    for peer, passed_on in sorted(counts.passed_on.items()):
        security = relaying.security(peer)
        yield NeighbourRelay(
            peer=peer,
            up=security is not None,
            security=security,
            passed_on=passed_on,
            dropped={str(reason): counts.dropped[peer, reason] for reason in DropReason},
        )


def _failures(relaying: Relaying) -> Iterator[FailedAt]:
    """Yield where the site's own transfers failed."""
    for (site, reason), count in sorted(relaying.counts.failures.items()):
        yield FailedAt(site=site, reason=str(reason), transfers=count)


def _far(
    relaying: Relaying, streams: Collection[FarStream], suspects: Mapping[QksId, Suspects], waits: Waits, now: float
) -> Iterator[FarRelay]:
    """Yield how it goes with each site that this one has relayed with since its process began."""
    transfers, outcomes = relaying.counts.transfers, waits.outcomes
    for peer in sorted({*transfers, *outcomes, *(stream.ends.peer for stream in streams)}):
        blamed = suspects.get(peer)
        yield FarRelay(
            peer=peer,
            transfers=dict(transfers[peer]),
            requests={str(outcome): count for outcome, count in outcomes[peer].items()},
            streams=tuple(_stream(stream) for stream in streams if stream.ends.peer == peer),
            avoided_sites=() if blamed is None else tuple(sorted(blamed.sites(now))),
            avoided_links=() if blamed is None else tuple(sorted(blamed.links(now))),
        )


def _stream(stream: FarStream) -> FarStreamStatus:
    blocks = stream.blocks
    return FarStreamStatus(
        pair=str(stream.ends.pair),
        policy=stream.ends.policy.text,
        source=blocks is not None,
        waiting=stream.waiting.total(),
        trouble="" if blocks is None else blocks.trouble,
    )


def _warm(warm: Warm, links: Mapping[QksId, LinkRunner]) -> Iterator[WarmStream]:
    """Yield how far each stream that is to be held ready is from that; one that is not there at all lacks it all."""
    for (peer, policy), most in warm.items():
        records = links[peer].core.streams if peer in links else ()
        there = sum(record.available for record in records if record.policy == policy.text)
        yield WarmStream(peer=peer, policy=policy.text, bits=8 * most, short_bits=8 * max(0, most - there))
