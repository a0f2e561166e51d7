"""Relays of sites in a row, A to D, on connections in memory; only the key of their links is made up.

Every draw is noted, and how each end of it has ended: `Row.at_rest` fails if a site has anything left of any transfer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

from qss.core.relay import Relay, RelaySettings
from qss.core.reservation.relay_events import DrawFailure
from qss.model.errors import ConnectionLost, QssError, RemoteProtocolError
from qss.model.identifiers import QksId, StreamId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.model.relay_policy import RelayPolicy
from qss.runtime.relay.ends import Ends, Portion
from qss.runtime.relay.relaying import Relaying
from qss.wire import relay as wire
from qss.wire.relay_pair import pair_of
from support.connections import MemoryConnection, memory_pair

A, B, C, D = ROW = tuple(map(QksId, "ABCD"))
LENGTH = wire.MIN_CARRIED
POLICY = RelayPolicy()


def ends(here: QksId = A, peer: QksId = D, policy: RelayPolicy = POLICY) -> Ends:
    """Return the ends of a stream, seen from `here`."""
    return Ends(here, peer, pair_of(here, peer, policy), policy)


def begin(*path: QksId, number: int = 0, block: int = 0, of: Ends | None = None) -> wire.Begin:
    """Return how a transfer begins: the only share of a block."""
    stream = of or ends(path[0], path[-1])
    return stream.begin(number.to_bytes(16), path, LENGTH, Portion(block, 0, 1), urgent=True)


def name_of(message: wire.Begin) -> TransferId:
    return TransferId(message.transfer)


def material(number: int = 0, length: int = LENGTH) -> KeyMaterial:
    return KeyMaterial(hashlib.shake_128(b"content" + bytes([number])).digest(length))


def pad(stream: StreamId, part: Range) -> KeyMaterial:
    """Return what both ends of a link hold there."""
    return KeyMaterial(hashlib.shake_128(stream.value).digest(part.stop)[part.start :])


class Pads:
    """A site's sealed store, as far as its relay needs one. What is read can have to wait, fail, or be other bytes."""

    def __init__(self) -> None:
        self.readable = asyncio.Event()
        self.readable.set()
        self.error: QssError | None = None
        self.altered: Callable[[KeyMaterial], KeyMaterial] = lambda key: key
        self.reading = 0

    async def read_key(self, stream: StreamId, part: Range) -> KeyMaterial:
        self.reading += 1
        try:
            await self.readable.wait()
        finally:
            self.reading -= 1
        if self.error is not None:
            raise self.error
        return self.altered(pad(stream, part))


@dataclass
class LinkEnd:
    """One end of a link, as its relay sees it."""

    link: RowLink
    here: QksId
    open: dict[TransferId, bool] = field(default_factory=dict)
    """Draws that are ready here, and whether this end drew them."""
    had: list[TransferId] = field(default_factory=list)
    """Draws that were ever ready here."""
    ended: list[tuple[TransferId, bool]] = field(default_factory=list)
    """Draws that were ended here, and whether as used."""

    def draw(self, transfer: TransferId, length: int, *, urgent: bool) -> None:
        self.link.draw(self.here, transfer, length)

    def end_draw(self, transfer: TransferId, *, used: bool) -> None:
        if self.open.pop(transfer, None) is not None:
            self.ended.append((transfer, used))

    def start_over(self) -> None:
        """Know no draw any more."""
        for known in (self.open, self.had, self.ended):
            known.clear()


