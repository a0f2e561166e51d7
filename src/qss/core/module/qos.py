"""QoS of a key stream: what a caller of ETSI GS QKD 004 asks for, and what a module can give (V2.1.1, clause 6.2).

0, and an empty mimetype, leave the choice to the module. What cannot be met is answered with a counter-proposal, and
nothing is opened: whoever asks again for just that gets it. What is promised of rates is best effort: a module cannot
know what its device will yield.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from qss.model.sizes import fitting_size
from qss.wire.etsi004.messages import JSON_MIMETYPE, MAX_NUMBER, QoS
from qss.wire.sync import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES

MAX_TIMEOUT_MS = 60_000
"""Longest that one call may be made to wait."""

MAX_TTL_S = 86_400
"""Longest that key is kept for a caller who does not fetch it."""

DEFAULT_TIMEOUT_MS = 5_000
DEFAULT_TTL_S = 600


def fitting_chunk(rate_bps: float) -> int:
    """Return the chunk size (bytes, a power of two) that a device of `rate_bps` bit/s fills within about a second."""
    return fitting_size(rate_bps / 8, MIN_CHUNK_BYTES, MAX_CHUNK_BYTES)


@dataclass(frozen=True, slots=True)
class Ability:
    """What the module's device can do now."""

    rate_bps: float
    """Secret bits per second."""
    jitter_bps: float = 0.0
    """By how much the rate wavers, as far as is known."""
    chunk_bytes: int | None = None
    """The chunk of a caller that leaves its size open; None: what fits the rate."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The QoS that goes into the answer, and whether it is a grant or a counter-proposal."""

    qos: QoS
    met: bool


def negotiate(asked: QoS, ability: Ability) -> Negotiated:
    """Return what a module of this ability grants or proposes to whoever opens a stream first."""
    rate = min(int(ability.rate_bps), MAX_NUMBER)
    granted = QoS(
        key_chunk_size=chunk_of(asked, ability),
        min_bps=min(asked.min_bps, rate),
        max_bps=_largest_rate(asked, rate),
        jitter=max(asked.jitter, _up(ability.jitter_bps)),
        priority=asked.priority,
        timeout=min(asked.timeout or DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS),
        ttl=min(asked.ttl or DEFAULT_TTL_S, MAX_TTL_S),
        metadata_mimetype=JSON_MIMETYPE if asked.metadata_mimetype else "",
    )
    return Negotiated(granted, _meets(granted, asked))


def chunk_of(asked: QoS, ability: Ability) -> int:
    """Return the size of the chunks (bytes) that a caller gets that opens a stream first, or is proposed."""
    chosen = asked.key_chunk_size or ability.chunk_bytes or fitting_chunk(ability.rate_bps)
    return max(MIN_CHUNK_BYTES, min(chosen, MAX_CHUNK_BYTES))


def joined(asked: QoS, ability: Ability, chunk_bytes: int) -> Negotiated:
    """Return the QoS of a stream that is registered already, whatever its second caller asks (clause 6.2).

    The chunk size is the stream's. What concerns this end alone (Timeout, TTL, metadata) is as the caller asks, as far
    as it can be. Only metadata of another kind than there is cannot be met.
    """
    qos = replace(negotiate(asked, ability).qos, key_chunk_size=chunk_bytes)
    return Negotiated(qos, asked.metadata_mimetype.lower() == qos.metadata_mimetype)


def _up(number: float) -> int:
    return -int(-number // 1)


def _largest_rate(asked: QoS, rate: int) -> int:
    """Max_bps: an upper bound that the device stays under by itself is granted as what the device does."""
    most = min(asked.max_bps or rate, rate)
    return max(most, min(asked.min_bps, rate))


def _meets(granted: QoS, asked: QoS) -> bool:
    exact = ("key_chunk_size", "min_bps", "jitter", "timeout", "ttl")
    return (
        all(getattr(asked, name) in (0, getattr(granted, name)) for name in exact)
        and (not asked.max_bps or asked.max_bps >= granted.max_bps)
        and asked.metadata_mimetype.lower() == granted.metadata_mimetype
    )
