"""A site's links on one store: start, anchor, the store's place, stop.

Not here: whether the store was restored, and what burns then (`core.reservation.restores`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from qss.core.reservation import LinkSettings, restores
from qss.core.reservation.events import RestoreNoticed
from qss.core.reservation.restores import Doubt
from qss.model.errors import FenceLost, QssError, StoreDamaged, StoreError, StoreUnavailable
from qss.model.identifiers import PairId, QksId
from qss.ports.anchor import Anchor
from qss.ports.key_source import KeySource
from qss.ports.store import PutPeer, RaiseCommitNumber, SealedChange, SealedStore
from qss.runtime.link import Clocks, LinkRunner
from qss.runtime.relay_listener import RelayListener
from qss.runtime.tasks import Tasks

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
        listener: RelayListener | None = None,
    ) -> None:
        """`listener` hears what the links do for relays; None: nothing here relays."""
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
        self.links = {
            plan.settings.peer: LinkRunner(
                plan.settings,
                store,
                plan.sources,
                self._commit,
                lambda: self._commit_number,
                self._restored,
                self.fail,
                clocks,
                listener,
            )
            for plan in plans
        }

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
        began = contents.commit_number
        doubt = restores.at_start(contents.incarnation, began, self._anchor.read(), contents.peers)
        if doubt is not None:
            tell = _log.warning if doubt.intended else _log.error
            tell(doubt.reason, found=began, remembered=doubt.remembered)
            await self._mark(doubt, self.links)
            contents = await self._store.contents()
        risen = restores.not_forgotten(began, contents.peers)
        if risen:  # noted before anything else changes
            await self._commit([*map(PutPeer, risen)])
            contents = await self._store.contents()
        self._anchor.write(self._commit_number)
        for runner in self.links.values():
            runner.start(contents)

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

    # --- restores -------------------------------------------------------------------------------------------------

    def _restored(self, noticed_by: LinkRunner, notice: RestoreNoticed) -> None:
        """One neighbour knows a later state of this store, or claims to: hold what is in doubt until that is noted."""
        if noticed_by.held:
            return
        peer = noticed_by.core.settings.peer
        doubt = restores.by_neighbour(notice, self._store.prove(peer, notice.incarnation, notice.commit_number))
        _log.error(doubt.reason, peer=peer, remembered=notice.commit_number)
        doubtful = self.links if doubt.everywhere else {peer: noticed_by}
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
