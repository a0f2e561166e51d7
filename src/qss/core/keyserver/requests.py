"""From a 014 request to a plan for links or end-to-end streams, or a refusal that has changed nothing.

Held here: the checks between form (the codec's) and existence of key (the link's), in the order that
`docs/reference/northbound.md` numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qss.core.keyserver.demands import NOTHING, Demand, strictest
from qss.core.keyserver.extensions import demanded, priority_of, wished
from qss.core.keyserver.naming import name_of_key_ids, name_of_key_request
from qss.core.keyserver.policy import PairPolicy
from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.keyserver.ways import Way, Ways
from qss.model.answers import AskName
from qss.model.errors import BadRequest, RuleUnmet, Unauthorised, Unavailable
from qss.model.identifiers import KeyId, QksId, SaeId
from qss.model.keys import KeyIdsRequest, KeyLimits, KeyRequest, Priority
from qss.model.network import Graph
from qss.model.relay_policy import RelayPolicy
from qss.wire.external import MAX_COVERED, Reason


@dataclass(frozen=True, slots=True)
class FurtherSite:
    """Another site where slaves are at home, and over what key that of the first site comes to it (KRP 4.15)."""

    peer: QksId
    slaves: tuple[SaeId, ...]
    policy: RelayPolicy | None = None


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What to reserve, with which site, and of what key: that of the link (None), or of a relay policy.

    `slaves` are those of that site, which is the first slave's.
    """

    peer: QksId
    count: int
    key_bytes: int
    slaves: tuple[SaeId, ...]
    name: AskName | None = None
    policy: RelayPolicy | None = None
    further: tuple[FurtherSite, ...] = ()
    priority: Priority = Priority.NORMAL
    detour: RelayPolicy | None = None
    """Of what key it can be where the link has too little, if it is planned to be the link's."""

    @property
    def bits(self) -> int:
        """The bits of all keys together."""
        return 8 * self.count * self.key_bytes

    @property
    def all_slaves(self) -> tuple[SaeId, ...]:
        """The slaves of all sites."""
        return (*self.slaves, *(slave for site in self.further for slave in site.slaves))


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Which reserved keys to take, and the name of the ask."""

    key_ids: tuple[KeyId, ...]
    name: AskName | None = None


class RequestPlanner:
    """Decides on requests at one site. `home` gives an SAE's home site, or None where it is unknown."""

    def __init__(
        self,
        here: QksId,
        limits: KeyLimits,
        policy: PairPolicy,
        home: Callable[[SaeId], QksId | None],
        links: frozenset[QksId],
        graph: Callable[[], Graph],
        network_is_known: Callable[[], bool] = lambda: True,
        *,
        detours: bool = False,
    ) -> None:
        """`links` are the neighbouring sites, `graph` returns the network as routing shows it now.

        `network_is_known` tells whether all neighbours are heard: else somebody's home may be known soon. `detours`:
        where a link has too little key for a neighbour, other sites may relay, and so see, what nobody else would.
        """
        self._detours = detours
        self._network_is_known = network_is_known
        self._here = here
        self._limits = limits
        self._policy = policy
        self._home = home
        self._ways = Ways(here, links, graph, network_is_known)

    def replace_policy(self, policy: PairPolicy) -> None:
        """Judge by other rules from now on."""
        self._policy = policy

    def plan_status(self, caller: SaeId, slave: SaeId) -> Way:
        """Return where the keys with `slave` come from if nothing more is asked, for a master's Get status."""
        self._authorise(caller, (slave,))
        return self._choose(self._site_of(slave), (slave,), NOTHING, self._policy.demand(caller, slave))

    def plan_keys(self, caller: SaeId, slave: SaeId, request: KeyRequest) -> KeyPlan:
        """Return what a master's Get key reserves.

        One key goes to all sites, so what is demanded for one slave is demanded of every way.
        """
        slaves = (slave, *request.additional_slaves)
        self._authorise(caller, slaves)
        size = self._limits.key_size if request.size is None else request.size
        self._check_limits(request, size)
        asked, ruled = demanded(request), strictest(*(self._policy.demand(caller, each) for each in slaves))
        at: dict[QksId, list[SaeId]] = {}
        for each in slaves:
            at.setdefault(self._site_of(each), []).append(each)
        wishes = tuple(wished(request))
        way, *others = [self._choose(site, tuple(its), asked, ruled, wishes) for site, its in at.items()]
        if others and request.number * size > 8 * MAX_COVERED:
            raise BadRequest(
                f"{request.number} keys of {size} bits are asked for with slaves at {len(at)} sites: at most "
                f"{8 * MAX_COVERED} bits are served to several sites in one request"
            )
        further = tuple(FurtherSite(other.peer, tuple(at[other.peer]), other.policy) for other in others)
        name = name_of_key_request(caller, slave, request)
        priority = priority_of(request, min((self.priority(caller, each) for each in slaves), key=lambda it: it.rank))
        of, can_detour = tuple(at[way.peer]), self._detours and not others and way.policy is None
        detour = self._ways.detour(way.peer, strictest(asked, ruled), wishes) if can_detour else None
        return KeyPlan(way.peer, request.number, size // 8, of, name, way.policy, further, priority, detour)

    def _choose(
        self, site: QksId, slaves: tuple[SaeId, ...], asked: Demand, ruled: Demand, wishes: tuple[Demand, ...] = ()
    ) -> Way:
        """Return the way to the site of these slaves. Raises `RuleUnmet` if only the rules are to blame for none."""
        try:
            return self._ways.choose(site, strictest(asked, ruled), wishes)
        except BadRequest as error:
            if self._ways.meets(site, asked) and not self._ways.meets(site, ruled):
                raise RuleUnmet(error.message, error.details, site, slaves) from error
            raise

    def priority(self, master: SaeId, slave: SaeId) -> Priority:
        """Return the highest priority that the rules give a request for this pair, which is what it has."""
        return self._policy.priority(master, slave)

    def plan_stream(self, caller: SaeId, other: SaeId) -> StreamPlan:
        """Return how two SAEs may share a key stream, if one of them may be the other's master (Streams 1.2).

        Raises as the other plans do.
        """
        self._authenticate(caller)
        may_ask, may_be_asked = self._policy.allows(caller, other), self._policy.allows(other, caller)
        if not (may_ask or may_be_asked):
            raise Unauthorised(f"no rule lets {caller} and {other} share keys: if they may, add [[pairs]]")
        return StreamPlan(caller, other, self._site_of(other), may_ask, may_be_asked)

    def plan_fetch(self, caller: SaeId, master: SaeId, request: KeyIdsRequest) -> FetchPlan:
        """Return what a slave's Get key with key IDs takes.

        Where the master is at home does not matter: its reservation says who it was, also while the network does not.
        """
        self._authenticate(caller)
        count = len(request.key_ids)
        if count > self._limits.max_key_per_request:
            raise BadRequest(f"{count} key_IDs: at most {self._limits.max_key_per_request} are served in one request")
        return FetchPlan(request.key_ids, name_of_key_ids(caller, master, request))

    def objection(self, peer: QksId, master: SaeId, slaves: tuple[SaeId, ...], policy: str = "") -> Reason | None:
        """Return why a reservation from `peer` is not taken (KRP 4.9), or None.

        It has to concern the peer's own master, this site's own slaves, and allowed pairs; and key that is as they
        demand here: that of the link (empty), or of a relay policy's text. Raises `InvalidIdentifier` if it is none.
        """
        relayed = RelayPolicy.from_text(policy) if policy else None
        ends = {self._here, peer}
        home = self._home(master)
        if home is None:
            return Reason.UNKNOWN
        allowed = (
            home == peer
            and len(set(slaves)) == len(slaves)
            and all(self._home(slave) == self._here and self._policy.allows(master, slave) for slave in slaves)
            and all(self._policy.demand(master, slave).is_met_by(relayed, ends) for slave in slaves)
        )
        return None if allowed else Reason.UNAUTHORISED

    def _authenticate(self, caller: SaeId) -> None:
        if self._home(caller) != self._here:
            raise Unauthorised(f"{caller} is not at home in site {self._here}")

    def _authorise(self, caller: SaeId, slaves: tuple[SaeId, ...]) -> None:
        self._authenticate(caller)
        for slave in slaves:
            if not self._policy.allows(caller, slave):
                raise Unauthorised(f"no rule lets {caller} share keys with {slave}: if they may, add [[pairs]]")

    def _check_limits(self, request: KeyRequest, size: int) -> None:
        limits = self._limits
        if request.number > limits.max_key_per_request:
            raise BadRequest(
                f"number is {request.number}: at most {limits.max_key_per_request} keys are served in one request"
            )
        if not limits.min_key_size <= size <= limits.max_key_size:
            raise BadRequest(
                f"size is {size}: keys of {limits.min_key_size} to {limits.max_key_size} bits are served here"
            )
        if len(request.additional_slaves) > limits.max_sae_id_count:
            raise BadRequest(
                f"{len(request.additional_slaves)} additional_slave_SAE_IDs: the limit is {limits.max_sae_id_count}"
            )

    def _site_of(self, slave: SaeId) -> QksId:
        home = self._home(slave)
        if home is None and not self._network_is_known():
            raise Unavailable(
                f"it is not known now where {slave} is at home, and not all neighbours are heard: it may be at "
                "home there, or beyond; nothing was consumed; try again shortly"
            )
        if home is None:
            raise BadRequest(
                f"SAE {slave} is not known here: check its spelling, and ask the operator of its home site for a "
                "statement of the authority (`qss pki home`, `qss sae add`), or this site's to configure it"
            )
        if home == self._here:
            raise BadRequest(f"SAE {slave} is at home in this site: quantum keys are shared between sites")
        return home
