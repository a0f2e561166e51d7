"""Pairs of SAEs that the peer wants keys for, and this site's rules forbid: its operator is told, once in a while.

The peer's master is told that this site's operator must add a rule (KRP 4.9), who would know of nothing otherwise.
Refused here: what is no SAE ID at all, for which there is no rule to add.
"""

from __future__ import annotations

from qss.core.reservation.events import PairForbidden
from qss.core.reservation.state import LinkState
from qss.model.errors import InvalidIdentifier
from qss.model.identifiers import SaeId, parse_sae_id
from qss.wire.external import Ask, Reserve

QUIET_S = 600.0
"""For how long a pair that was told of is not told of again."""

MAX_TOLD = 100
"""Pairs that are remembered as told of; the oldest is forgotten for another."""


class Forbidden:
    """The pairs that were told of lately."""

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self._until: dict[tuple[SaeId, tuple[SaeId, ...]], float] = {}

    def tell(self, message: Reserve | Ask) -> None:
        """Tell of the master and the slaves of a message that is refused, unless that was done lately."""
        try:
            pair = parse_sae_id(message.master), tuple(map(parse_sae_id, message.slaves))
        except InvalidIdentifier:
            return
        until = self._until.pop(pair, None)
        if until is None or until <= self._state.now:
            until = self._state.now + QUIET_S
            self._state.effect(PairForbidden(*pair))
        if len(self._until) >= MAX_TOLD:
            del self._until[next(iter(self._until))]
        self._until[pair] = until
