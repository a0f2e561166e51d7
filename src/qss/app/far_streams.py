"""The end-to-end streams of a site: their modules, whose device is the relay, and the connections to far sites.

A stream begins when a request at either end wants key of it, and its module goes when nobody has used it for long; the
link to a far site stays, since keys may wait on it. The site with the lower ID dials; the other one knocks (Relay 2.2).

Not here: how sites reach each other (`far_calls`), when there is how much key (`core.keyserver.warmth`), how it is
relayed (`runtime.relay`), nor who may ask.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import structlog

from qss.app.far_stream import FarStream
from qss.app.far_waits import Waits
from qss.app.knocking import keep_knocking
from qss.app.relay_overview import relay_status
from qss.core.keyserver.suspects import Suspects
from qss.core.keyserver.warmth import Warmth
from qss.core.module import ModuleSettings
from qss.core.reservation import Link
from qss.model.certificates import site_of
from qss.model.errors import InvalidIdentifier, LimitReached, Shortage, Unauthorised
from qss.model.identifiers import PairId, QksId
from qss.model.keys import Priority
from qss.model.relay_policy import RelayPolicy
from qss.ports.device import DeviceRole
from qss.ports.routing_table import RoutingTable
from qss.runtime.connecting import keep_connected
from qss.runtime.link import LinkRunner
from qss.runtime.module import QkdModule
from qss.runtime.relay.agreement import Agreement
from qss.runtime.relay.blocks import CHUNK_BYTES, StreamBlocks
from qss.runtime.relay.device import RelayDevice
from qss.runtime.relay.ends import Ends
from qss.runtime.relay.relaying import Relaying
from qss.runtime.site import Site
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.transport.telling import LASTS_S, Lasting, Telling
from qss.wire.relay_pair import pair_of
from qss.wire.relay_status import RelayStatus

MAX_POLICIES = 16
"""End-to-end streams with one site, one for each policy."""

SHORTEST_S = 10.0
"""A stream that was used so lately is not dropped for another one."""

LOOK_S = 5.0
"""How often it is looked which streams nobody uses any more."""

_log = structlog.get_logger(__name__)


class Calls(Protocol):
    """How far sites are reached, and reach this one."""

    async def external(self, peer: QksId) -> Connection:
        """Return a connection to a far site's key server. Raises `ConnectionLost`, `Unauthorised`."""
        ...

    async def sync(self, peer: QksId, pair: PairId) -> Connection:
        """Return a connection to a far site's module of this pair. Raises `ConnectionLost`, `Unauthorised`."""
        ...

    def offer_sync(self, peer: QksId, pair: PairId, module: QkdModule) -> None:
        """Have a far site, and nobody else, find this module."""
        ...

    def withdraw_sync(self, pair: PairId) -> None:
        """Have nobody find the module of this pair any more. No error if there is none."""
        ...


