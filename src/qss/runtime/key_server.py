"""What the northbound servers ask of a QKS: Get status, Get key, Get key with key IDs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qss.core.keyserver.name_shares import NameShares
from qss.core.keyserver.quotas import Party, Quotas
from qss.core.keyserver.requests import FetchPlan, KeyPlan, RequestPlanner
from qss.core.keyserver.ways import Way
from qss.model.answers import AskName
from qss.model.errors import KeysNotFound, QssError, Unavailable
from qss.model.identifiers import RESERVATION_ENTROPY_BYTES, QksId, ReservationId, SaeId
from qss.model.keys import Key, KeyIdsRequest, KeyLimits, KeyRequest, PairStatus
from qss.runtime.link import LinkRunner


class KeyServer:
    """One site's key server, for callers whose SAE ID has been proved."""

    def __init__(
        self,
        here: QksId,
        limits: KeyLimits,
        planner: RequestPlanner,
        quotas: Quotas,
        links: Mapping[QksId, LinkRunner],
        entropy: Callable[[int], bytes],
        clock: Callable[[], float],
    ) -> None:
        """`entropy` names reservations; `clock` gives the seconds of a clock that never steps."""
        self._here = here
        self._limits = limits
        self._planner = planner
        self._quotas = quotas
        self._links = links
        self._entropy = entropy
        self._clock = clock
        self._names = NameShares()

    def get_status(self, caller: SaeId, slave: SaeId) -> PairStatus:
        """Return what this site can serve to the pair now (ETSI GS QKD 014 clause 6.1)."""
        way = self._planner.plan_status(caller, slave)
        link = self._link(way).core
        most = link.settings.capacity_bytes * 8 // self._limits.key_size
        # Chunks that are under way when the capacity is reached exceed it; the standard's bound holds all the same.
        stored = min(link.key_count(self._limits.key_size // 8), most)
        return PairStatus(self._here, way.peer, caller, slave, stored, most, self._limits)

    async def get_key(self, caller: SaeId, slave: SaeId, request: KeyRequest) -> tuple[Key, ...]:
        """Reserve fresh keys at both sites and return them to the master (clause 6.2); to a repeat, the same."""
        plan = self._planner.plan_keys(caller, slave, request)
        answered = self._that_knows(plan.name)
        if answered is not None:  # whichever way is the best one now
            return await self._reserve(answered, caller, plan)
        link = self._link(plan)
        self._take_name(link, caller, plan.name)
        bits = 8 * plan.count * plan.key_bytes
        self._quotas.take(self._clock(), caller, plan.slaves, plan.count, bits, self._outstanding)
        try:
            return await self._reserve(link, caller, plan)
        except QssError:
            self._quotas.give_back(caller, plan.slaves, bits)
            raise

    def _outstanding(self, party: Party) -> int:
        return sum(link.core.outstanding(party) for link in self._links.values())

    async def _reserve(self, link: LinkRunner, caller: SaeId, plan: KeyPlan) -> tuple[Key, ...]:
        reservation = ReservationId.from_entropy(self._entropy(RESERVATION_ENTROPY_BYTES))
        return await link.asks.reserve(reservation, plan.count, plan.key_bytes, caller, plan.slaves, plan.name)

    async def get_key_with_ids(self, caller: SaeId, master: SaeId, request: KeyIdsRequest) -> tuple[Key, ...]:
        """Return reserved keys to a slave: each once, all or none (clause 6.4); to a repeat, the same."""
        plan = self._planner.plan_fetch(caller, master, request)
        link = self._holder(plan)
        self._take_name(link, caller, plan.name)
        return await link.asks.fetch(caller, master, plan.key_ids, plan.name)

    def _holder(self, plan: FetchPlan) -> LinkRunner:
        """Return the link that holds the keys, or has answered this ask before. Raises `KeysNotFound`."""
        answered = self._that_knows(plan.name)
        if answered is not None:
            return answered
        for link in self._links.values():
            if any(map(link.core.holds, plan.key_ids)):
                return link
        raise KeysNotFound

    def _that_knows(self, name: AskName | None) -> LinkRunner | None:
        """Return the link that is answering, or has answered, an ask under this name."""
        known = (link for link in self._links.values() if name is not None and link.core.knows(name))
        return next(known, None)

    def _link(self, way: Way | KeyPlan) -> LinkRunner:
        """Return what key of this way is reserved on."""
        if way.policy is not None:  # the one place where end-to-end streams are to come in
            raise Unavailable(
                f"what is asked for with site {way.peer} has to be relayed, and relaying is not running here; nothing "
                "was consumed; ask the operator"
            )
        return self._links[way.peer]

    def _take_name(self, link: LinkRunner, caller: SaeId, name: AskName | None) -> None:
        if name is None or link.core.knows(name):
            return
        settings = link.core.settings
        self._names.take(self._clock(), settings.peer, caller, settings.max_reservations, settings.grace_s)
