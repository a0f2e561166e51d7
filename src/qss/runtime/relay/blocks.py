"""Blocks of one end-to-end stream, at its source: when one is needed, over which paths it goes, and another try.

Shares are fresh random bytes for each attempt; the block is their sum (Relay 1.2). What was voided is never sent again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from qss.core.keyserver.block_size import BlockSize
from qss.core.keyserver.relay_paths import choose_paths
from qss.core.keyserver.suspects import Link, Suspects
from qss.core.keyserver.warmth import Warmth
from qss.crypto.block_check import CHECK_BYTES
from qss.crypto.hops import key_bytes
from qss.crypto.shares import combine
from qss.model.identifiers import QksId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.network import Graph
from qss.runtime.relay.device import Made
from qss.runtime.relay.ends import Ends, Portion
from qss.runtime.relay.relaying import Relaying, TransferFailed
from qss.transport.telling import Telling
from qss.wire import relay as wire

CHUNK_BYTES = 1024
"""Of end-to-end streams: what is relayed for one small key."""

LONGEST_PAUSE_S = 1.0
"""Between attempts, if there is no path."""

_FIRST_PAUSE_S = 0.02

_LOOK_S = 0.1
_REMEMBERED = 256
_ID_BYTES = 16
_MOST_CHUNKS = (wire.MAX_CARRIED - CHECK_BYTES) // CHUNK_BYTES

Paths = tuple[tuple[QksId, ...], ...]

_log = structlog.get_logger(__name__)


class Stock(Protocol):
    """What is known of the stream's key at this end."""

    def stock(self) -> int:
        """Return the bytes that are here, or about to be."""
        ...

    def taken(self) -> int:
        """Return the bytes that were taken since this was asked last."""
        ...

    def relayed(self, repeaters: int) -> None:
        """A block is about to come that has passed through so many repeaters, on the longest of its paths."""
        ...


