"""What the northbound servers ask of a QKS: Get status, Get key, Get key with key IDs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qss.core.keyserver.requests import RequestPlanner
from qss.model.errors import KeysNotFound
from qss.model.identifiers import RESERVATION_ENTROPY_BYTES, KeyId, QksId, ReservationId, SaeId
from qss.model.keys import Key, KeyLimits, KeyRequest, PairStatus
from qss.runtime.link import LinkRunner


class KeyServer:
    """One site's key server, for callers whose SAE ID has been proved."""

    def __init__(
        self,
        here: QksId,
        limits: KeyLimits,
        planner: RequestPlanner,
        links: Mapping[QksId, LinkRunner],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._here = here
        self._limits = limits
        self._planner = planner
        self._links = links
        self._entropy = entropy

    def get_status(self, caller: SaeId, slave: SaeId) -> PairStatus:
        """Return what this site can serve to the pair now (ETSI GS QKD 014 clause 6.1)."""
        peer = self._planner.plan_status(caller, slave)
        link = self._links[peer].core
        most = link.settings.capacity_bytes * 8 // self._limits.key_size
        # Chunks that are under way when the capacity is reached exceed it; the standard's bound holds all the same.
        stored = min(link.key_count(self._limits.key_size // 8), most)
        return PairStatus(self._here, peer, caller, slave, stored, most, self._limits)

    async def get_key(self, caller: SaeId, slave: SaeId, request: KeyRequest) -> tuple[Key, ...]:
        """Reserve fresh keys at both sites and return them to the master (clause 6.2)."""
        plan = self._planner.plan_keys(caller, slave, request)
        reservation = ReservationId.from_entropy(self._entropy(RESERVATION_ENTROPY_BYTES))
        keys = await self._links[plan.peer].reserve(reservation, plan.count, plan.key_bytes, caller, plan.slaves)
        return tuple(Key(reservation.key_id(position), material) for position, material in enumerate(keys))

    async def get_key_with_ids(self, caller: SaeId, master: SaeId, key_ids: tuple[KeyId, ...]) -> tuple[Key, ...]:
        """Return reserved keys to a slave: each once, all or none (clause 6.4)."""
        peer = self._planner.plan_fetch(caller, master, len(key_ids))
        if peer is None:
            raise KeysNotFound
        keys = await self._links[peer].fetch(caller, master, key_ids)
        return tuple(Key(key_id, material) for key_id, material in zip(key_ids, keys, strict=True))
