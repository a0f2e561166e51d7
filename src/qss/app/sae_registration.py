"""Registering and removing SAEs at a running site; what is removed has its keys that were not fetched yet burned.

A removal is on disk before it counts, and stays there until the keys are burned: what is not burned at once, because a
store refuses or the node ends, is burned later. Not here: who may ask (`servers.admin`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from qss.app.rules import Rules
from qss.app.sae_register import SaeRegister
from qss.model.errors import BadRequest, Unauthorised, Unavailable
from qss.model.identifiers import QksId, SaeId
from qss.model.records import Scope
from qss.wire.home_statement import decode_statement
from qss.wire.saes import SaeView

RETRY_S = 5.0
"""After so long the burning of keys is tried again."""

Recall = Callable[[Scope, QksId], Awaitable[Mapping[QksId, int]]]
"""Burns keys of the link to a neighbour; returns the bits burned here, by link. Raises `Unavailable`."""

_log = structlog.get_logger(__name__)


class SaeRegistration:
    """Implements `qss.servers.saes.SaeService` for one site."""

    def __init__(
        self,
        site: QksId,
        rules: Rules,
        register: SaeRegister,
        peers: Callable[[], Sequence[QksId]],
        recall: Recall,
        publish: Callable[[], None],
    ) -> None:
        """`peers` are the sites that there are keys with now; `publish` tells the network what is at home here now."""
        self._site = site
        self._rules = rules
        self._register = register
        self._peers = peers
        self._recall = recall
        self._burned: dict[SaeId, dict[QksId, int]] = {}
        """Of each SAE that leaves, the bits burned, by the links that are dealt with."""
        self._publish = publish
        self._changing = asyncio.Lock()
        self._behind = True
        """The configuration is another one than the register has noted."""

    def saes(self) -> tuple[SaeView, ...]:
        """Return what is at home here, and what is about to be burned."""
        at_home = self._rules.saes_at_home()
        return (
            *(
                SaeView(id=sae, configured=self._rules.is_configured(sae), stated_until=_end_of(at_home[sae]))
                for sae in sorted(at_home)
            ),
            *(
                SaeView(id=sae, configured=False, stated_until=None, leaving=True)
                for sae in sorted(self._register.leaving)
            ),
        )

    async def add(self, sae: SaeId, statement: bytes | None) -> None:
        """Have an SAE at home here. Raises `BadRequest` if it cannot be, `Unavailable` if the disk refuses."""
        if self._rules.is_configured(sae):
            raise BadRequest(f"{sae} is in the configuration of this site: change it there, and have it read anew")
        if statement is not None:
            self._check(sae, statement)
        elif self._register.statements.get(sae) is not None:
            raise BadRequest(f"{sae} is registered with a statement: give a new one, or remove the application first")
        elif (other := self._rules.home(sae)) not in (None, self._site):
            raise BadRequest(
                f"{sae} is at home at site {other}, as the authority states: remove it there, and have the authority "
                "state its home here"
            )
        async with self._changing:
            await _written(self._register.add, sae, statement)
        self._publish()

    async def remove(self, sae: SaeId) -> Mapping[QksId, int]:
        """Have a registered SAE at home here no more, and burn its keys; return the bits burned here, by link.

        Raises `BadRequest` if it is not registered, `Unavailable` if it stays or its keys are to be burned later.
        """
        if self._rules.is_configured(sae):
            raise BadRequest(f"{sae} is in the configuration of this site: take it out there, and have it read anew")
        async with self._changing:
            if sae not in self._register and sae not in self._register.leaving:
                raise BadRequest(f"{sae} is not registered here: see `qss sae list`")
            await self._leave(sae)
            try:
                return await self._burn(sae)
            except Unavailable as error:
                raise Unavailable(
                    f"{sae} was removed; its keys are burned as soon as that is possible: {error}"
                ) from error

    async def follow_configuration(self) -> None:
        """Take in a changed configuration: burn the keys of SAEs that have been taken out of it."""
        self._behind = True
        await self._burn_what_left()

    async def keep_burning(self) -> None:
        """Burn, again and again, the keys of what was removed and could not be dealt with at once."""
        while True:
            await self._burn_what_left()
            await asyncio.sleep(RETRY_S)

    async def _burn_what_left(self) -> None:
        if self._behind:
            async with self._changing:
                self._behind = False
                try:
                    await _written(self._register.follow, *self._rules.configured())
                except Unavailable as error:
                    self._behind = True
                    _log.warning("who left the configuration is noted later", reason=str(error))
            self._publish()
        for sae in sorted(self._register.leaving):
            async with self._changing:
                if sae in self._register.leaving:
                    try:
                        await self._burn(sae)
                    except Unavailable as error:
                        _log.warning("keys of an SAE that was removed are burned later", sae=sae, reason=str(error))

    async def _leave(self, sae: SaeId) -> None:
        await _written(self._register.begin_removal, sae)
        self._publish()

    async def _burn(self, sae: SaeId) -> Mapping[QksId, int]:
        bits, failure = self._burned.setdefault(sae, {}), None
        for peer in self._peers():
            if peer not in bits:
                try:
                    bits |= await self._recall(Scope((), sae), peer)
                except Unavailable as error:
                    failure = error
        if failure is not None:
            raise failure
        await _written(self._register.end_removal, sae)
        del self._burned[sae]
        _log.warning("keys of an SAE that was removed are burned", audit=True, sae=sae, burned_bits=dict(bits))
        return bits

    def _check(self, sae: SaeId, statement: bytes) -> None:
        try:
            home = self._rules.homes.check(statement, sae, self._site)
        except Unauthorised as error:
            raise BadRequest(f"this statement of a home cannot be shown to other sites: {error}") from None
        if self._rules.homes.is_over(home):
            raise BadRequest("this statement of a home has expired: have the authority make a new one")


async def _written[*Given](change: Callable[[*Given], None], *given: *Given) -> None:
    """Have the register changed in a thread. Who cancels it waits for that: the next change builds on this one."""
    writing = asyncio.ensure_future(asyncio.to_thread(change, *given))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        if not writing.cancelled():
            writing.exception()  # nobody is there to hear of it
        raise


def _end_of(statement: bytes | None) -> int | None:
    return None if statement is None else decode_statement(statement)[1].expires
