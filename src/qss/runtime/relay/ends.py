"""The two ends of an end-to-end stream, and what each transfer brings to it, as its tags bind (Relay 5.3)."""

from __future__ import annotations

from dataclasses import dataclass

from qss.model.identifiers import PairId, QksId
from qss.model.relay_policy import RelayPolicy
from qss.wire.relay import Begin


@dataclass(frozen=True, slots=True)
class Portion:
    """What a transfer brings: which share, from 0, of how many, of which block."""

    block: int
    share: int
    shares: int


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of an end-to-end stream, and the pair and policy that name it."""

    here: QksId
    peer: QksId
    pair: PairId
    policy: RelayPolicy

    @property
    def source(self) -> QksId:
        """The end that makes all blocks."""
        return min(self.here, self.peer)

    def begin(self, transfer: bytes, path: tuple[QksId, ...], length: int, portion: Portion, *, urgent: bool) -> Begin:
        """Return how a transfer begins that brings this."""
        policy = self.policy
        place = portion.block, portion.share, portion.shares
        return Begin(transfer, path, length, self.pair.value, *place, policy.hop, policy.text, urgent)

    def has_begun(self, begin: Begin, portion: Portion) -> bool:
        """Whether this is how the source began what brings this: else it is another stream's, or another block's."""
        told = begin.path[0], Portion(begin.block, begin.share, begin.shares), begin.stream, begin.hop, begin.policy
        return told == (self.source, portion, self.pair.value, self.policy.hop, self.policy.text) and (
            portion.shares == self.policy.disjoint_paths
        )
