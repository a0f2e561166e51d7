"""What a link is told once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qss.model.identifiers import MAX_KEYS_PER_RESERVATION, QksId, SaeId
from qss.wire.external import Reason


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What a link is told once. Times in seconds."""

    here: QksId
    peer: QksId
    objection: Callable[[SaeId, tuple[SaeId, ...], str], Reason | None]
    """Why the peer may not reserve for this master and these slaves from a stream of this policy (KRP 4.9), or None."""
    max_reservations: int = 100_000
    """Live reservations at this end, for both sides together."""
    reserved_s: float = 3600.0
    """How long keys wait for their slaves."""
    reply_timeout_s: float = 5.0
    """How long a master waits for the other end."""
    greeting_s: float = 10.0
    """How long the exchange of states may take once a connection stands."""
    retry_s: float = 1.0
    """Pause between attempts to open a key stream of one device pair."""
    successor_chunks: int = (1 << 32) - (1 << 20)
    """Chunks of a stream after which the owner opens a successor: the index of ETSI GS QKD 004 (clause 6) has 32 bits,
    and what is left of it lasts for minutes at any rate."""
    min_key_bytes: int = 8
    """A reservation of the peer with smaller keys is refused; a closed stream with less than this left is burned."""
    max_key_bytes: int = 1 << 17
    """A reservation of the peer with larger keys is refused."""
    max_keys: int = MAX_KEYS_PER_RESERVATION
    """A reservation of the peer with more keys is refused."""
    capacity_bytes: int = 12_500_000
    """Where this end stops taking key from its modules: available bytes, over all streams of one policy."""
    grace_s: float = 60.0
    """How long an answer under a name can be given again."""
    stream_s: float = 604_800.0
    """How long a key stream lasts; what is left of it then is burned."""
    relay_reserve_bytes: int = 0
    """Bytes that are left for relaying: no application at either end gets them."""
    high_priority_bytes: int = 0
    """Bytes that are left, besides, for requests of high priority (KRP 4.21)."""
    relay_floor_bytes: int = 0
    """Bytes that relaying leaves to the applications of both ends (Relay 3.5)."""
    max_draws: int = 4096
    """Draws that may be open at this end, by either end."""

    @property
    def owner(self) -> bool:
        """Whether this end owns the link's key streams: the lower QKS ID does (KRP 1.2)."""
        return self.here < self.peer