class RowLink:
    """A link between two neighbours: ranges are ready at both ends at once, unless a test says otherwise."""

    def __init__(self, row: Row, one: QksId, other: QksId) -> None:
        self._row = row
        self.stream = StreamId((one + other).encode().ljust(16, b"-"))
        self.head = 0
        self.ends = {one: LinkEnd(self, one), other: LinkEnd(self, other)}
        self.refuses: DrawFailure | None = None
        self.changed_length: Callable[[int], int] = lambda length: length

    def draw(self, here: QksId, transfer: TransferId, length: int) -> None:
        (there,) = self.ends.keys() - {here}
        if self.refuses is not None:  # at once, as a link does that is not up
            self._row.relays[here].undrawn(there, transfer, self.refuses, own=True)
            return
        part = Range(self.head, self.head + self.changed_length(length))
        self.head = part.stop
        for end, peer in ((here, there), (there, here)):
            asyncio.get_running_loop().call_soon(self.ready, end, peer, transfer, part, end == here)

    def ready(self, end: QksId, peer: QksId, transfer: TransferId, part: Range, own: bool) -> None:
        self.ends[end].open[transfer] = own
        self.ends[end].had.append(transfer)
        self._row.relays[end].drawn(peer, transfer, self.stream, part, own=own)


class Row:
    """The relays of a row of sites. All are connected on entry, and stopped on exit."""

    def __init__(self, *sites: QksId, settings: RelaySettings | None = None) -> None:
        self.sites = sites or ROW
        self.defects: list[BaseException] = []
        self.pads = {site: Pads() for site in self.sites}
        self.links = {(one, other): RowLink(self, one, other) for one, other in pairwise(self.sites)}
        self.connections: dict[tuple[QksId, QksId], MemoryConnection] = {}
        """By who is at this end, and at the other."""
        self._serving: set[asyncio.Task[None]] = set()
        self.relays = {site: self._relay(site, settings or RelaySettings()) for site in self.sites}

    def _relay(self, here: QksId, settings: RelaySettings) -> Relaying:
        neighbours = [peer for link in self.links for peer in link if here in link and peer != here]
        relay = Relay(here, frozenset(neighbours), settings)
        return Relaying(here, relay, self.pads[here], neighbours, self.defects.append, clock=self._time)

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    async def __aenter__(self) -> Self:
        for site, relay in self.relays.items():
            links = {
                peer: self.end(site, peer) for link in self.links for peer in link if site in link and peer != site
            }
            relay.start(_as(links))
        for one, other in self.links:
            await self.connect(one, other)
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self.pads.values():
            each.readable.set()
        await asyncio.gather(*(relay.stop() for relay in self.relays.values()))
        while self._serving:
            await asyncio.wait(set(self._serving))
        assert self.defects == []

    def end(self, here: QksId, peer: QksId) -> LinkEnd:
        """Return this end of a link."""
        link = self.links.get((here, peer)) or self.links[peer, here]
        return link.ends[here]

    async def connect(self, one: QksId, other: QksId) -> None:
        """Give two neighbours a new connection."""
        at_one, at_other = memory_pair(64, f"qks:{one}", f"qks:{other}")
        for here, peer, connection in ((one, other, at_one), (other, one, at_other)):
            self.connections[here, peer] = connection
            task = asyncio.create_task(self._serve(here, peer, connection))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        await asyncio.sleep(0.001)

    async def _serve(self, here: QksId, peer: QksId, connection: MemoryConnection) -> None:
        with suppress(ConnectionLost, RemoteProtocolError):
            await self.relays[here].serve(peer, connection)

    def carry(self, message: wire.Begin, content: KeyMaterial) -> asyncio.Task[None]:
        """Have the source carry this."""
        return asyncio.create_task(self.relays[QksId(message.path[0])].carry(message, content))

    async def at_rest(self) -> None:
        """Let all that has not been taken be forgotten, and see that nothing is left, and every draw was ended once."""
        await asyncio.sleep(40)
        for site, relay in self.relays.items():
            left = (relay._drawn, relay._kept, relay._contents, relay._held, relay._passing, relay._asked)
            assert not any(left), (site, left)
            assert not relay._takers
            assert not relay._relay.phases
            assert not relay._relay.early
        for link in self.links.values():
            for end in link.ends.values():
                assert not end.open, f"{end.here} has not ended {end.open}"
                assert sorted(transfer for transfer, _ in end.ended) == sorted(end.had)

    def used(self, here: QksId, peer: QksId) -> list[bool]:
        """Return how each draw ended at one end."""
        return [used for _, used in self.end(here, peer).ended]


def _as(made: object) -> Any:
    """Return what stands for something that it is not."""
    return made
