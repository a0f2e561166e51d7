"""Quotas: how much key one master, and one pair, may take from a site (so that nobody drains a link).

Two limits each: bits per second, as a bucket that holds what may be taken at once and fills steadily; and keys that
slaves have yet to fetch. A request that exceeds one is refused whole, and takes nothing. Repeats under a name are no
new takings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qss.model.errors import LimitReached
from qss.model.identifiers import SaeId

MAX_BUCKETS = 10_000
"""Buckets that are remembered; full ones are forgotten first, for they say nothing."""

Party = SaeId | tuple[SaeId, SaeId]
"""A master, or a pair of master and slave."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What one party may take. None: without limit."""

    bps: float | None = None
    """Bits per second, in the long run."""
    keys: int | None = None
    """Keys that have not been fetched yet."""


@dataclass(frozen=True, slots=True)
class QuotaPlan:
    """The quotas of a site."""

    sae: Quota = Quota()
    """Of each master."""
    pair: Quota = Quota()
    """Of each pair of master and slave."""
    burst_s: float = 60.0
    """How many seconds' worth of bits may be taken at once."""
    saes: Mapping[SaeId, Quota] = field(default_factory=dict)
    """Of masters that have quotas of their own."""

    def of(self, party: Party) -> Quota:
        """Return the quota of a party."""
        return self.pair if isinstance(party, tuple) else self.saes.get(party, self.sae)


@dataclass(slots=True)
class _Bucket:
    left: float
    """Bits that may still be taken."""
    at: float
    """When `left` was right."""


class Quotas:
    """Keeps account of what was taken. `plan` may be replaced at any time."""

    def __init__(self, plan: QuotaPlan) -> None:
        self.plan = plan
        self._buckets: dict[Party, _Bucket] = {}

    def take(
        self,
        now: float,
        master: SaeId,
        slaves: tuple[SaeId, ...],
        count: int,
        bits: int,
        outstanding: Callable[[Party], int],
    ) -> None:
        """Take `bits` for `count` keys, or raise `LimitReached` and take nothing.

        `now` is in seconds of a clock that never steps; `outstanding` tells how many of a party's keys are not fetched.
        """
        parties: list[Party] = [master, *((master, slave) for slave in slaves)]
        for party in parties:
            self._check_keys(party, count, outstanding(party))
            self._check_bits(party, bits, now)
        for party in parties:
            if self.plan.of(party).bps is not None:
                self._bucket(party, now).left -= bits

    def give_back(self, master: SaeId, slaves: tuple[SaeId, ...], bits: int) -> None:
        """Take back a `take` of which nothing came."""
        parties: list[Party] = [master, *((master, slave) for slave in slaves)]
        for party in parties:
            if party in self._buckets:
                self._buckets[party].left += bits

    def _check_keys(self, party: Party, count: int, outstanding: int) -> None:
        allowed = self.plan.of(party).keys
        if allowed is not None and outstanding + count > allowed:
            raise LimitReached(
                f"{_shown(party)} may have {allowed} keys that are not fetched yet, has {outstanding}, and asks for "
                f"{count}; nothing was consumed; try again when some have been fetched or have expired"
            )

    def _check_bits(self, party: Party, bits: int, now: float) -> None:
        bps = self.plan.of(party).bps
        if bps is None:
            return
        most = bps * self.plan.burst_s
        if bits > most:
            raise LimitReached(
                f"{_shown(party)} may take {bps:g} bit/s, and at most {most:g} bits at once; {bits} were asked for; "
                "nothing was consumed; ask for less at a time"
            )
        left = self._bucket(party, now).left
        if bits > left:
            raise LimitReached(
                f"{_shown(party)} may take {bps:g} bit/s; nothing was consumed; "
                f"try again in {(bits - left) / bps:.3g} s, or ask for less"
            )

    def _bucket(self, party: Party, now: float) -> _Bucket:
        bps = self.plan.of(party).bps
        assert bps is not None
        most = bps * self.plan.burst_s
        bucket = self._buckets.get(party)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._forget(now)
            bucket = self._buckets[party] = _Bucket(most, now)
        bucket.left = min(most, bucket.left + bps * (now - bucket.at))
        bucket.at = now
        return bucket

    def _forget(self, now: float) -> None:
        """Forget what is full again, and of the rest what was used longest ago."""
        for party, bucket in list(self._buckets.items()):
            bps = self.plan.of(party).bps
            if bps is None or bucket.left + bps * (now - bucket.at) >= bps * self.plan.burst_s:
                del self._buckets[party]
        if len(self._buckets) >= MAX_BUCKETS:
            oldest = min(self._buckets, key=lambda party: self._buckets[party].at)
            del self._buckets[oldest]


def _shown(party: Party) -> str:
    return f"{party[0]} with {party[1]}" if isinstance(party, tuple) else str(party)
