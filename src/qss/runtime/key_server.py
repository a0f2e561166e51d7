"""What the northbound servers ask of a QKS: Get status, Get key, Get key with key IDs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from qss.core.keyserver.name_shares import NameShares
from qss.core.keyserver.quotas import Party, Quotas
from qss.core.keyserver.requests import FetchPlan, FurtherSite, KeyPlan, RequestPlanner
from qss.core.keyserver.ways import Way
from qss.core.reservation.events import Reserve
from qss.model.answers import AskName
from qss.model.errors import KeysNotFound, PeerUnavailable, QssError, Shortage
from qss.model.identifiers import RESERVATION_ENTROPY_BYTES, QksId, ReservationId, SaeId
from qss.model.keys import Key, KeyIdsRequest, KeyLimits, KeyRequest, PairStatus
from qss.model.relay_policy import RelayPolicy
from qss.runtime.end_to_end import RETRIES, RETRY_S, EndToEnd
from qss.runtime.link import LinkRunner
from qss.runtime.multicast import Multicast
from qss.runtime.turns import Turns


class KeyServer:
    """One site's key server, for callers whose SAE ID has been proved."""

    def __init__(
        self,
        here: QksId,
        limits: KeyLimits,
        planner: RequestPlanner,
        quotas: Quotas,
        links: Mapping[QksId, LinkRunner],
        end_to_end: EndToEnd,
        entropy: Callable[[int], bytes],
        clock: Callable[[], float],
    ) -> None:
        """`entropy` names reservations; `clock` gives the seconds of a clock that never steps."""
        self._here = here
        self._limits = limits
        self._planner = planner
        self._quotas = quotas
        self._links = links
        self._end_to_end = end_to_end
        self._entropy = entropy
        self._clock = clock
        self._names = NameShares()
        self._turns = Turns()
        self._multicast = Multicast(self._link, end_to_end)

    def get_status(self, caller: SaeId, slave: SaeId) -> PairStatus:
        """Return what this site can serve to the pair now (ETSI GS QKD 014 clause 6.1)."""
        way = self._planner.plan_status(caller, slave)
        link = self._link(way).core
        policy = "" if way.policy is None else way.policy.text
        most = link.settings.capacity_bytes * 8 // self._limits.key_size
        # Chunks that are under way when the capacity is reached exceed it; the standard's bound holds all the same.
        priority = self._planner.priority(caller, slave)
        stored = min(link.key_count(self._limits.key_size // 8, policy, priority), most)
        return PairStatus(self._here, way.peer, caller, slave, stored, most, self._limits)

    async def get_key(self, caller: SaeId, slave: SaeId, request: KeyRequest) -> tuple[Key, ...]:
        """Reserve fresh keys at all sites and return them to the master (clause 6.2); to a repeat, the same."""
        plan = self._planner.plan_keys(caller, slave, request)
        if plan.name is None:
            return await self._get_fresh(caller, plan)
        async with self._turns.of(plan.name.digest):  # until key is there, nobody else knows that this is asked for
            answered = self._that_knows(plan.name)
            if answered is not None:  # whichever way is the best one now
                return await self._reserve(answered, caller, plan)
            return await self._get_fresh(caller, plan)

    async def _get_fresh(self, caller: SaeId, plan: KeyPlan) -> tuple[Key, ...]:
        plan = self._around(caller, plan)
        link = self._link(plan)
        self._take_name(link, caller, plan.name)
        self._quotas.take(self._clock(), caller, plan.all_slaves, plan.count, plan.bits, self._outstanding)
        was_up = link.core.up
        try:
            if plan.further:
                return await self._multicast.reserve(self._fresh(), caller, plan)
            if plan.policy is None:
                return await self._reserve(link, caller, plan)
            return await self._reserve_relayed(link, caller, plan, plan.policy)
        except QssError as error:
            if not (was_up and isinstance(error, PeerUnavailable)):  # else what was allocated may have been burned
                self._quotas.give_back(caller, plan.all_slaves, plan.bits)
            raise

    def _around(self, caller: SaeId, plan: KeyPlan) -> KeyPlan:
        """Return a plan that goes round a link which has too little key, where there is another way."""
        if plan.detour is None:
            return plan
        ask = Reserve(self._fresh(), plan.count, plan.key_bytes, caller, plan.slaves, priority=plan.priority)
        short = isinstance(self._links[plan.peer].core.objection(ask), Shortage)
        return replace(plan, policy=plan.detour) if short else plan

    def _outstanding(self, party: Party) -> int:
        return sum(link.core.outstanding(party) for link in self._links.values())

    async def _reserve(self, link: LinkRunner, caller: SaeId, plan: KeyPlan) -> tuple[Key, ...]:
        policy = "" if plan.policy is None else plan.policy.text
        return await link.asks.reserve(
            self._fresh(),
            plan.count,
            plan.key_bytes,
            caller,
            plan.slaves,
            plan.name,
            policy,
            priority=plan.priority,
        )

    def _fresh(self) -> ReservationId:
        return ReservationId.from_entropy(self._entropy(RESERVATION_ENTROPY_BYTES))

    async def _reserve_relayed(
        self, link: LinkRunner, caller: SaeId, plan: KeyPlan, policy: RelayPolicy
    ) -> tuple[Key, ...]:
        """Reserve keys of an end-to-end stream, once it is filled so far; somebody else may be faster."""
        length = plan.count * plan.key_bytes
        tries = 0
        while True:
            try:
                await self._end_to_end.filled(plan.peer, policy, length, plan.priority)
            except asyncio.CancelledError:  # nothing was reserved yet
                self._quotas.give_back(caller, plan.all_slaves, plan.bits)
                raise
            try:
                return await self._reserve(link, caller, plan)
            except Shortage:
                tries += 1
                if tries > RETRIES:
                    raise
            await asyncio.sleep(RETRY_S)

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

    def _link(self, way: Way | KeyPlan | FurtherSite) -> LinkRunner:
        """Return what key of this way is reserved on."""
        return self._links[way.peer] if way.policy is None else self._end_to_end.link(way.peer)

    def _take_name(self, link: LinkRunner, caller: SaeId, name: AskName | None) -> None:
        if name is None or link.core.knows(name):
            return
        settings = link.core.settings
        self._names.take(self._clock(), settings.peer, caller, settings.max_reservations, settings.grace_s)
