"""What a site's relay is told once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Times in seconds. No neighbour can cost more than these limits say."""

    transit: bool = True
    """Whether paths of others may lead through this site (Relay 4.2)."""
    give_up_s: float = 5.0
    """How long a transfer may take at its source, and key that is ready may wait for its Begin (Relay 4.9)."""
    sooner_s: float = 3.0
    """So much sooner the sites along a path give up, one before the other (Relay 4.9)."""
    untaken_s: float = 30.0
    """How long the destination keeps content that nobody takes (Relay 4.5)."""
    max_transfers_of_neighbour: int = 1024
    """Transfers at a time whose Begin came from one neighbour, and as many that begin here (Relay 4.10)."""
    max_bytes_of_neighbour: int = 64 << 20
    """What these carry together, at most: so much content may be here (Relay 4.10)."""
    max_early_of_neighbour: int = 1024
    """Draws of one neighbour at a time whose Begin has not come (Relay 4.10)."""

    def patience_s(self, place: int, sites: int) -> float:
        """Return how long a site waits after Begin that is at this place of so many on a path; the source has 0."""
        return self.give_up_s - self.sooner_s * place / sites
