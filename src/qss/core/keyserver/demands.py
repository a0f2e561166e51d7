"""What requests and rules demand of the way that keys come, and what becomes of it: one relay policy, or a link.

A demand is met by what is stricter, too: three disjoint paths where two are demanded, a one-time pad where AES would
do. So demands of several sides are met by the strictest of each member. Not here: whether the network has such a way
(`ways`), nor how a request says what it demands (`extensions`).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from qss.model.identifiers import QksId
from qss.model.relay_policy import MAX_HOPS, Hop, Hybrid, RelayPolicy


@dataclass(frozen=True, slots=True)
class Demand:
    """What must be so; without arguments, nothing."""

    direct_only: bool = False
    """The key comes over the link between the two sites."""
    avoid: frozenset[QksId] = frozenset()
    disjoint_paths: int = 1
    hop: Hop | None = None
    """None: either; a one-time pad, if nobody says more."""
    hybrid: Hybrid | None = None
    max_hops: int = MAX_HOPS

    @property
    def is_met_by_a_link(self) -> bool:
        """Whether the key of one link is enough: it has one path, through no site, and is not hybrid."""
        return self.disjoint_paths == 1 and self.hybrid is None

    def policy(self, ends: AbstractSet[QksId]) -> RelayPolicy:
        """Return the policy that meets it, if key is relayed between these two sites.

        Raises `InvalidIdentifier` if it avoids more sites than a policy can.
        """
        hop = self.hop or Hop.ONE_TIME_PAD
        return RelayPolicy(self.avoid - ends, self.disjoint_paths, hop, self.hybrid, self.max_hops)

    def is_met_by(self, policy: RelayPolicy | None, ends: AbstractSet[QksId]) -> bool:
        """Whether key of this policy, or of a link (None), between these two sites is enough."""
        if policy is None:
            return self.is_met_by_a_link
        return (
            not self.direct_only
            and self.avoid - ends <= policy.avoid
            and self.disjoint_paths <= policy.disjoint_paths
            and (self.hop is not Hop.ONE_TIME_PAD or policy.hop is Hop.ONE_TIME_PAD)
            and self.hybrid in (None, policy.hybrid)
            and policy.max_hops <= self.max_hops
        )


NOTHING = Demand()
"""What is demanded where nobody says anything."""


def strictest(*demands: Demand) -> Demand:
    """Return what meets all of these and demands no more."""
    hops = {demand.hop for demand in demands}
    return Demand(
        direct_only=any(demand.direct_only for demand in demands),
        avoid=frozenset[QksId]().union(*(demand.avoid for demand in demands)),
        disjoint_paths=max((demand.disjoint_paths for demand in demands), default=1),
        hop=next((hop for hop in (Hop.ONE_TIME_PAD, Hop.AES_256_GCM) if hop in hops), None),
        hybrid=next((demand.hybrid for demand in demands if demand.hybrid), None),
        max_hops=min((demand.max_hops for demand in demands), default=MAX_HOPS),
    )