class StreamBlocks:
    """Implements `qss.runtime.relay.device.Blocks`."""

    def __init__(
        self,
        ends: Ends,
        relaying: Relaying,
        graph: Callable[[], Graph],
        suspects: Suspects,
        warmth: Warmth,
        stock: Stock,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        """Relay by `relaying` over paths of `graph` that keep clear of `suspects`; `entropy` gives secret bytes."""
        self._ends = ends
        self._relaying = relaying
        self._graph = graph
        self._suspects = suspects
        self._warmth = warmth
        self._stock = stock
        self._clock = clock
        self._entropy = entropy
        self._news = asyncio.Event()
        self._under_way: dict[int, int] = {}
        """Lengths of the blocks that are being made."""
        self._size = BlockSize(_MOST_CHUNKS)
        self._paths: OrderedDict[int, Paths] = OrderedDict()
        self._seen = Graph()
        self._found: dict[tuple[int, frozenset[QksId], frozenset[Link]], Paths] = {}
        """What was found in the network as it is: all blocks look for the same, again and again if there is nothing."""
        self._telling = Telling()
        self.trouble = ""
        """Why the last attempt came to nothing; empty since one came to something."""

    # --- how much -------------------------------------------------------------------------------------------------

    def want(self, length: int, *, urgent: bool = True) -> None:
        """Somebody waits for so many bytes; if not `urgent`, until links have more than others are likely to need."""
        self._warmth.want(self._clock(), length, urgent=urgent)
        self._news.set()

    def needed(self, on_their_way: int) -> int:
        """As `Blocks.needed`: first what somebody waits for, and no more; then what is to be held ready."""
        now = self._clock()
        self._warmth.used(now, self._stock.taken())
        there = self._stock.stock() + on_their_way
        missing, target = self._warmth.urgent(now) - there, self._warmth.target(now)
        if missing <= 0:
            missing = target - there
            if missing <= 0 or missing < target / 4:
                return 0
        return _length_of(min(self._size.most, -(-missing // CHUNK_BYTES)))

    def _is_urgent(self, number: int) -> bool:
        """Whether somebody waits for this block: what is there, and made before it, is not enough."""
        before = sum(length for other, length in self._under_way.items() if other < number)
        return self._warmth.urgent(self._clock()) > self._stock.stock() + before

    async def news(self) -> None:
        """As `Blocks.news`."""
        self._news.clear()
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._news.wait()
        except TimeoutError:
            pass

    # --- making ---------------------------------------------------------------------------------------------------

    async def make(self, number: int, length: int) -> Made:
        """As `Blocks.make`."""
        self._under_way[number] = length
        try:
            return await self._make(number, length)
        finally:
            del self._under_way[number]

    async def _make(self, number: int, length: int) -> Made:
        pause, attempts = _FIRST_PAUSE_S, 0
        while True:
            urgent = self._is_urgent(number)
            chunks = (length - CHECK_BYTES) // CHUNK_BYTES
            bits = 8 * key_bytes(self._ends.policy.hop, length)
            links = self._suspects.links(self._clock())
            # What links have left is known as of a while ago: what seems too little may do, if somebody waits.
            paths = self._choose(bits, links)
            anyway = paths or self._choose(0, links)
            if urgent:
                paths = anyway
            if not paths and urgent and pause >= LONGEST_PAUSE_S:
                paths = self._choose_in_need(links)
            if not paths:
                self.trouble = self.trouble or f"there is no path with key to site {self._ends.peer}"
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                if anyway:  # nobody waits, and links may have what less of it takes
                    length = _length_of(self._size.ran_short(chunks))
                continue
            pause, began = _FIRST_PAUSE_S, self._clock()
            made, failures = await self._attempt(number, length, paths, urgent=urgent)
            if made is not None:
                self.trouble = ""
                self._size.arrived(chunks, self._clock() - began)
                self._stock.relayed(max(map(len, paths)) - 2)
                return made
            if wire.Reason.SHORTAGE in failures:  # of half as much there may be enough: what is missing comes later
                length = _length_of(self._size.ran_short(chunks))
            elif wire.Reason.LATE in failures:
                length = _length_of(self._size.was_late(chunks))
            if attempts:  # what is drawn in vain is burned: another path is tried at once, and then not in haste
                await asyncio.sleep(min(_FIRST_PAUSE_S * 2**attempts, LONGEST_PAUSE_S))
            attempts += 1

    def _choose_in_need(self, links: frozenset[Link]) -> Paths:
        """Return paths over links that are passed by, where there are no others: first only over this site's own."""
        own = frozenset(link for link in links if self._ends.here in link)
        return self._choose(0, links - own) or self._choose(0, frozenset())

    def _choose(self, bits: int, links: frozenset[Link]) -> Paths:
        """Return the best paths whose links have so many bits left, and that keep clear of suspects and these links."""
        ends, graph, sites = self._ends, self._graph(), self._suspects.sites(self._clock())
        if graph is not self._seen or len(self._found) >= _REMEMBERED:
            self._seen, self._found = graph, {}
        if (bits, sites, links) not in self._found:
            found = choose_paths(graph, ends.here, ends.peer, ends.policy, bits, sites, links)
            self._found[bits, sites, links] = tuple(path.sites for path in found)
        return self._found[bits, sites, links]

    async def _attempt(
        self, number: int, length: int, paths: Paths, *, urgent: bool
    ) -> tuple[Made | None, set[wire.Reason]]:
        """Return the block, or why nothing came of it."""
        shares = [KeyMaterial(self._entropy(length)) for _ in paths]
        begins = [
            self._ends.begin(self._entropy(_ID_BYTES), path, length, Portion(number, share, len(paths)), urgent=urgent)
            for share, path in enumerate(paths)
        ]
        failures = set()
        for begin, path, outcome in zip(begins, paths, await self._carried(begins, shares), strict=True):
            if isinstance(outcome, TransferFailed):
                failures.add(outcome.reason)
                self._note_failure(TransferId(begin.transfer), path, outcome)
            elif outcome is None:
                self._suspects.worked(path)
            elif not isinstance(outcome, asyncio.CancelledError):  # of no use any more once another one has failed
                raise outcome
        if failures:
            return None, failures
        self._paths[number] = paths
        if len(self._paths) > _REMEMBERED:
            self._paths.popitem(last=False)
        return Made(tuple(TransferId(begin.transfer) for begin in begins), combine(shares)), failures

    async def _carried(
        self, begins: Sequence[wire.Begin], shares: Sequence[KeyMaterial]
    ) -> Sequence[BaseException | None]:
        """Carry all shares at once, until they have arrived or one of them cannot; return what became of each."""
        carrying = [asyncio.ensure_future(task) for task in map(self._relaying.carry, begins, shares)]
        try:
            await asyncio.wait(carrying, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for each in carrying:
                each.cancel()
            outcomes = await asyncio.gather(*carrying, return_exceptions=True)
        return outcomes

    def _note_failure(self, transfer: TransferId, path: tuple[QksId, ...], failure: TransferFailed) -> None:
        self.trouble = f"relaying to site {self._ends.peer} failed: {failure}"
        self._suspects.failed(self._clock(), path, failure.site, failure.reason)
        where = {"site": failure.site, "reason": str(failure.reason), "path": " ".join(path)}
        _log.info("a transfer failed", audit="alone", transfer=str(transfer), policy=self._ends.policy.text, **where)
        if (unsaid := self._telling.unsaid((failure.site, failure.reason))) is not None:
            _log.info(
                "a transfer failed, and another path is tried",
                peer=self._ends.peer,
                unsaid=unsaid,
                **where,
            )

    # --- blocks that differ ---------------------------------------------------------------------------------------

    def differed(self, number: int) -> None:
        """The two ends have found that they hold different blocks of this number (Relay 6.5)."""
        paths = self._paths.pop(number, ())
        blamed = self._suspects.differed(self._clock(), paths)
        self.trouble = f"a block that was relayed to site {self._ends.peer} was changed on its way"
        _log.error(
            "a relayed block was changed on its way: it was burned, and these repeaters are passed by",
            audit=True,
            peer=self._ends.peer,
            policy=self._ends.policy.text,
            sites=", ".join(sorted(blamed)),
            paths="; ".join(" ".join(path) for path in paths),
            remedy="have the operators of these sites look at them: one of them did not pass on what it was given",
        )


def _length_of(chunks: int) -> int:
    """Return how long a block is of which so many chunks remain."""
    return chunks * CHUNK_BYTES + CHECK_BYTES
