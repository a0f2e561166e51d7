"""Over which way keys come: the link to a neighbouring site, or an end-to-end stream that a relay policy fills.

Decided by what is demanded and by the network as routing shows it now, before anything is allocated. Not here: which
paths are taken when key is relayed (`relay_paths` chooses them again, among links that have key).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from qss.core.keyserver.demands import NOTHING, Demand, strictest
from qss.core.keyserver.extensions import name_of, unmet
from qss.core.keyserver.relay_paths import choose_paths
from qss.model.errors import InvalidIdentifier, QssError, Unavailable
from qss.model.identifiers import QksId
from qss.model.network import Graph
from qss.model.relay_policy import RelayPolicy

MAX_REMEMBERED = 10_000
"""Answers that are remembered of one state of the network."""

_LIMITS = ("avoid", "disjoint_paths", "max_hops")
"""What of a demand a network may not have."""


@dataclass(frozen=True, slots=True)
class Way:
    """The site at the other end, and what key between the two is like: None is that of the link."""

    peer: QksId
    policy: RelayPolicy | None = None


class Ways:
    """Finds ways from one site. What it has found it remembers for as long as `graph` returns the same network."""

    def __init__(
        self,
        here: QksId,
        links: frozenset[QksId],
        graph: Callable[[], Graph],
        network_is_known: Callable[[], bool],
    ) -> None:
        """`links` are the neighbours; `network_is_known` tells whether all of them are heard."""
        self._here = here
        self._links = links
        self._graph = graph
        self._network_is_known = network_is_known
        self._seen = Graph()
        self._found: dict[tuple[QksId, RelayPolicy, bool], bool] = {}

    def choose(self, peer: QksId, demand: Demand, wishes: Iterable[Demand] = ()) -> Way:
        """Return the way to `peer` that meets the demand, and of the wishes, one after the other, those that it can.

        Raises `BadRequest` with the standard's message if the demand cannot be met, and `Unavailable` if there is no
        way at all, or there may be one soon.
        """
        way = self._way(peer, demand)
        if way is None:
            raise self._refusal(peer, demand)
        for wish in wishes:
            further = strictest(demand, wish)
            better = self._way(peer, further)
            if better is not None:
                way, demand = better, further
        return way

    def detour(self, peer: QksId, demand: Demand, wishes: Iterable[Demand] = ()) -> RelayPolicy | None:
        """Return the policy of key that comes to a neighbour round the link between the two; None: there is no way.

        Wishes that the link meets are demands: nobody sees the key for want of it who was not to.
        """
        for wish in wishes:
            further = strictest(demand, wish)
            demand = further if self.meets(peer, further) else demand
        policy = None if demand.direct_only else self._policy(peer, demand)
        return policy if policy is not None and self._has_paths(peer, policy, without_link=True) else None

    def meets(self, peer: QksId, demand: Demand) -> bool:
        """Whether there is a way to `peer` that meets the demand now."""
        return self._way(peer, demand) is not None

    def _way(self, peer: QksId, demand: Demand) -> Way | None:
        if peer in self._links and demand.is_met_by_a_link:
            return Way(peer)
        policy = None if demand.direct_only else self._policy(peer, demand)
        return Way(peer, policy) if policy is not None and self._has_paths(peer, policy) else None

    def _policy(self, peer: QksId, demand: Demand) -> RelayPolicy | None:
        try:
            return demand.policy({self._here, peer})
        except InvalidIdentifier:
            return None

    def _refusal(self, peer: QksId, demand: Demand) -> QssError:
        """Return why there is no way: first what will not change, then what may."""
        if demand.direct_only and demand.is_met_by_a_link:
            return unmet(f"{name_of('direct_only')}: this site has no link to site {peer}")
        if demand.direct_only:
            return unmet(f"{name_of('direct_only')}: a link is one path, and its key is not hybrid")
        if self._policy(peer, demand) is None:
            return unmet(f"{name_of('avoid')}: with those of this site's rules, too many sites are to be avoided")
        if not self._has_paths(peer, RelayPolicy()):
            return Unavailable(
                f"no way to site {peer} is known now; nothing was consumed; try again shortly, and if that does not "
                "help, have the operator look which links are up (`qss route show`)"
            )
        if not self._network_is_known():
            return Unavailable(
                f"no way to site {peer} as it is demanded is known now, and not all neighbours are heard; nothing was "
                "consumed; try again shortly"
            )
        limits = [name for name in _LIMITS if getattr(demand, name) != getattr(NOTHING, name)]
        return unmet(*(f"{name_of(name)}: no such way leads to site {peer} now" for name in limits))

    def _has_paths(self, peer: QksId, policy: RelayPolicy, *, without_link: bool = False) -> bool:
        """Whether the network has the paths that a policy wants, whatever key their links have left.

        `without_link`: without the link between the two sites, if there is one.
        """
        graph = self._graph()
        if graph is not self._seen:
            self._seen, self._found = graph, {}
        if (peer, policy, without_link) not in self._found:
            if len(self._found) >= MAX_REMEMBERED:
                self._found.clear()
            avoid = [(self._here, peer)] if without_link else []
            self._found[peer, policy, without_link] = bool(
                choose_paths(graph, self._here, peer, policy, avoid_links=avoid)
            )
        return self._found[peer, policy, without_link]
