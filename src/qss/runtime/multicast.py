"""Keys for slaves at several sites: all sites get them, or nobody does (KRP 4.15 to 4.19).

The keys are reserved with the first slave's site, and go to each further one under key that is reserved with it. Each
link does its part; here is what none of them sees: all of them.

Not here: which sites there are, and what key is demanded (`core.keyserver`); what a link does (`parts`, and its core).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from qss.core.keyserver.requests import FurtherSite, KeyPlan
from qss.core.reservation.events import Reserve
from qss.model.errors import PeerUnavailable, QssError, Shortage
from qss.model.identifiers import ReservationId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key
from qss.model.records import Part, ReservationRecord, length_of
from qss.runtime.end_to_end import RETRIES, RETRY_S, EndToEnd
from qss.runtime.link import LinkRunner

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Leg:
    """One site's part: what is asked of its link, and how key comes to be there."""

    link: LinkRunner
    ask: Reserve
    filled: Callable[[], Coroutine[Any, Any, None]] | None
    """Waits for an end-to-end stream to have enough; None for a link's own key."""


class Multicast:
    """Requests of masters here for slaves at several sites."""

    def __init__(self, link: Callable[[KeyPlan | FurtherSite], LinkRunner], end_to_end: EndToEnd) -> None:
        """`link` gives what key of a plan's way is reserved on."""
        self._link = link
        self._end_to_end = end_to_end

    async def reserve(self, reservation: ReservationId, caller: SaeId, plan: KeyPlan) -> tuple[Key, ...]:
        """Reserve keys at all sites and return them; of a repeated ask, the first's. Raises as `Asks.reserve` does."""
        sites: list[KeyPlan | FurtherSite] = [plan, *plan.further]
        legs = [self._leg(site, reservation, caller, plan) for site in sites]
        await self._prepare(legs)
        first, *further = legs
        ready = first.link.parts.expect(reservation)
        answer = asyncio.create_task(_asked(first))
        try:
            either: set[asyncio.Future[Any]] = {ready, answer}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():  # a repeat's, or a refusal
                return await answer
            keys = await first.link.parts.read(ready.result())
            await _together(_cover(leg, keys) for leg in further)
            if not answer.done():
                _conclude(legs)
                _tell_audit(further)
            return await answer
        except BaseException as error:
            told = error if isinstance(error, QssError) else PeerUnavailable("the request was given up; ask again")
            for leg in legs:
                leg.link.parts.abandon(reservation, told)
            raise
        finally:
            first.link.parts.forget(reservation)
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)

    def _leg(self, site: KeyPlan | FurtherSite, reservation: ReservationId, caller: SaeId, plan: KeyPlan) -> _Leg:
        part = Part.FIRST if site is plan else Part.FURTHER
        name = plan.name if site is plan else None
        policy = "" if site.policy is None else site.policy.text
        ask = Reserve(reservation, plan.count, plan.key_bytes, caller, site.slaves, name, policy, part, plan.priority)
        if site.policy is None:
            return _Leg(self._link(site), ask, None)
        length, peer, way = length_of(plan.count, plan.key_bytes, part), site.peer, site.policy
        return _Leg(self._link(site), ask, lambda: self._end_to_end.filled(peer, way, length, plan.priority))

    async def _prepare(self, legs: list[_Leg]) -> None:
        """Return once there is key on all ways, as far as is known here: whatever is short burns what others have.

        Of what is relayed somebody else may take it first, and more is relayed then.
        """
        relayed = [leg.filled for leg in legs if leg.filled is not None]
        for attempt in range(RETRIES + 1):
            await _together(filled() for filled in relayed)
            if legs[0].ask.name is not None and legs[0].link.core.knows(legs[0].ask.name):
                return  # somebody else has asked the same meanwhile
            objection = next(filter(None, (leg.link.core.objection(leg.ask) for leg in legs)), None)
            if objection is None:
                return
            if not relayed or not isinstance(objection, Shortage) or attempt == RETRIES:
                raise objection
            await asyncio.sleep(RETRY_S)


async def _asked(first: _Leg) -> tuple[Key, ...]:
    ask = first.ask
    return await first.link.asks.reserve(
        ask.reservation,
        ask.count,
        ask.key_bytes,
        ask.master,
        ask.slaves,
        ask.name,
        ask.policy,
        ask.part,
        ask.priority,
    )


async def _cover(leg: _Leg, keys: KeyMaterial) -> None:
    """Return once a further site has the keys."""
    parts, reservation = leg.link.parts, leg.ask.reservation
    ready = parts.expect(reservation)
    try:
        parts.reserve(leg.ask)
        row: ReservationRecord = await ready
        await parts.cover(row, await parts.read(row), keys)
    finally:
        parts.forget(reservation)


def _tell_audit(further: list[_Leg]) -> None:
    """Have recorded who shares the keys whose delivery the first site's link records."""
    for leg in further:
        _log.info(
            "keys went to a further site",
            audit="alone",
            reservation=str(leg.ask.reservation),
            peer=leg.link.core.settings.peer,
            slaves=leg.ask.slaves,
            policy=leg.ask.policy or "link",
        )


def _conclude(legs: list[_Leg]) -> None:
    """Let all parts stand at one moment, or raise `PeerUnavailable` if one of them does not any more (KRP 4.19)."""
    for leg in legs:
        if not leg.link.core.concludes(leg.ask.reservation):
            peer = leg.link.core.settings.peer
            raise PeerUnavailable(f"the connection to site {peer} was lost; nothing was delivered; try again")
    for leg in legs:
        leg.link.parts.conclude(leg.ask.reservation)


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once; raise what the first to fail raises, when nothing of it is under way any more."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
