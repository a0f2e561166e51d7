"""Two routing modules, A and B, that tag with key of their link, in virtual time: key that comes, lacks or is late.

The key of a place is a digest of its name, so that a tag is good just if it is made under the same place over the same
text. Checked throughout: no piece of key tags two texts, and none is accepted twice, whatever gets lost or restarts.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from qss.core.routing import Origin, Router, RouterSettings
from qss.core.routing import events as ev
from qss.core.routing.link_tags import TagSetting
from qss.core.routing.tag_key import RANGE_BYTES, TagRange
from qss.model.errors import RemoteProtocolError, Unauthorised
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.model.network import Load
from qss.model.ranges import Range
from qss.simulation.routing import has_stated, sign_as, state_home, verify
from qss.wire import routing as wire

A, B = QksId("A"), QksId("B")
OTHER = {A: B, B: A}
STREAM = StreamId(b"the link's key  ")
LOAD = Load(1 << 20, 1 << 20)
START = 1e9
TICK_S = 0.05

Disturb = Callable[[QksId, wire.Message], Iterable[wire.Message]]


def tag_of(stream: bytes, place: int, text: bytes) -> bytes:
    """Return the tag of a text under the piece at this place."""
    return hashlib.blake2b(text, key=stream + place.to_bytes(8), digest_size=16).digest()


@dataclass
class Books:
    """What key was used for, at both ends, and over restarts."""

    tagged: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    accepted: set[tuple[QksId, bytes, int]] = field(default_factory=set)


@dataclass
class BookTagger:
    """The tagger of one site. It knows no key that was not told of, or is forgotten."""

    here: QksId
    books: Books
    known: dict[tuple[StreamId, Range, bool], None] = field(default_factory=dict)

    def tag(self, peer: QksId, key: TagRange, text: bytes) -> bytes:
        assert (key.stream, key.part, True) in self.known, "key that is not this end's, or was forgotten"
        place = key.stream.value, key.place
        assert place not in self.books.tagged, "one piece of key for two tags"
        self.books.tagged[place] = text
        return tag_of(*place, text)

    def check(self, peer: QksId, key: TagRange, place: int, text: bytes, tag: bytes) -> None:
        assert (key.stream, key.part, False) in self.known, "key that is not the neighbour's, or was forgotten"
        if tag != tag_of(key.stream.value, place, text):
            raise Unauthorised("the tag is another one")
        used = self.here, key.stream.value, place
        assert used not in self.books.accepted, "one piece of key was accepted twice"
        self.books.accepted.add(used)


class TaggedPair:
    """Both sites. Nothing is connected before `connect`."""

    def __init__(self, here: str, there: str) -> None:
        """Make sites with these settings, of A and of B."""
        self.settings = {A: TagSetting(here), B: TagSetting(there)}
        self.now = 0.0
        self.books = Books()
        self.disturb: Disturb = lambda _, message: [message]
        self.has_key = True
        """Whether a draw yields something."""
        self.lost_at: set[QksId] = set()
        """Sites that cannot read what is drawn."""
        self.neighbour_first = False
        """Whether what is drawn comes to the neighbour before it comes to who drew, and is told held before."""
        self.drawn: Counter[QksId] = Counter()
        """Ranges that each site has drawn, or tried to."""
        self.breaks: list[tuple[QksId, str]] = []
        """Who has ended a connection, and why."""
        self.sent: list[tuple[QksId, wire.Message]] = []
        self.connected = False
        self._places = itertools.count(0, RANGE_BYTES)
        self._on_way: deque[tuple[QksId, wire.Message | None]] = deque()
        """By whom; None: the end of the connection."""
        self.routers: dict[QksId, Router] = {}
        self.taggers: dict[QksId, BookTagger] = {}
        for site in (A, B):
            self.start(site)

    # --- what happens ---------------------------------------------------------------------------------------------

    def start(self, site: QksId) -> None:
        """Begin a life of a site, which remembers nothing of the one before."""
        if self.connected:
            self.cut()
        tagger = self.taggers[site] = BookTagger(site, self.books)
        peer = OTHER[site]
        origin = Origin(wire.Source(site, "h", 1), wire.Endpoint("h", 2))
        self.routers[site] = Router(
            origin,
            sign_as(site),
            verify,
            has_stated,
            RouterSettings(),
            int(self.now),
            tagger,
            {peer: self.settings[site]},
        )
        self.feed(site, ev.LinksUp({peer: LOAD}))
        self.tell(site, f"sae:{site.lower()}")

    def tell(self, site: QksId, *saes: str) -> None:
        """Have these SAEs at home at a site, which tells that."""
        self.feed(site, ev.SaesAtHome({SaeId(name): state_home(SaeId(name), site) for name in saes}))

    def connect(self) -> None:
        """Connect the two."""
        self.connected = True
        for site in (A, B):
            self.feed(site, ev.Connected(OTHER[site]))
        self._deliver()

    def cut(self) -> None:
        """End the connection, with all that is on its way."""
        self.connected = False
        self._on_way.clear()
        for site in (A, B):
            self.feed(site, ev.Disconnected(OTHER[site]))

    def run(self, seconds: float, *, reconnect: bool = False) -> None:
        """Let time pass; connections that end stay so, or are made anew after a second."""
        ended_at = self.now
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            for site in (A, B):
                self.feed(site, ev.Tick())
            self._deliver()
            if self.connected:
                ended_at = self.now
            elif reconnect and self.now - ended_at >= 1.0:
                self.connect()

    def say(self, by: QksId, message: wire.Message) -> None:
        """Have a message come to the other end as if it were `by`'s."""
        self._receive(by, message)
        self._deliver()

    # --- what is so -----------------------------------------------------------------------------------------------

    @property
    def phases(self) -> list[str]:
        """How far the adjacency has come, as A and as B see it."""
        return [str(self.routers[site].adjacency(OTHER[site]).phase) for site in (A, B)]

    def agree(self) -> bool:
        """Whether both know the same, and where each other's SAEs are."""
        tables = [router.calculate().homes for router in self.routers.values()]
        digests = {router.database.digest for router in self.routers.values()}
        return tables[0] == tables[1] and len(tables[0]) >= 2 and len(digests) == 1

    def updates(self, tagged: bool) -> int:
        """How many Updates were sent with a tag, or without."""
        kind = wire.Tagged if tagged else wire.Update
        return sum(isinstance(message, kind) for _, message in self.sent)

    @property
    def dropped(self) -> Mapping[tuple[QksId, ev.Reason], int]:
        """What was dropped at either end, by who had sent it."""
        return sum((router.dropped for router in self.routers.values()), Counter())

    def happened(self, site: QksId, what: ev.Happening) -> int:
        """How often a site has noted this."""
        return self.routers[site].happened[OTHER[site], what]

    # --- effects --------------------------------------------------------------------------------------------------

    def feed(self, site: QksId, event: ev.Event) -> None:
        """Let something happen to a site."""
        for effect in self.routers[site].handle(event, self.now, START + self.now):
            self._perform(site, effect)

    def _perform(self, site: QksId, effect: ev.Effect) -> None:
        match effect:
            case ev.Send(_, messages):
                for message in messages:
                    self.sent.append((site, message))
                    self._on_way.extend((site, each) for each in self.disturb(site, message))
            case ev.DrawTagKey():
                self._draw(site)
            case ev.ForgetTagKey(_, stream, part, own):
                self.taggers[site].known.pop((stream, part, own))
            case ev.Disconnect(_, reason):
                self.breaks.append((site, reason))
                self._on_way.append((site, None))
            case _:
                pass

    def _draw(self, site: QksId) -> None:
        self.drawn[site] += 1
        if not self.has_key:
            self.feed(site, ev.NoTagKey(OTHER[site]))
            return
        start = next(self._places)
        part = Range(start, start + RANGE_BYTES)
        for end in (OTHER[site], site) if self.neighbour_first else (site, OTHER[site]):
            if end not in self.lost_at:
                self.give(end, part, own=end == site)

    def give(self, site: QksId, part: Range, *, own: bool) -> None:
        """Have a range come to a site."""
        self.taggers[site].known[STREAM, part, own] = None
        self.feed(site, ev.TagKeyCame(OTHER[site], STREAM, part, own))
        self._deliver()

    def _deliver(self) -> None:
        while self._on_way and self.connected:
            sender, message = self._on_way.popleft()
            if message is None:
                self.cut()
            else:
                self._receive(sender, message)

    def _receive(self, sender: QksId, message: wire.Message) -> None:
        receiver = OTHER[sender]
        try:
            self.feed(receiver, ev.Received(sender, message))
        except RemoteProtocolError as error:
            self.breaks.append((receiver, str(error)))
            self.cut()
