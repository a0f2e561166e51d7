"""One link: feeds its core with events and carries out the effects. The core decides; this shell moves bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, assert_never

import structlog

from qss.core.reservation import Link, LinkSettings
from qss.core.reservation import events as ev
from qss.model.errors import QssError, StoreDamaged
from qss.model.identifiers import KeyId, PairId, QksId, StreamId, TransferId
from qss.model.ranges import Range
from qss.ports.key_source import KeySource
from qss.ports.store import (
    Contents,
    DropAnswer,
    DropRecall,
    DropReservation,
    DropStream,
    PutAnswer,
    PutKey,
    PutPeer,
    PutRecall,
    PutReservation,
    PutStream,
    SealedChange,
    SealedStore,
    link_of,
)
from qss.runtime.asks import Asks
from qss.runtime.causes import Causes
from qss.runtime.drawers import Drawers
from qss.runtime.outbox import Outbox
from qss.runtime.parts import Parts
from qss.runtime.relay_listener import DrawListener, RelayListener
from qss.runtime.session import Session
from qss.runtime.sources import Sources
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.wire.external import Frame, Message, Purpose, decode, encode, split, weight

HEARTBEAT_S = 1.0
"""How often the peer hears this end's commit number when there is nothing else to say."""

MAX_WAITING = 500_000
"""Messages, and reservations listed in them, that may wait; a peer that lets more gather is cut off."""

Clocks = Callable[[], tuple[float, float]]
"""Gives the seconds of a clock that never steps, and the seconds since the epoch."""

_TICK_S = 0.2
_REBUILD_PAUSE_S = 1.0

_log = structlog.get_logger(__name__)


