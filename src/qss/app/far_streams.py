"""The end-to-end streams of a site: their modules, whose device is the relay, and the connections to far sites.

A stream begins when a request at either end wants key of it, and its module goes when nobody has used it for long; the
link to a far site stays, since keys may wait on it. The site with the lower ID dials; the other one knocks (Relay 2.2).

Not here: when there is how much key (`core.keyserver.warmth`), how it is relayed (`runtime.relay`), nor who may ask.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from qss.app.connecting import EXTERNAL_PATH, sync_path, sync_route
from qss.core.keyserver.suspects import Suspects
from qss.core.keyserver.warmth import Warmth
from qss.core.module import Phase
from qss.model.addresses import Address
from qss.model.certificates import site_of
from qss.model.errors import ConnectionLost, InvalidIdentifier, LimitReached, QssError, Shortage, Unauthorised
from qss.model.identifiers import PairId, QksId, StreamId
from qss.model.relay_policy import RelayPolicy
from qss.ports.device import DeviceRole
from qss.ports.routing_table import RoutingTable
from qss.runtime.connecting import call_peer, keep_connected
from qss.runtime.link import LinkRunner
from qss.runtime.module import QkdModule
from qss.runtime.relay.agreement import Agreement
from qss.runtime.relay.blocks import CHUNK_BYTES, Ends, StreamBlocks
from qss.runtime.relay.device import RelayDevice
from qss.runtime.relay.relaying import Relaying
from qss.runtime.site import Site
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.transport.listening import Listener
from qss.wire import external, sync
from qss.wire.relay_pair import pair_of

MAX_POLICIES = 16
"""End-to-end streams with one site, one for each policy."""

LOOK_S = 5.0
"""How often it is looked which streams nobody uses any more."""

KNOCK_S = 0.5
"""How often a site that is to dial is asked to."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class FarStream:
    """One end-to-end stream at this end."""

    ends: Ends
    runner: LinkRunner
    warmth: Warmth
    tasks: Tasks
    module: QkdModule = field(init=False)
    blocks: StreamBlocks | None = None
    """What makes blocks, at the source."""
    heads: dict[StreamId, int] = field(default_factory=dict)
    """How far each stream was allocated when that was looked at last."""

    def stock(self) -> int:
        """As `qss.runtime.relay.blocks.Stock`.

        What earlier streams have left is not counted: it may be in pieces that no request fits into.
        """
        link = self.runner.core
        filled = link.open_stream(self.ends.pair)
        return self.module.held_bytes + sum(record.available for record in link.streams if record.stream == filled)

    def taken(self) -> int:
        """As `qss.runtime.relay.blocks.Stock`."""
        before, self.heads = self.heads, {}
        taken = 0
        for record in self.runner.core.streams:
            if record.policy == self.ends.policy.text:
                self.heads[record.stream] = record.head
                taken += max(0, record.head - before.get(record.stream, record.head))
        return taken


