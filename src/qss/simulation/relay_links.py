"""Made-up key of a simulated network's links: ranges are drawn, told of at both ends, each in its own time, and ended.

What a link does is what `core.relay` may rely on: each draw is answered, what the two ends draw under one name are two
ranges, and a name that is in use at either end is not had again (Relay 4.11). Not here: what ranges are used for
(`relay_site`), nor a ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

from qss.core.relay import events as ev
from qss.crypto.hops import key_bytes
from qss.model.identifiers import QksId, StreamId, TransferId
from qss.model.ranges import Range
from qss.simulation.relay_site import DrawnRange, Site
from qss.wire.relay import Reason


class Fate(Enum):
    """What becomes of a draw."""

    READY = auto()
    DENIED = auto()
    """Neither end has a range, and both hear of it."""
    UNHEARD = auto()
    """Neither end has a range, and only the one that drew hears of it: for want of key, say."""
    HALF = auto()
    """The end that drew has a range, then hears that the other refused it."""


@dataclass(slots=True)
class _Link:
    stream: StreamId
    head: int = 0
    up: bool = True
    ranges: dict[tuple[QksId, TransferId], DrawnRange] = field(default_factory=dict)
    """What either end has, or is to be told of, by who drew it."""


class Links:
    """All links. They tell sites what happens by `feed`, and have things take their time by `soon`."""

    def __init__(
        self,
        roads: Iterable[tuple[QksId, QksId]],
        sites: Mapping[QksId, Site],
        feed: Callable[[QksId, ev.Event], object],
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._sites = sites
        self._feed = feed
        self._soon = soon
        self._links = {
            (min(pair), max(pair)): _Link(StreamId(number.to_bytes(16))) for number, pair in enumerate(sorted(roads))
        }

    def __iter__(self) -> Iterator[tuple[QksId, QksId]]:
        return iter(self._links)

    @property
    def drawn(self) -> int:
        """How many ranges are not ended."""
        return sum(len(link.ranges) for link in self._links.values())

    def neighbours(self, site: QksId) -> frozenset[QksId]:
        """Return the sites at the other ends of a site's links."""
        return frozenset(name for pair in self._links if site in pair for name in pair if name != site)

    # --- what happens to links ------------------------------------------------------------------------------------

    def connect(self, one: QksId, other: QksId) -> None:
        """Have key be drawn again."""
        self._link(one, other).up = True

    def cut(self, one: QksId, other: QksId) -> None:
        """Have none be drawn: draws under way end with the connection."""
        link = self._link(one, other)
        link.up = False
        for range_ in [*link.ranges.values()]:
            for end in sorted(range_.waiting):
                self._deny(range_, end, Reason.UNREACHABLE)

    def kill(self, site: QksId) -> None:
        """Have a site be no more: what it has drawn is gone, and nobody else gets it."""
        for peer in sorted(self.neighbours(site)):
            self.cut(site, peer)
            for range_ in [*self._link(site, peer).ranges.values()]:
                range_.held.discard(site)
                self._tidy(range_)

    # --- draws ----------------------------------------------------------------------------------------------------

    def draw(self, drawer: QksId, effect: ev.Draw, fate: Fate) -> None:
        """Draw key: what both ends are told later."""
        other, name, link = effect.peer, effect.transfer, self._link(drawer, effect.peer)
        if not link.up or fate is Fate.UNHEARD or (drawer, name) in link.ranges:
            reason = Reason.REFUSED if link.up else Reason.UNREACHABLE
            denied = ev.KeyFailed(other, name, ours=True, reason=reason)
            self._soon(partial(self._tell, self._sites[drawer], denied))
            return
        part = Range(link.head, link.head + key_bytes(effect.hop, effect.length))
        range_ = link.ranges[drawer, name] = DrawnRange(drawer, other, name, link.stream, part, {drawer, other})
        link.head = part.stop
        for end in (drawer, other):
            if fate is Fate.DENIED or (fate is Fate.HALF and end == other):
                self._soon(partial(self._deny, range_, end, Reason.SHORTAGE))
            else:
                self._soon(partial(self._ready, range_, end, fate))

    def end(self, site: Site, effect: ev.EndDraw) -> None:
        """Have a site have a range no more."""
        self._tidy(site.end(effect))

    def _ready(self, range_: DrawnRange, end: QksId, fate: Fate) -> None:
        if end not in range_.waiting:
            return
        range_.waiting.discard(end)
        range_.held.add(end)
        self._sites[end].ranges[range_.seen_from(end)] = range_
        self._feed(end, ev.KeyReady(*range_.seen_from(end)))
        if fate is Fate.HALF:
            self._soon(partial(self._take_back, range_))

    def _deny(self, range_: DrawnRange, end: QksId, reason: Reason) -> None:
        if end not in range_.waiting:
            return
        range_.waiting.discard(end)
        self._tidy(range_)
        if end in self._sites:
            self._feed(end, ev.KeyFailed(*range_.seen_from(end), reason))

    def _take_back(self, range_: DrawnRange) -> None:
        if range_.drawer in range_.held:
            self._feed(range_.drawer, ev.KeyFailed(*range_.seen_from(range_.drawer), Reason.REFUSED))

    def _tell(self, site: Site, event: ev.KeyFailed) -> None:
        if self._sites.get(site.name) is site:
            self._feed(site.name, event)

    def _tidy(self, range_: DrawnRange) -> None:
        """Forget a range that no end has, or is to be told of."""
        if not range_.waiting and not range_.held:
            self._link(range_.drawer, range_.other).ranges.pop((range_.drawer, range_.transfer), None)

    def _link(self, one: QksId, other: QksId) -> _Link:
        return self._links[min(one, other), max(one, other)]
