"""A network of sites that relay, in virtual time: the real cores, the real sealing, made-up key of links.

For tests. Connections for relaying keep their order, as TCP does; those by which key is drawn are others, so it may be
ready early or late, or not be had. Everything takes as long as `delay_s` and the dice say. What happened is noted, to
be judged by whoever looks. Refused: sockets, stores, and time of this world.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from qss.core.relay import Relay, RelaySettings
from qss.core.relay import events as ev
from qss.model.errors import RemoteProtocolError, TransferVoid
from qss.model.identifiers import QksId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.relay_policy import Hop
from qss.simulation.relay_links import Fate, Links
from qss.simulation.relay_site import Site
from qss.wire import relay as wire

TICK_S = 0.1


class Network:
    """Sites, links between them, and what is on its way."""

    def __init__(
        self,
        roads: Iterable[tuple[QksId, QksId]],
        *,
        seed: int = 0,
        delay_s: float = 0.01,
        settings: RelaySettings | None = None,
        no_transit: Iterable[QksId] = (),
    ) -> None:
        """Make the sites at the ends of `roads`, all connected. The same seed gives the same run."""
        self.now = 0.0
        self.delay_s = delay_s
        self.settings = settings or RelaySettings()
        self.dice = random.Random(seed)  # noqa: S311 - no secret but of the simulation
        self.fate: Callable[[QksId, ev.Draw], Fate] = lambda _, __: Fate.READY
        """What becomes of a draw by a site."""
        self.disturb: Callable[[QksId, QksId, wire.Message], Iterable[wire.Message]] = lambda _, __, message: (message,)
        """What becomes of a message between two sites."""
        self.puppets: set[QksId] = set()
        """Sites that whoever looks speaks for: their cores hear nothing."""
        self.stuck: set[QksId] = set()
        """Sites that cannot open and seal now."""
        self.content: dict[TransferId, KeyMaterial] = {}
        """What each source has sent."""
        self.answers: dict[TransferId, list[ev.Arrived | ev.Failed]] = {}
        self.came: dict[TransferId, tuple[Site, KeyMaterial]] = {}
        """Which site got what."""
        self.taken: set[TransferId] = set()
        self.absent: list[TransferId] = []
        """What a source was told has arrived, while nobody had it: never, if all are honest."""
        self.dropped: Counter[tuple[QksId, ev.DropReason]] = Counter()
        self.ended: Counter[bool] = Counter()
        """Ends of ranges: used or not."""
        self.breaches: list[str] = []
        self._no_transit = frozenset(no_transit)
        self.sites: dict[QksId, Site] = {}
        """Those that run."""
        self._links = Links(roads, self.sites, self.feed, self._soon)
        self._connections: dict[tuple[QksId, QksId], list[float]] = {}
        """By both ends, in both orders: when the last message arrives. A new connection is another list."""
        self._numbers = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        for name in sorted({name for pair in self._links for name in pair}):
            self.start_site(name)
        self.connect_all()

    # --- sites and connections ------------------------------------------------------------------------------------

    def start_site(self, name: QksId) -> None:
        """Start a site, or start it again: it knows nothing."""
        settings = replace(self.settings, transit=name not in self._no_transit)
        neighbours = self._links.neighbours(name)
        site = self.sites[name] = Site(name, Relay(name, neighbours, settings))
        self._later(TICK_S * self.dice.random(), partial(self._tick, site))

    def kill(self, name: QksId) -> None:
        """End a site without a word: what it has drawn is gone, and nobody else gets it."""
        del self.sites[name]
        for peer in sorted(self._links.neighbours(name)):
            self.cut(name, peer)
        self._links.kill(name)

    def connect_all(self) -> None:
        """Connect whatever runs and is not connected."""
        for one, other in self._links:
            if {one, other} <= self.sites.keys():
                self._links.connect(one, other)
                if (one, other) not in self._connections:
                    self._connections[one, other], self._connections[other, one] = [0.0], [0.0]
                    self.feed(one, ev.Connected(other))
                    self.feed(other, ev.Connected(one))

    def cut(self, one: QksId, other: QksId) -> None:
        """End a connection for relaying; what is on its way is lost."""
        if self._connections.pop((one, other), None) is None:
            return
        del self._connections[other, one]
        for site, peer in ((one, other), (other, one)):
            if site in self.sites:
                self.feed(site, ev.Disconnected(peer))

    def cut_link(self, one: QksId, other: QksId) -> None:
        """End the connection by which key is drawn: draws under way end with it."""
        self._links.cut(one, other)

    # --- what sites are asked -------------------------------------------------------------------------------------

    def begin(self, *path: str, length: int = wire.MIN_CARRIED, hop: Hop = Hop.ONE_TIME_PAD) -> wire.Begin:
        """Return the Begin of a transfer over `path`, under a name of its own."""
        name, urgent = self.dice.randbytes(16), self.dice.random() < 0.5
        return wire.Begin(name, path, length, bytes(16), 0, 0, 1, hop, "{}", urgent)

    def start(self, begin: wire.Begin) -> TransferId:
        """Have its source send fresh content; return the transfer's name."""
        name, source = TransferId(begin.transfer), QksId(begin.path[0])
        self.content[name] = self.sites[source].contents[name] = KeyMaterial(self.dice.randbytes(begin.length))
        self.answers[name] = []
        self.feed(source, ev.Start(begin))
        return name

    def take(self, name: QksId) -> list[KeyMaterial]:
        """Have the device at a destination take all content that came."""
        site = self.sites[name]
        taken = [transfer for transfer, (there, _) in self.came.items() if there is site and transfer in site.contents]
        contents = [site.contents[transfer] for transfer in taken]
        for transfer in taken:
            self.taken.add(transfer)
            self.feed(name, ev.Taken(transfer))
        return contents

    def say(self, site: QksId, peer: QksId, *messages: wire.Message) -> None:
        """Have a site say something, whatever its core knows."""
        self._send(site, peer, messages)

    def draw(self, puppet: QksId, peer: QksId, begin: wire.Begin) -> None:
        """Have a puppet draw key for a transfer."""
        draw = ev.Draw(peer, TransferId(begin.transfer), begin.length, Hop(begin.hop), begin.urgent)
        self._links.draw(puppet, draw, Fate.READY)

    def drop_ranges(self, puppet: QksId) -> None:
        """Have a puppet end all ranges that it has."""
        site = self.sites[puppet]
        for peer, transfer, ours in list(site.ranges):
            self._perform(site, ev.EndDraw(peer, transfer, ours, used=False))

    # --- time -----------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        self.now = end

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay_s, next(self._numbers), act))

    def _soon(self, act: Callable[[], None]) -> None:
        self._later(self.delay_s * self.dice.random(), act)

    def _tick(self, site: Site) -> None:
        if self._runs(site):
            self.feed(site.name, ev.Tick())
            self._later(TICK_S, partial(self._tick, site))

    @property
    def drawn(self) -> int:
        """How many ranges of links are not ended."""
        return self._links.drawn

    def _runs(self, site: Site) -> bool:
        return self.sites.get(site.name) is site

    # --- effects --------------------------------------------------------------------------------------------------

    def feed(self, name: QksId, event: ev.Event) -> ev.Effects:
        """Let something happen to a site now, and have done what it wants done."""
        if name in self.puppets:
            return ()
        site = self.sites[name]
        try:
            effects = site.core.handle(event, self.now)
        except RemoteProtocolError as error:
            assert isinstance(event, ev.Received | ev.CarryCame)
            self.breaches.append(f"{name} of {event.peer}: {error}")
            self.cut(name, event.peer)
            return ()
        for effect in effects:
            self._perform(site, effect)
        return effects

    def _perform(self, site: Site, effect: ev.Effect) -> None:
        match effect:
            case ev.Send(peer, messages):
                self._send(site.name, peer, messages)
            case ev.Draw():
                self._links.draw(site.name, effect, self.fate(site.name, effect))
            case ev.EndDraw():
                self.ended[effect.used] += 1
                self._links.end(site, effect)
            case ev.Pass():
                site.ask(effect)
                self._soon(partial(self._pass, site, effect))
            case ev.Forget(transfer):
                site.passing.discard(transfer)
                site.kept.pop(transfer, None)
                site.contents.pop(transfer, None)
            case ev.Came(begin):
                transfer = TransferId(begin.transfer)
                self.came[transfer] = (site, site.contents[transfer])
            case ev.Arrived() | ev.Failed():
                self.answers[effect.transfer].append(effect)
                if isinstance(effect, ev.Arrived) and not self._is_there(effect.transfer):
                    self.absent.append(effect.transfer)
            case ev.Dropped(peer, _, reason):
                self.dropped[peer, reason] += 1
            case ev.Keep():
                pass  # `_arrive` has what is to be kept, and `_pass` comes later

    def _is_there(self, transfer: TransferId) -> bool:
        """Whether a destination has this, or had it taken, or has ended since."""
        if transfer not in self.came:
            return False
        site, _ = self.came[transfer]
        return transfer in site.contents or transfer in self.taken or not self._runs(site)

    def _pass(self, site: Site, effect: ev.Pass) -> None:
        """What a shell does: seal in a moment of its own, and see then whether it is still wanted."""
        name = effect.transfer
        if not self._runs(site):
            return
        if name not in site.passing:
            answers = (ev.Passed(name), ev.PassFailed(name, wire.Reason.STOPPED))
            self.feed(site.name, self.dice.choice(answers))
            return
        site.passing.discard(name)
        if site.name in self.stuck:
            self.feed(site.name, ev.PassFailed(name, wire.Reason.STOPPED))
            return
        try:
            carry = site.carry_on(effect)
        except TransferVoid:
            self.feed(site.name, ev.PassFailed(name, wire.Reason.TAMPERED))
            return
        if carry is not None and effect.outward is not None:
            self._send(site.name, effect.outward, (carry,))
        self.feed(site.name, ev.Passed(name))
        if effect.inward is not None and effect.outward is not None and site.has_any_of(effect):
            raise AssertionError(f"{site.name} has kept something of what it passed on")

    # --- connections ----------------------------------------------------------------------------------------------

    def _send(self, site: QksId, peer: QksId, messages: Iterable[wire.Message]) -> None:
        connection = self._connections.get((site, peer))
        if connection is None:
            return
        bent = [each for message in messages for each in self.disturb(site, peer, message)]
        connection[0] = max(self.now + self.delay_s * self.dice.random(), connection[0])
        for run in wire.split(bent):
            self._later(connection[0] - self.now, partial(self._arrive, connection, site, peer, wire.encode(run)))

    def _arrive(self, connection: list[float], site: QksId, peer: QksId, frame: bytes) -> None:
        for message in wire.decode(frame):
            if self._connections.get((site, peer)) is not connection:
                return
            if not isinstance(message, wire.Carry):
                self.feed(peer, ev.Received(site, message))
                continue
            transfer = TransferId(message.transfer)
            if ev.Keep(transfer) in self.feed(peer, ev.CarryCame(site, transfer, len(message.sealed))):
                self.sites[peer].kept[transfer] = message