class FarStreams:
    """All methods belong to the event loop's thread."""

    def __init__(
        self,
        here: QksId,
        site: Site,
        table: RoutingTable,
        relaying: Relaying,
        calls: Calls,
        capacity_bytes: int,
        wait_s: float,
        agreement: Callable[[QksId, PairId], Agreement],
        defect: Defect,
        *,
        warm: Mapping[tuple[QksId, RelayPolicy], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Reach far sites by `calls`. Streams hold up to `capacity_bytes`, a request waits `wait_s`.

        `agreement` makes this end's part in the agreements of a hybrid stream with a site; `entropy` gives what is
        relayed. Of the streams in `warm` so many bytes are held ready in any case.
        """
        self._here = here
        self._site = site
        self._table = table
        self._relaying = relaying
        self._calls = calls
        self._capacity_bytes = capacity_bytes
        self._wait_s = wait_s
        self._agreement = agreement
        self._warm = warm or {}
        self._defect = defect
        self._clock = clock
        self._entropy = entropy
        self._suspects: defaultdict[QksId, Suspects] = defaultdict(lambda: Suspects(here))
        """By the far site: that its blocks differ is what it says itself, and concerns no stream with others."""
        self._streams: dict[tuple[QksId, PairId], FarStream] = {}
        self._connecting: set[QksId] = set()
        self._waits = Waits()
        self._telling = Telling()
        self._lasting = Lasting(clock)
        self._tasks = Tasks(defect)
        self._ending = Tasks(defect)  # not to be cancelled: modules are to stop
        self._stopped = False

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect to the far sites that there are key streams with from before."""
        for peer in self._site.links.keys() - self._site.neighbours:
            self._connect(peer)
        for peer, policy in self._warm:
            try:
                self._stream(peer, policy)
            except LimitReached as error:
                _log.warning("a stream cannot be held ready", peer=peer, policy=policy.text, reason=str(error))
        self._tasks.start(self._keep_looking(), "end-to-end streams")

    async def stop(self) -> None:
        """End all connections and modules, and begin no further ones. Can be called twice."""
        self._stopped = True
        await self._tasks.cancelled()
        for key in list(self._streams):
            self._drop(key, "this site stops")
        await self._ending.finished()

    def status(self) -> RelayStatus:
        """Return how it goes with relaying, for those who watch."""
        kept = self._streams.values(), self._suspects, self._waits, self._warm
        return relay_status(self._relaying, self._site.links, *kept, self._clock())

    # --- requests -------------------------------------------------------------------------------------------------

    def link(self, peer: QksId) -> LinkRunner:
        """As `qss.runtime.end_to_end.EndToEnd.link`."""
        return self._site.link_to(peer)

    async def filled(self, peer: QksId, policy: RelayPolicy, length: int, priority: Priority) -> None:
        """As `qss.runtime.end_to_end.EndToEnd.filled`."""
        if length > self._capacity_bytes:
            raise LimitReached(
                f"{8 * length} bits were asked for, and a stream over repeaters holds {8 * self._capacity_bytes}; "
                "nothing was consumed; ask for less at a time"
            )
        stream, text, urgent = self._stream(peer, policy), policy.text, priority is not Priority.LOW

        def is_there(link: Link) -> bool:
            return link.up and link.key_count(length, text) > 0 and stream.is_turn_of(priority)

        self._note_want(stream, 0, urgent=urgent)  # before the other end is reached, which may take a while
        with stream.waiting_for(priority, length), self._waits.counted(peer, ready=is_there(stream.runner.core)):
            try:
                async with asyncio.timeout(self._wait_s):
                    await stream.runner.until(lambda link: link.up)
                    self._want(stream, length, urgent=urgent)
                    await stream.runner.until(is_there)
            except TimeoutError:
                raise Shortage(stream.why(self._wait_s)) from None

    def _want(self, stream: FarStream, length: int, *, urgent: bool) -> None:
        """Have the stream's source fill it; or have its other end, which may have dropped its module, take part."""
        stream.runner.want(stream.ends.pair, stream.ends.policy.text, length, urgent=urgent)
        self._note_want(stream, length, urgent=urgent)

    def _note_want(self, stream: FarStream, length: int, *, urgent: bool) -> None:
        if stream.blocks is not None:
            stream.blocks.want(length, urgent=urgent)
        else:
            stream.warmth.want(self._clock(), length, urgent=urgent)

    # --- the other end --------------------------------------------------------------------------------------------

    def wanted(self, peer: QksId, pair: PairId, text: str, length: int, *, urgent: bool) -> None:
        """The other end uses the stream of this policy, or wants to, and so much key of it."""
        if self._stopped:
            return
        try:
            policy = RelayPolicy.from_text(text)
            if pair_of(self._here, peer, policy) != pair or not policy.avoid.isdisjoint({self._here, peer}):
                raise InvalidIdentifier("it is not the stream of that policy")  # noqa: TRY301
            stream = self._stream(peer, policy)
        except (InvalidIdentifier, LimitReached) as error:
            if (unsaid := self._telling.unsaid((peer, type(error)))) is not None:
                reason = str(error)
                _log.warning("a far site wants key of a stream that cannot be", peer=peer, reason=reason, unsaid=unsaid)
            return
        self._note_want(stream, min(length, self._capacity_bytes), urgent=urgent)

    async def take(self, connection: Connection) -> None:
        """Serve the External connection of a far site that dials; one that is to be dialled has knocked, and is."""
        if self._stopped:
            await connection.close()
            return
        peer = site_of(connection.peer)
        if peer not in self._table.graph.externals:
            if self._lasting.lasts(peer):
                raise Unauthorised(
                    f"site {peer} is not known to routing here, so nothing can be relayed to it: no link of it is up, "
                    "or it is none of this network (`qss route show`)"
                )
            await connection.close()  # after a start, that site may be the first to hear of the other
            return
        runner = self._site.link_to(peer)
        if peer < self._here:
            await runner.serve(connection)
        else:
            await connection.close()
            self._connect(peer)

    # --- streams --------------------------------------------------------------------------------------------------

    def _stream(self, peer: QksId, policy: RelayPolicy) -> FarStream:
        pair = pair_of(self._here, peer, policy)
        stream = self._streams.get((peer, pair))
        if stream is None:
            self._make_room(peer)
            runner = self._site.link_to(peer)
            if peer not in self._site.neighbours:
                self._connect(peer)
            stream = self._streams[peer, pair] = self._begin(Ends(self._here, peer, pair, policy), runner)
        return stream

    def _make_room(self, peer: QksId) -> None:
        """Drop the stream with a site that nobody has used for longest, if there are as many as may be."""
        now = self._clock()
        unused = {key: each.warmth.unused_s(now) for key, each in self._streams.items() if key[0] == peer}
        if len(unused) < MAX_POLICIES:
            return
        longest = max(unused, key=lambda key: unused[key])
        if unused[longest] < SHORTEST_S:
            raise LimitReached(
                f"there are {MAX_POLICIES} end-to-end streams with site {peer}, which is as many as may be, and all "
                "are in use; nothing was consumed; use a policy that is in use, or try again in a minute"
            )
        self._drop(longest, "it makes room for a stream of another policy")

    def _begin(self, ends: Ends, runner: LinkRunner) -> FarStream:
        is_source = ends.here < ends.peer
        warmth = Warmth(self._capacity_bytes, self._warm.get((ends.peer, ends.policy), 0))
        stream = FarStream(ends, runner, warmth, Tasks(self._defect))
        blocks = StreamBlocks(
            ends,
            self._relaying,
            lambda: self._table.graph,
            self._suspects[ends.peer],
            stream.warmth,
            stream,
            self._clock,
            self._entropy,
        )
        agreement = None if ends.policy.hybrid is None else self._agreement(ends.peer, ends.pair)
        module = stream.module = QkdModule(
            RelayDevice(blocks, partial(self._relaying.take, ends, relayed=stream.relayed), self._defect, agreement),
            DeviceRole.INITIATOR if is_source else DeviceRole.RESPONDER,
            ends.peer,
            self._defect,
            entropy=self._entropy,
            clock=self._clock,
            settings=ModuleSettings(silence_s=math.inf),  # what is not needed is not owed
            called="the end-to-end stream",
            chunk_bytes=CHUNK_BYTES,
            differed=blocks.differed if is_source else None,
        )
        if is_source:
            stream.blocks = blocks
            stream.unwatch = module.watch(stream.attach_once_connected)
            stream.tasks.start(self._run_source(stream), f"end-to-end stream with {ends.peer}")
        else:
            stream.unwatch = _nothing_to_unwatch
            runner.sources.attach(ends.pair, module, ends.policy.text)
            self._calls.offer_sync(ends.peer, ends.pair, module)
        return stream

    async def _run_source(self, stream: FarStream) -> None:
        """Have the other end attach its module whenever the link has come up anew, and connect this end's to it."""
        ends, runner, module = stream.ends, stream.runner, stream.module
        call = partial(self._calls.sync, ends.peer, ends.pair)
        dialling = None
        while True:
            await runner.until(lambda link: link.up)
            runner.want(ends.pair, ends.policy.text, 0, urgent=True)
            if dialling is None:  # a module that is not attached yet takes no connection
                keeping = keep_connected(ends.peer, call, module.serve, told_after_s=LASTS_S)
                dialling = stream.tasks.start(keeping, f"Sync with {ends.peer}")
            await runner.until(lambda link: not link.up)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = self._clock()
            for key, stream in list(self._streams.items()):
                stream.warmth.used(now, stream.taken())
                if stream.warmth.is_idle(now):
                    self._drop(key)
                elif (stream.ends.peer, stream.ends.policy) in self._warm:
                    self._keep_ready(stream, now)

    def _keep_ready(self, stream: FarStream, now: float) -> None:
        """Have the other end of a stream that is to be held ready not drop it; and fill it, where it is the source."""
        pair, text = stream.ends.pair, stream.ends.policy.text
        stream.runner.want(pair, text, 0, urgent=True)
        if stream.blocks is None and stream.runner.core.up and (lacking := stream.warmth.asks(now, stream.stock())):
            stream.runner.want(pair, text, lacking, urgent=False)

    def _drop(self, key: tuple[QksId, PairId], reason: str = "nobody uses its end-to-end stream") -> None:
        stream = self._streams.pop(key)
        stream.unwatch()  # first: what follows changes what is watched
        self._calls.withdraw_sync(stream.ends.pair)
        stream.runner.sources.detach(stream.ends.pair, reason)
        self._ending.start(_end(stream))

    # --- connections ----------------------------------------------------------------------------------------------

    def _connect(self, peer: QksId) -> None:
        """Keep a connection for External to a far site, or have that site keep one."""
        if peer in self._connecting:
            return
        self._connecting.add(peer)
        runner = self._site.links[peer]
        if self._here < peer:
            call = partial(self._calls.external, peer)
            keeping = keep_connected(peer, call, runner.serve, told_after_s=LASTS_S)
            self._tasks.start(keeping, f"connection to {peer}")
        else:
            self._tasks.start(keep_knocking(peer, partial(self._calls.external, peer), runner), f"knocking at {peer}")


async def _end(stream: FarStream) -> None:
    await stream.tasks.cancelled()
    await stream.module.stop()


def _nothing_to_unwatch() -> None:
    """Nobody watches the module of a destination: it is attached from the beginning."""