class FarStreams:
    """All methods belong to the event loop's thread."""

    def __init__(
        self,
        here: QksId,
        site: Site,
        table: RoutingTable,
        relaying: Relaying,
        context: ssl.SSLContext,
        listener: Listener,
        capacity_bytes: int,
        wait_s: float,
        agreement: Callable[[QksId, PairId], Agreement],
        defect: Defect,
    ) -> None:
        """Dial by `context`, take Sync at `listener`; streams hold up to `capacity_bytes`, a request waits `wait_s`.

        `agreement` makes this end's part in the agreements of a hybrid stream with a site.
        """
        self._here = here
        self._site = site
        self._table = table
        self._relaying = relaying
        self._context = context
        self._listener = listener
        self._capacity_bytes = capacity_bytes
        self._wait_s = wait_s
        self._agreement = agreement
        self._defect = defect
        self._suspects = Suspects(here)
        self._streams: dict[tuple[QksId, PairId], FarStream] = {}
        self._connecting: set[QksId] = set()
        self._tasks = Tasks(defect)

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect to the far sites that there are key streams with from before."""
        for peer in self._site.links.keys() - self._site.neighbours:
            self._connect(peer)
        self._tasks.start(self._keep_looking(), "end-to-end streams")

    async def stop(self) -> None:
        """End all connections and modules."""
        await self._tasks.cancelled()
        for key in list(self._streams):
            await self._drop(key)

    # --- requests -------------------------------------------------------------------------------------------------

    def link(self, peer: QksId) -> LinkRunner:
        """As `qss.runtime.end_to_end.EndToEnd.link`."""
        return self._site.link_to(peer)

    async def filled(self, peer: QksId, policy: RelayPolicy, length: int) -> None:
        """As `qss.runtime.end_to_end.EndToEnd.filled`."""
        if length > self._capacity_bytes:
            raise LimitReached(
                f"{8 * length} bits were asked for, and a stream over repeaters holds {8 * self._capacity_bytes}; "
                "nothing was consumed; ask for less at a time"
            )
        stream, text = self._stream(peer, policy), policy.text
        try:
            async with asyncio.timeout(self._wait_s):
                await stream.runner.until(lambda link: link.up)
                self._want(stream, length)
                await stream.runner.until(lambda link: link.up and link.key_count(length, text) > 0)
        except TimeoutError:
            raise Shortage(self._why(stream)) from None

    def _want(self, stream: FarStream, length: int) -> None:
        """Have the stream's source fill it."""
        if stream.blocks is not None:
            stream.blocks.want(length)
        else:
            stream.warmth.want(time.monotonic(), length)
            stream.runner.want(stream.ends.pair, stream.ends.policy.text, length)

    def _why(self, stream: FarStream) -> str:
        peer = stream.ends.peer
        if not stream.runner.core.up:
            reason = f"site {peer} cannot be reached"
        elif stream.blocks is not None and stream.blocks.trouble:
            reason = stream.blocks.trouble
        else:
            reason = f"not enough key could be relayed to site {peer}"
        return f"{reason}, within {self._wait_s:g} s; nothing was consumed; try again later, or ask for less"

    # --- the other end --------------------------------------------------------------------------------------------

    def wanted(self, peer: QksId, pair: PairId, text: str, length: int) -> None:
        """The other end uses the stream of this policy, or wants to, and so much key of it."""
        try:
            policy = RelayPolicy.from_text(text)
            if pair_of(self._here, peer, policy) != pair:
                raise InvalidIdentifier("it is not the stream of that policy")  # noqa: TRY301
            stream = self._stream(peer, policy)
        except (InvalidIdentifier, LimitReached) as error:
            _log.warning("a far site wants key of a stream that cannot be", peer=peer, reason=str(error))
            return
        if stream.blocks is not None:
            stream.blocks.want(min(length, self._capacity_bytes))
        else:
            stream.warmth.want(time.monotonic(), 0)

    async def take(self, connection: Connection) -> None:
        """Serve the External connection of a far site that dials; one that is to be dialled has knocked, and is."""
        peer = site_of(connection.peer)
        if peer not in self._table.graph.externals:
            raise Unauthorised(f"site {peer} is not known to routing here: nothing can be relayed to it")
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
            if sum(each == peer for each, _ in self._streams) >= MAX_POLICIES:
                raise LimitReached(
                    f"there are {MAX_POLICIES} end-to-end streams with site {peer}, which is as many as may be; "
                    "nothing was consumed; use a policy that is in use, or try again in some minutes"
                )
            runner = self._site.link_to(peer)
            if peer not in self._site.neighbours:
                self._connect(peer)
            stream = self._streams[peer, pair] = self._begin(Ends(self._here, peer, pair, policy), runner)
        return stream

    def _begin(self, ends: Ends, runner: LinkRunner) -> FarStream:
        is_source = ends.here < ends.peer
        stream = FarStream(ends, runner, Warmth(self._capacity_bytes), Tasks(self._defect))
        blocks = StreamBlocks(
            ends,
            self._relaying,
            lambda: self._table.graph,
            self._suspects,
            stream.warmth,
            stream,
            time.monotonic,
            os.urandom,
        )
        agreement = None if ends.policy.hybrid is None else self._agreement(ends.peer, ends.pair)
        module = stream.module = QkdModule(
            RelayDevice(blocks, self._relaying.take, self._defect, agreement),
            DeviceRole.INITIATOR if is_source else DeviceRole.RESPONDER,
            ends.peer,
            self._defect,
            chunk_bytes=CHUNK_BYTES,
            differed=blocks.differed if is_source else None,
        )
        stream.blocks = blocks if is_source else None
        if is_source:
            stream.tasks.start(self._run_source(stream), f"end-to-end stream with {ends.peer}")
        else:
            self._listener.offer(sync_path(ends.pair), sync_route(ends.peer, module))
            runner.sources.attach(ends.pair, module, ends.policy.text)
        return stream

    async def _run_source(self, stream: FarStream) -> None:
        """Have the other end attach its module whenever the link has come up anew, and connect this end's to it."""
        ends, runner, module = stream.ends, stream.runner, stream.module
        module.watch(partial(_attach_once_connected, stream))
        call = self._calling(ends.peer, sync_path(ends.pair), sync.SUBPROTOCOL, sync.MAX_FRAME_BYTES)
        dialling = None
        while True:
            await runner.until(lambda link: link.up)
            runner.want(ends.pair, ends.policy.text, 0)
            if dialling is None:  # a module that is not attached yet takes no connection
                dialling = stream.tasks.start(keep_connected(ends.peer, call, module.serve), f"Sync with {ends.peer}")
            await runner.until(lambda link: not link.up)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            for key, stream in list(self._streams.items()):
                stream.warmth.used(now, stream.taken())
                if stream.warmth.is_idle(now):
                    await self._drop(key)

    async def _drop(self, key: tuple[QksId, PairId]) -> None:
        stream = self._streams.pop(key)
        self._listener.withdraw(sync_path(stream.ends.pair))
        stream.runner.sources.detach(stream.ends.pair, "nobody uses its end-to-end stream")
        await stream.tasks.cancelled()
        await stream.module.stop()

    # --- connections ----------------------------------------------------------------------------------------------

    def _connect(self, peer: QksId) -> None:
        """Keep a connection for External to a far site, or have that site keep one."""
        if peer in self._connecting:
            return
        self._connecting.add(peer)
        runner = self._site.links[peer]
        call = self._calling(peer, EXTERNAL_PATH, external.SUBPROTOCOL, external.MAX_FRAME_BYTES)
        if self._here < peer:
            self._tasks.start(keep_connected(peer, call, runner.serve), f"connection to {peer}")
        else:
            self._tasks.start(self._knock(runner, call), f"knocking at {peer}")

    def _calling(self, peer: QksId, path: str, subprotocol: str, max_frame: int) -> Callable[[], Awaitable[Connection]]:
        async def call() -> Connection:
            address: Address | None = self._table.graph.externals.get(peer)
            if address is None:
                raise ConnectionLost(f"routing does not know where site {peer} is")
            return await call_peer(peer, f"wss://{address}{path}", self._context, subprotocol, max_frame)

        return call

    async def _knock(self, runner: LinkRunner, call: Callable[[], Awaitable[Connection]]) -> None:
        while True:
            await runner.until(lambda link: not link.up)
            with suppress(QssError):
                connection = await call()
                await connection.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(KNOCK_S):
                    await runner.until(lambda link: link.up)


def _attach_once_connected(stream: FarStream) -> None:
    """Let the link open streams at a module that has found its other end: sooner it would be asked in vain."""
    pair, sources = stream.ends.pair, stream.runner.sources
    if stream.module.view().phase is not Phase.DOWN and pair not in stream.runner.core.attached:
        sources.attach(pair, stream.module, stream.ends.policy.text)
