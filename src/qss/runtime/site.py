"""A site's links on one store: start, anchor, stop."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import structlog

from qss.core.reservation import LinkSettings
from qss.core.reservation.events import RestoreNoticed
from qss.model.errors import FenceLost, QssError, StoreDamaged, StoreError, StoreUnavailable
from qss.model.identifiers import QksId
from qss.model.incarnations import is_first
from qss.model.records import PeerRecord
from qss.ports.anchor import Anchor
from qss.ports.key_source import KeySource
from qss.ports.store import Contents, PutPeer, RaiseCommitNumber, SealedChange, SealedStore
from qss.runtime.link import Clocks, LinkRunner
from qss.runtime.tasks import Tasks

_ANCHOR_S = 1.0
"""How far the anchor may lag behind the store, in seconds."""

_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """One link of a site: its settings and where its key comes from."""

    settings: LinkSettings
    source: KeySource


class Site:
    """One site's ledger in operation. `start`, use `links`, `stop`; or watch `failed`."""

    def __init__(self, store: SealedStore, anchor: Anchor, plans: Sequence[LinkPlan], clocks: Clocks) -> None:
        self._store = store
        self._anchor = anchor
        self._fence = 0
        self._commit_number = 0
        self._tasks = Tasks(self.fail)
        self._anchor_trouble = ""
        self.store_writable = True
        """Whether the last commit was taken."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets an exception when the site cannot go on: another process has taken the store, or qss has a defect."""
        self.links = {
            plan.settings.peer: LinkRunner(
                plan.settings,
                store,
                plan.source,
                self._commit,
                lambda: self._commit_number,
                self._restored,
                self.fail,
                clocks,
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
        self._tasks.start(self._keep_anchor())

    async def _begin(self) -> None:
        contents = await self._store.start()
        self._fence, self._commit_number = contents.incarnation, contents.commit_number
        began = contents.commit_number
        anchored = self._anchor.read()
        if anchored is None and not is_first(contents.incarnation):
            _log.error(
                "the anchor file is missing: this store may be a back-up, so all key it holds is burned",
                remedy="keep the anchor file outside the data folder and its back-ups",
            )
            contents = await self._begin_restored(contents, contents.commit_number)
        elif anchored is not None and contents.commit_number < anchored:
            _log.error("the store is older than its anchor: all key it holds is burned", found=contents.commit_number)
            contents = await self._begin_restored(contents, anchored)
        contents = await self._raise_bases(contents, began)
        self._anchor.write(self._commit_number)
        for runner in self.links.values():
            runner.start(contents)

    async def stop(self) -> None:
        """Stop all links, then let go of the store."""
        try:
            await asyncio.gather(*(runner.stop() for runner in self.links.values()))
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

    async def _raise_bases(self, contents: Contents, began: int) -> Contents:
        """Note durably, before anything else changes, what this start has not forgotten (KRP 2.1)."""
        risen = [replace(record, base=began, exchanged=False) for record in contents.peers if record.exchanged]
        if not risen:
            return contents
        await self._commit([PutPeer(record) for record in risen])
        return await self._store.contents()

    # --- restores -------------------------------------------------------------------------------------------------

    async def _begin_restored(self, contents: Contents, known: int) -> Contents:
        await self._mark_restored({*self.links, *(record.peer for record in contents.peers)}, known)
        return await self._store.contents()

    async def _mark_restored(self, peers: Collection[QksId], known: int) -> None:
        """Note durably that these links must burn what they have before any is used; go on above `known`."""
        records = {record.peer: record for record in (await self._store.contents()).peers}
        marked = [replace(records.get(peer, PeerRecord(peer)), must_burn=True) for peer in peers]
        await self._commit([*map(PutPeer, marked), RaiseCommitNumber(known + 1)])

    def _restored(self, noticed_by: LinkRunner, notice: RestoreNoticed) -> None:
        """One neighbour knows a later state of this store: no link may be used, if it can prove it, as it was."""
        peer = noticed_by.core.settings.peer
        told = self._store.prove(peer, notice.incarnation, notice.commit_number)
        if hmac.compare_digest(notice.proof, told):
            _log.error("a neighbour knows a later state of this store: all key it holds is burned", peer=peer)
            doubtful, known = list(self.links.values()), notice.commit_number
        else:
            _log.error(
                "a neighbour claims, without proof, to know a later state of this store: this link's key is burned",
                peer=peer,
                found=notice.commit_number,
            )
            doubtful, known = [noticed_by], 0
        for runner in doubtful:
            runner.hold()
        self._tasks.start(self._burn_before_use(doubtful, known))

    async def _burn_before_use(self, doubtful: Collection[LinkRunner], known: int) -> None:
        for runner in doubtful:
            await runner.quiet()
        while True:
            try:
                peers = {runner.core.settings.peer for runner in doubtful}
                if known:  # it is proved: links that are not configured now are in doubt as well
                    peers |= {record.peer for record in (await self._store.contents()).peers}
                await self._mark_restored(peers, known)
            except QssError as error:
                _log.error("what was restored cannot be noted, so it stays unused", reason=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                break
        for runner in doubtful:
            runner.release()

    # --- the anchor -----------------------------------------------------------------------------------------------

    async def _keep_anchor(self) -> None:
        while True:
            await asyncio.sleep(_ANCHOR_S)
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