class LinkRunner:
    """Runs one link. All methods belong to the event loop's thread."""

    def __init__(
        self,
        settings: LinkSettings,
        store: SealedStore,
        sources: Mapping[PairId, KeySource],
        commit: Callable[[Sequence[SealedChange]], Coroutine[Any, Any, int]],
        commit_number: Callable[[], int],
        restore_noticed: Callable[[LinkRunner, ev.RestoreNoticed], None],
        defect: Defect,
        clocks: Clocks,
        recalled: Callable[[QksId, tuple[KeyId, ...]], None],
        listener: RelayListener | None = None,
        tag_draws: DrawListener | None = None,
    ) -> None:
        """`recalled` hears of keys that were recalled here, and that slaves at other sites than the peer hold as well.

        `listener` None: nothing at this site relays, and what the neighbour draws for that is given up.
        `tag_draws` hears of what is drawn for tags; None: likewise.
        """
        self._settings = settings
        self._store = store
        self._commit = commit
        self._commit_number = commit_number
        self._restore_noticed = restore_noticed
        self._defect = defect
        self._clocks = clocks
        self._drawers = Drawers(settings.peer, listener, tag_draws, self._handle)
        self._link: Link
        self._fence = 0
        self._tasks = Tasks(defect)
        self._commits = Tasks(defect)
        self._erasures = Tasks(defect)  # not to be cancelled: what is forgotten waits for the next start
        self._stopping = False
        self._defective = False
        self._holds = 0
        self._released = asyncio.Event()
        self._released.set()
        self._causes = Causes()
        self._waiters: dict[asyncio.Future[None], Callable[[Link], bool]] = {}
        self._log = _log.bind(peer=settings.peer)
        self.asks = Asks(store, self._handle, lambda stream: self._link.policy_of(stream), defect, self._log)
        """Where keys are asked for."""
        self.sources = Sources(
            settings,
            sources,
            self._handle,
            lambda stream: self._link.wants_key(stream),
            lambda stream: self._link.knows_stream(stream),
            defect,
            self._log,
        )
        """Where key comes from: modules are attached and detached here, once the link has started."""
        told = partial(recalled, settings.peer)
        self.parts = Parts(settings, self.asks, self._handle, self.sources.keep, told, defect, self._log)
        """Where keys are shared with slaves at several sites."""
        self._session = Session[Message](
            lambda connection: Outbox(connection, self._frames, MAX_WAITING, weight, HEARTBEAT_S),
            lambda: self._handle(ev.Connected(self._commit_number())),
            lambda frame: self._handle(ev.Received(decode(frame))),
            lambda _: self._handle(ev.Disconnected()),
            defect,
            self._log,
        )

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self, contents: Contents) -> None:
        """Begin from what is durable."""
        self._load(contents)
        self._tasks.start(self._tick())

    def _load(self, contents: Contents, trouble: QssError | None = None) -> None:
        mine = link_of(contents, self._settings.peer)
        self._fence = mine.incarnation
        self._link = Link(
            self._settings,
            mine.incarnation,
            mine.streams,
            mine.reservations,
            mine.peers[0] if mine.peers else None,
            mine.answers,
            mine.recalls,
            trouble,
        )
        self.sources.announce()

    async def stop(self) -> None:
        """End the connection, the feeds and everything under way; what is committed stays."""
        self._stopping = True
        await self._session.stop()
        await self._tasks.cancelled()
        await self.parts.stop()
        await self.sources.stop()
        for _ in range(2):  # what waits for a commit without hurry; then what may be erased, some of it only now
            self._handle(ev.Tick())
            await self._commits.finished()
        for last in (self._erasures, self._tasks, self.sources):
            await last.finished()
        self.asks.give_up()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._handle(ev.Tick())

    def hold(self) -> None:
        """Use nothing until `release`: the store was restored, and what it says is about to be corrected."""
        self._holds += 1
        self._released.clear()
        self._handle(ev.StoreRestored())

    @property
    def held(self) -> bool:
        """Whether it is held: what comes of a restore is being noted."""
        return self._holds > 0

    async def quiet(self) -> None:
        """Return when no commit of this link is under way."""
        await self._commits.finished()

    def release(self) -> None:
        """Go on, from what is durable now, once this was called as often as `hold`."""
        self._holds -= 1
        if self._holds == 0:
            self._released.set()

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def core(self) -> Link:
        """The core, for its queries."""
        return self._link

    @property
    def security(self) -> str | None:
        """How the connection is secured; None without one."""
        return self._session.security

    # --- relays ---------------------------------------------------------------------------------------------------

    def draw(self, draw: TransferId, length: int, *, urgent: bool, purpose: Purpose = Purpose.RELAY) -> None:
        """Have `length` bytes set aside at both ends (Relay 3); the purpose's listener hears what comes of it.

        Each draw has a name of its own. For a relay, what is not `urgent` leaves half of what the link may
        hold; for tags, nothing need be left.
        """
        self._handle(ev.Draw(draw, length, urgent, purpose))

    def end_draw(self, draw: TransferId, *, used: bool) -> None:
        """Have the bytes of a draw erased, by whichever end it was: they were `used`, or never will be."""
        self._handle(ev.DrawEnded(draw, used))

    def want(self, pair: PairId, policy: str, length: int, *, urgent: bool) -> None:
        """Tell the neighbour that so many bytes are wanted on this end-to-end stream, if it is connected (Relay 2.4).

        `policy` has at most 1,024 characters.
        """
        self._handle(ev.Want(pair, policy, length, urgent))

    # --- the peer -------------------------------------------------------------------------------------------------

    async def serve(self, connection: Connection) -> None:
        """Run the link over this connection until it ends. A newer connection takes the place of an older one."""
        await self._session.serve(connection)

    def _frames(self, messages: Sequence[Message]) -> Iterator[bytes]:
        """Yield the frames that carry `messages`; without any, a heartbeat, which may not come before the Hello."""
        if not messages and self._link.peer_incarnation == 0:
            return
        for run in split(messages) or [()]:
            number = self._commit_number()
            # Only a peer that has exchanged states gets something to show later (KRP 2.8).
            proven = self._link.may_prove
            proof = self._store.prove(self._settings.peer, self._link.incarnation, number) if proven else b""
            yield encode(Frame(self._link.incarnation, self._link.peer_incarnation, number, proof, run))

    # --- effects --------------------------------------------------------------------------------------------------

    def _handle(self, event: ev.Event) -> None:
        if self._defective:
            self.asks.give_up()
            return
        try:
            effects = self._link.handle(event, *self._clocks())
        except Exception as error:
            self._defective = True  # memory may be half changed: nothing of it may reach the store, or anybody
            self.asks.give_up()
            self._defect(error)
            raise
        for effect in effects:
            self._perform(effect)
        for waiter in [waiter for waiter, is_so in self._waiters.items() if is_so(self._link)]:
            del self._waiters[waiter]
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, is_so: Callable[[Link], bool]) -> None:
        """Return when this is so of the link."""
        if is_so(self._link):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = is_so
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)

    def _perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Commit():
                self._commits.start_now(self._make_durable(self._link, effect))
            case ev.Send(messages):
                self._session.send(messages)
            case ev.Deliver(request, keys):
                self.asks.deliver(request, keys)
            case ev.Refused(request, error):
                self.asks.refuse(request, error)
                self.parts.refuse(request, error)
            case ev.PartReady() | ev.PartCovered() | ev.OpenCover() | ev.PartsRecalled():
                self.parts.perform(effect)
            case ev.Recalled(request, bits):
                self.asks.recalled(request, bits)
            case ev.PeerRecalled(scope, bits):
                self._log.warning(
                    "the neighbour recalled keys that were not fetched", audit=True, keys=str(scope), bits=bits
                )
            case ev.PairForbidden(master, slaves):
                self._log.warning(
                    "the neighbour was refused keys for SAEs that no rule here allows",
                    master=master,
                    slaves=", ".join(slaves),
                    remedy=f'if they may share keys, add [[pairs]] with master = "{master}" and slaves = '
                    f"{json.dumps(slaves)}, and reload; if there is such a rule, the other site must demand the same "
                    "`relay` as it; and see that their homes are known here (`qss route show`)",
                )
            case ev.DrawReady() | ev.DrawFailed() | ev.Wanted():
                self._drawers.tell(effect)
            case ev.Erase(stream, parts):
                self._erasures.start(self._erase(self._link, stream, parts))
            case ev.OpenSource(pair, stream, chunk_bytes):
                self.sources.open(pair, stream, chunk_bytes)
            case ev.CloseSource(pair, stream):
                self.sources.close(pair, stream)
            case ev.PairAbsent(pair):
                if self._causes.is_new(pair, "no module"):
                    self._log.warning(
                        "the neighbour opened a key stream of a device pair of which no module is attached here",
                        pair=str(pair),
                        remedy="start this site's module of the pair, or its exchange (`qss module start`); if there "
                        "is none, see that [[links]] names the same pairs at both ends",
                    )
            case ev.Discard(handle):
                self.sources.settle(handle)
            case ev.Disconnect(reason):
                self._session.disconnect(reason)
            case ev.RestoreNoticed():
                self._restore_noticed(self, effect)
            case ev.BurnedRestored(bits):
                self._log.warning("a store was restored: all key of this link was burned", audit=True, bits=bits)
            case ev.Rebuild(reason):
                self._log.error("the link starts over from the store", reason=reason)
                if not self._stopping:
                    self._tasks.start(self._rebuild())
            case _:
                assert_never(effect)

    async def _make_durable(self, link: Link, commit: ev.Commit) -> None:
        batch: list[SealedChange] = [PutStream(record) for record in commit.streams]
        batch += [PutReservation(record) for record in commit.reservations]
        batch += [DropReservation(self._settings.peer, reservation) for reservation in commit.dropped_reservations]
        batch += [PutKey(stream, start, self.sources.material(handle)) for stream, start, handle in commit.keys]
        batch += [DropStream(stream) for stream in commit.dropped_streams]
        batch += [PutAnswer(record) for record in commit.answers]
        batch += [DropAnswer(self._settings.peer, digest) for digest in commit.dropped_answers]
        batch += [PutRecall(record) for record in commit.recalls]
        batch += [DropRecall(self._settings.peer, number) for number in commit.dropped_recalls]
        if commit.peer is not None:
            batch.append(PutPeer(commit.peer))
        event: ev.Event = ev.Committed(commit.token)
        try:
            await self._commit(batch)
        except QssError as error:
            await asyncio.sleep(0)  # a refusal can come at once: before all effects of the event are carried out
            event = ev.CommitFailed(commit.token, str(error))
        for _, _, handle in commit.keys:
            self.sources.settle(handle)
        if link is self._link:
            self._handle(event)

    async def _erase(self, link: Link, stream: StreamId, parts: tuple[Range, ...]) -> None:
        try:
            await self._store.erase_key(stream, parts, self._fence)
        except QssError as error:
            if isinstance(error, StoreDamaged):  # nothing is repeated: the site ends
                self._defect(error)
                return
            self._log.warning("erasure failed, to be repeated", reason=str(error))
            if link is self._link:
                self._handle(ev.EraseFailed(stream, parts))

    async def _rebuild(self) -> None:
        """Start over from what is durable, once no commit of the old core is under way."""
        await self.sources.end()
        await asyncio.sleep(_REBUILD_PAUSE_S)
        await self._commits.finished()
        await self.sources.drained()
        while True:
            await self._session.end()
            await self._released.wait()
            try:
                contents = await self._store.contents()
            except QssError as error:
                self._log.error("store cannot be read", reason=str(error))
                if isinstance(error, StoreDamaged):
                    self._defect(error)
                await asyncio.sleep(_REBUILD_PAUSE_S)
                continue
            # A connection that came meanwhile has greeted a link that heeds nothing: it has to go first.
            if self._released.is_set() and self._session.security is None:
                self._load(contents, self._link.trouble)
                return
