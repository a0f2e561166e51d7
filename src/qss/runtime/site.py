"""A site's links on one store: start, anchor, the store's place, stop.

Not here: whether the store was restored, and what burns then (`core.reservation.restores`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from qss.core.reservation import LinkSettings, restores
from qss.core.reservation.events import RestoreNoticed
from qss.core.reservation.restores import Doubt
from qss.model.errors import FenceLost, LimitReached, QssError, StoreDamaged, StoreError, StoreUnavailable
from qss.model.identifiers import KeyId, PairId, QksId
from qss.model.records import Scope
from qss.ports.anchor import Anchor
from qss.ports.key_source import KeySource
from qss.ports.store import Contents, PutPeer, RaiseCommitNumber, SealedChange, SealedStore
from qss.runtime.link import Clocks, LinkRunner
from qss.runtime.relay_listener import DrawListener, RelayListener
from qss.runtime.tasks import Tasks
from qss.wire.external import MAX_LISTED

MAX_FAR = 256
"""Sites beyond the neighbours with which a site has key streams."""

_ANCHOR_S = 1.0
"""How far the anchor may lag behind the store, and how long the store may be gone unnoticed, in seconds."""

_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """One link of a site: its settings, and where its key comes from at the start."""

    settings: LinkSettings
    sources: Mapping[PairId, KeySource]


class Site:
    """One site's ledger in operation. `start`, use `links`, `stop`; or watch `failed`."""

    def __init__(
        self,
        store: SealedStore,
        anchor: Anchor,
        plans: Sequence[LinkPlan],
        clocks: Clocks,
        far: Callable[[QksId], LinkPlan] | None = None,
        listener: RelayListener | None = None,
        tag_draws: DrawListener | None = None,
    ) -> None:
        """`far` makes the plan for a site that is no neighbour; without it there are links with neighbours alone.

        `listener` hears what the links do for relays; None: nothing here relays. `tag_draws` hears what
        neighbours' links do for tags of routing; None: nothing here tags.
        """
        self._store = store
        self._anchor = anchor
        self._fence = 0
        self._commit_number = 0
        self._tasks = Tasks(self.fail)
        self._anchor_trouble = ""
        self.store_writable = True
        """Whether the last commit was taken."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets an exception when the site cannot go on: its store was taken, or qss has a defect."""
        self._clocks = clocks
        self._far = far
        self._listener = listener
        self._tag_draws = tag_draws
        self.neighbours = frozenset(plan.settings.peer for plan in plans)
        self.links = {plan.settings.peer: self._runner(plan) for plan in plans}
        """By the site at the other end; those with far sites come as they are used, and stay."""

    def _runner(self, plan: LinkPlan) -> LinkRunner:
        return LinkRunner(
            plan.settings,
            self._store,
            plan.sources,
            self._commit,
            lambda: self._commit_number,
            self._restored,
            self.fail,
            self._clocks,
            self._recalled,
            self._listener,
            self._tag_draws if plan.settings.peer in self.neighbours else None,
        )

    async def start(self) -> None:
        """Raise the incarnation, look whether the store is what it was, and start all links; or let go of the store."""
        try:
            await self._begin()
        except BaseException:
            await self._store.close()
            raise
        self._tasks.start(self._keep_watch())

    async def _begin(self) -> None:
        contents = await self._store.start()
        self._fence, self._commit_number = contents.incarnation, contents.commit_number
        if self._far is not None:
            remembered = {peer.peer for peer in contents.peers} | {stream.peer for stream in contents.streams}
            self.links |= {peer: self._runner(self._far(peer)) for peer in sorted(remembered - self.neighbours)}
        began = contents.commit_number
        doubt = restores.at_start(contents.incarnation, began, self._anchor.read(), contents.peers)
        if doubt is not None:
            tell = _log.warning if doubt.intended else _log.error
            tell(doubt.reason, audit=True, found=began, remembered=doubt.remembered)
            await self._mark(doubt, self.links)
            contents = await self._store.contents()
        risen = restores.not_forgotten(began, contents.peers)
        if risen:  # noted before anything else changes
            await self._commit([*map(PutPeer, risen)])
            contents = await self._store.contents()
        self._anchor.write(self._commit_number)
        for runner in self.links.values():
            runner.start(contents)

    def link_to(self, peer: QksId) -> LinkRunner:
        """Return the link with any site; one with a far site begins when it is first asked for.

        Raises `LimitReached` if there are as many as may be.
        """
        if peer not in self.links:
            if self._far is None or len(self.links) - len(self.neighbours) >= MAX_FAR:
                raise LimitReached(f"this site has key streams with {MAX_FAR} far sites, which is as many as may be")
            runner = self._runner(self._far(peer))
            # Whatever the store had of it would have made the link at the start.
            runner.start(Contents(self._fence, self._commit_number))
            self.links[peer] = runner
        return self.links[peer]

    async def stop(self) -> None:
        """Stop all links, then let go of the store. Raises `StoreDamaged` if it was taken away unnoticed."""
        try:
            await asyncio.gather(*(runner.stop() for runner in self.links.values()))
            if not self.failed.done():
                await self._store.check_in_place()
        finally:
            await self._tasks.cancelled()
            await self._store.close()
            await asyncio.to_thread(self._write_anchor)
            if not self.failed.done():
                self.failed.cancel()

    async def _commit(self, batch: Sequence[SealedChange]) -> int:
        try:
            number = await self._store.commit(batch, self._fence)
        except (FenceLost, StoreDamaged) as error:
            self.fail(error)
            raise
        except StoreUnavailable:
            self.store_writable = False
            raise
        self.store_writable = True
        self._commit_number = max(self._commit_number, number)
        return number

    def fail(self, error: BaseException) -> None:
        """End the site: it cannot go on."""
        if not self.failed.done():
            self.failed.set_exception(error)

    # --- recalls --------------------------------------------------------------------------------------------------

    def _recalled(self, peer: QksId, key_ids: tuple[KeyId, ...]) -> None:
        """Keys were recalled on the link with `peer`: have other sites whose slaves hold them told (KRP 4.20)."""
        for other, runner in self.links.items():
            held = [key_id for key_id in key_ids if other != peer and _holds(runner, key_id)]
            for start in range(0, len(held), MAX_LISTED):
                self._tasks.start_now(self._pass_on(runner, Scope(tuple(held[start : start + MAX_LISTED]))))

    async def _pass_on(self, runner: LinkRunner, scope: Scope) -> None:
        try:
            await runner.asks.recall(scope, passed_on=True)
        except QssError as error:
            _log.error(
                "keys that were recalled could not be recalled at another site that holds them",
                peer=runner.core.settings.peer,
                keys=str(scope),
                reason=str(error),
                remedy="recall them again (`qss key void`)",
            )

    # --- restores -------------------------------------------------------------------------------------------------

    def _restored(self, noticed_by: LinkRunner, notice: RestoreNoticed) -> None:
        """One neighbour knows a later state of this store, or claims to: hold what is in doubt until that is noted."""
        if noticed_by.held:
            return
        peer = noticed_by.core.settings.peer
        doubt = restores.by_neighbour(notice, self._store.prove(peer, notice.incarnation, notice.commit_number))
        _log.error(doubt.reason, audit=True, peer=peer, remembered=notice.commit_number)
        doubtful = dict(self.links) if doubt.everywhere else {peer: noticed_by}
        for runner in doubtful.values():
            runner.hold()
        self._tasks.start(self._burn_before_use(doubt, doubtful))

    async def _burn_before_use(self, doubt: Doubt, doubtful: Mapping[QksId, LinkRunner]) -> None:
        for runner in doubtful.values():
            await runner.quiet()
        while True:
            try:
                await self._mark(doubt, doubtful)
            except QssError as error:
                _log.error("what was restored cannot be noted, so it stays unused", reason=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                break
        for runner in doubtful.values():
            runner.release()

    async def _mark(self, doubt: Doubt, links: Iterable[QksId]) -> None:
        """Note durably which links must burn what they have before any is used; go on above what is remembered."""
        marked = restores.must_burn(doubt, links, (await self._store.contents()).peers)
        await self._commit([*map(PutPeer, marked), RaiseCommitNumber(doubt.remembered + 1)])

    # --- the store's place, and the anchor ------------------------------------------------------------------------

    async def _keep_watch(self) -> None:
        while True:
            await asyncio.sleep(_ANCHOR_S)
            await self._store.check_in_place()
            await asyncio.to_thread(self._write_anchor)

    def _write_anchor(self) -> None:
        trouble = ""
        try:
            self._anchor.write(self._commit_number)
        except (StoreUnavailable, StoreError) as error:
            trouble = str(error)
        if trouble and trouble != self._anchor_trouble:  # once for each cause, not once a second
            _log.error("the anchor cannot be written", reason=trouble)
        self._anchor_trouble = trouble

    @property
    def anchor_writable(self) -> bool:
        """Whether the anchor was written when it last had to be."""
        return not self._anchor_trouble


def _holds(runner: LinkRunner, key_id: KeyId) -> bool:
    """Whether slaves at the other end of a link may have yet to fetch this key of a master here."""
    return key_id.reservation is not None and runner.core.holds_part(key_id.reservation)
