"""The key sources of a link, one for each device pair, and a feed for each stream that is open.

Sources are attached and detached while the link runs: at the start by the composition, later as modules come and go.
What a detached one has given is still passed on. The core decides what is opened and when; this shell moves bytes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping

from structlog.typing import FilteringBoundLogger

from qss.core.reservation import LinkSettings
from qss.core.reservation import events as ev
from qss.core.reservation.pairs import MAX_PAIRS
from qss.model.errors import ConnectionLost, DeviceError, LimitReached
from qss.model.identifiers import PairId, StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.key_source import KeySource
from qss.runtime.causes import Causes
from qss.runtime.feed import Feed
from qss.runtime.tasks import Defect, Tasks


class Sources:
    """What a link takes its key from. All methods belong to the event loop's thread."""

    def __init__(
        self,
        settings: LinkSettings,
        attached: Mapping[PairId, KeySource],
        handle: Callable[[ev.Event], None],
        wants_key: Callable[[StreamId], bool],
        knows: Callable[[StreamId], bool],
        defect: Defect,
        log: FilteringBoundLogger,
    ) -> None:
        """Take what is attached at first, who hears of streams and key, and who says what is wanted and what here."""
        self._settings = settings
        self._handle = handle
        self._wants_key = wants_key
        self._knows = knows
        self._log = log
        self._attached = dict(attached)
        self._policies: dict[PairId, str] = {}
        self._feeds: dict[StreamId, tuple[KeySource, Feed]] = {}
        self._stored: dict[int, tuple[KeyMaterial, asyncio.Future[None]]] = {}
        self._causes = Causes()
        self._numbers = itertools.count(1)
        self._calls = Tasks(defect)
        self._feeding = Tasks(defect)
        self._stopping = False

    # --- attached or not ------------------------------------------------------------------------------------------

    def attach(self, pair: PairId, source: KeySource, policy: str = "") -> None:
        """Let the link take key from this source. One that was attached for the pair is detached.

        `policy` is that of a source whose device is the relay. Raises `LimitReached` if the link has as many pairs as
        it may.
        """
        if pair in self._attached:
            self.detach(pair, "another module of its device pair has taken its place")
        if len(self._attached) >= MAX_PAIRS:
            raise LimitReached(f"the link has {MAX_PAIRS} device pairs, which is as many as may be: detach one first")
        self._attached[pair] = source
        self._policies[pair] = policy
        self._log.info("module attached", pair=str(pair))
        self._handle(ev.SourceAttached(pair, policy))

    def detach(self, pair: PairId, reason: str) -> None:
        """Let the link take no more key from the source of this pair; its stream ends. No error if there is none."""
        self._causes.over(pair)
        if self._attached.pop(pair, None) is not None:
            self._policies.pop(pair, None)
            self._log.info("module detached", pair=str(pair), reason=reason)
            self._handle(ev.SourceDetached(pair, reason))

    def announce(self) -> None:
        """Tell a core that has just been made what is attached."""
        for pair in self._attached:
            self._handle(ev.SourceAttached(pair, self._policies.get(pair, "")))

    def relayed(self, stream: StreamId, repeaters: int) -> None:
        """Key that is about to come on this stream has passed through at most so many repeaters."""
        self._handle(ev.KeyRelayed(stream, repeaters))

    # --- streams --------------------------------------------------------------------------------------------------

    def open(self, pair: PairId, stream: StreamId | None, chunk_bytes: int | None) -> None:
        """Open or join a stream; `SourceOpened` or `SourceEnded` follows."""
        self._calls.start(self._open(pair, stream, chunk_bytes))

    def close(self, pair: PairId, stream: StreamId) -> None:
        """End a stream; if it is open, `SourceEnded` follows when all that it gave is passed on."""
        self._calls.start(self._close(pair, stream))

    def material(self, handle: int) -> KeyMaterial:
        """Return the key that waits under this handle."""
        return self._stored[handle][0]

    def keep(self, material: KeyMaterial) -> int:
        """Let key that came otherwise wait to be stored; return its handle."""
        handle = next(self._numbers)
        self._stored[handle] = (material, asyncio.get_running_loop().create_future())
        return handle

    def settle(self, handle: int) -> None:
        """Forget what waits under this handle: it is durable, or of no use."""
        _, future = self._stored.pop(handle)
        if not future.done():
            future.set_result(None)

    async def end(self) -> None:
        """End all streams."""
        for stream, (source, feed) in list(self._feeds.items()):
            feed.close()
            await source.close(stream)

    async def drained(self) -> None:
        """Return when no feed is left, once all streams have ended."""
        await self._feeding.finished()

    async def stop(self) -> None:
        """End all streams, and open none any more."""
        self._stopping = True
        await self._calls.cancelled()  # first: one of them may be about to start a feed
        await self.end()
        await self._feeding.cancelled()

    async def finished(self) -> None:
        """Return when nothing is under way any more, once this was stopped."""
        await self._calls.finished()

    async def _open(self, pair: PairId, stream: StreamId | None, chunk_bytes: int | None) -> None:
        if self._stopping:
            return
        source, settings = self._attached.get(pair), self._settings
        if source is None:  # detached since the core asked
            self._handle(ev.SourceEnded(pair, stream))
            return
        try:
            opened = await source.open_connect(settings.here, settings.peer, stream, chunk_bytes)
        except (DeviceError, ConnectionLost) as error:
            if self._causes.is_new(pair, str(error)):
                self._log.info("no key stream", pair=str(pair), reason=str(error))
            self._handle(ev.SourceEnded(pair, stream))
            return
        if self._attached.get(pair) is not source or (stream is None and self._knows(opened.stream)):
            if self._attached.get(pair) is source:
                name = str(opened.stream)
                self._log.error("a module named its key stream as one that is here is", pair=str(pair), name=name)
            await source.close(opened.stream)
            self._handle(ev.SourceEnded(pair, stream))
            return
        self._causes.over(pair)
        self._log.info("key stream opened", pair=str(pair), stream=str(opened.stream), chunk_bytes=opened.chunk_bytes)
        self._handle(ev.SourceOpened(pair, opened.stream, opened.chunk_bytes))
        feed = Feed(
            source,
            opened.stream,
            opened.chunk_bytes,
            lambda: self._wants_key(opened.stream),
            lambda material: self._store(opened.stream, material),
        )
        self._feeds[opened.stream] = source, feed
        self._feeding.start(self._run_feed(pair, source, feed, opened.stream))

    async def _run_feed(self, pair: PairId, source: KeySource, feed: Feed, stream: StreamId) -> None:
        try:
            reason = await feed.run()
        finally:
            del self._feeds[stream]
        self._log.info("key stream ended", pair=str(pair), stream=str(stream), reason=reason)
        await source.close(stream)
        self._handle(ev.SourceEnded(pair, stream))

    async def _close(self, pair: PairId, stream: StreamId) -> None:
        source = self._attached.get(pair)
        if stream in self._feeds:
            source, feed = self._feeds[stream]
            feed.close()
        if source is not None:
            await source.close(stream)

    async def _store(self, stream: StreamId, material: KeyMaterial) -> None:
        handle = self.keep(material)
        _, settled = self._stored[handle]
        self._handle(ev.KeyArrived(stream, handle, len(material)))
        await settled
