"""A network of routing modules in virtual time: the real cores, a network that delays and loses, keyed fake signatures.

For tests, benchmarks and planners. A connection keeps its messages in order, as TCP does, and loses some if it is told
to; one that is cut loses what is on its way. Refused: cryptography (a signature is a digest under a secret of its
origin, which costs a microsecond), sockets, and time of this world. Not here: shapes of networks (`topologies`), how a
large one begins (`routing_start`), nor whether its tables are right (`routing_truth`).
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from qss.core.routing import events as ev
from qss.core.routing.homes import Stated
from qss.core.routing.origination import Origin
from qss.core.routing.router import Router
from qss.core.routing.shared import RouterSettings
from qss.model.errors import RemoteProtocolError, Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load
from qss.wire import routing as wire
from qss.wire.home_statement import SignedStatement, encode_home, encode_statement

TICK_S = 0.1
FULL_LOAD = Load(1 << 20, 1 << 20)

FAR_OFF = 4_000_000_000
_AUTHORITY = QksId("authority.of.the.simulation")

Road = frozenset[QksId]
"""The two ends of a connection."""


def road(one: QksId, other: QksId) -> Road:
    """Return the road between two sites."""
    return frozenset((one, other))


def sign_as(site: QksId) -> Callable[[bytes], wire.Authentication]:
    """Return how a site of the simulation signs."""
    return lambda body: wire.Authentication("simulated", (), _seal(site, body))


def verify(site: QksId, body: bytes, authentication: wire.Authentication) -> None:
    """Raise `Unauthorised` unless `site` signed it in a simulation."""
    if authentication.signature != _seal(site, body):
        raise Unauthorised(f"this was not signed by {site}")


def state_home(sae: SaeId, site: QksId, expires: int = FAR_OFF) -> bytes:
    """Return what the authority of the simulation states, until `expires` (seconds since 1970)."""
    return encode_statement(_signed_by_authority(encode_home(sae, site, expires)))


def has_stated(signed: SignedStatement) -> bool:
    """Whether the authority of the simulation has signed this."""
    return signed == _signed_by_authority(signed.body)


def _signed_by_authority(body: bytes) -> SignedStatement:
    return SignedStatement(body, "simulated", _seal(_AUTHORITY, body))


def _seal(site: QksId, body: bytes) -> bytes:
    return hashlib.blake2b(body, key=site.encode(), digest_size=16).digest()


@dataclass(slots=True)
class Weather:
    """What a connection does to messages: seconds of delay, and the part of messages that it loses."""

    delay_s: float = 0.01
    loss: float = 0.0


@dataclass(slots=True)
class _Connection:
    last_arrival: dict[QksId, float] = field(default_factory=dict)


class Network:
    """Sites, roads between them, and what is on its way."""

    def __init__(
        self,
        roads: Iterable[tuple[QksId, QksId]],
        *,
        seed: int = 0,
        weather: Weather | None = None,
        settings: RouterSettings | None = None,
        lifetime_s: int = 90,
        loads: Mapping[Road, Load] | None = None,
        no_transit: Iterable[QksId] = (),
        stated: Stated | None = None,
    ) -> None:
        """Make the sites at the ends of `roads`; nothing is connected yet. The same seed gives the same run.

        Links that have none of `loads` are full. No path leads through a site of `no_transit`.
        """
        self.now = 0.0
        self.weather = weather or Weather()
        self.settings = settings or RouterSettings()
        self.lifetime_s = lifetime_s
        self.sent: Counter[str] = Counter()
        """Messages that were sent, by their type."""
        self.bytes = 0
        """Bytes of the bodies that were sent."""
        self.breaches: list[str] = []
        self.disturb: Callable[[QksId, QksId, wire.Message], Iterable[wire.Message]] | None = None
        """What becomes of a message between two sites, if it is not passed on as it is."""
        self.changed_at: dict[QksId, float] = {}
        """When the table of each site changed last."""
        self.dice = random.Random(seed)  # noqa: S311 - no secret
        self._stated = stated or has_stated
        self._numbers = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._connections: dict[tuple[QksId, QksId], _Connection] = {}
        """By both ends, in both orders."""
        self.roads = {road(one, other): FULL_LOAD for one, other in roads} | dict(loads or {})
        self.first_loads = dict(self.roads)
        self.no_transit = frozenset(no_transit)
        self.sites = tuple(sorted({site for each in self.roads for site in each}))
        """All that there are, whether they run or not."""
        self.routers: dict[QksId, Router] = {}
        self.saes: dict[QksId, dict[SaeId, bytes | None]] = {site: {SaeId(f"sae:{site}"): None} for site in self.sites}
        for site in self.sites:
            self.start(site)

    # --- sites ----------------------------------------------------------------------------------------------------

    def start(self, site: QksId, generation: int = 0, asleep_s: float = 0.0) -> None:
        """Start a site, or start it again: it knows nothing. `asleep_s`: how much later it begins to count time."""
        origin = Origin(
            wire.Source(site, "host", 1), wire.Endpoint("host", 2), self.lifetime_s, site not in self.no_transit
        )
        router = Router(origin, sign_as(site), verify, self._stated, self.settings, generation)
        self.routers[site] = router
        self._publish_saes(site)
        self._publish(site)
        self._later(asleep_s + self.dice.random() * TICK_S, partial(self._tick, site, router))

    def kill(self, site: QksId) -> None:
        """End a site without a word."""
        for peer in self.peers(site):
            self.cut(site, peer)
        del self.routers[site]

    def peers(self, site: QksId) -> list[QksId]:
        """Return the sites at the other ends of a site's roads, in order."""
        return sorted(next(iter(each - {site})) for each in self.roads if site in each)

    def connect(self, one: QksId, other: QksId) -> None:
        """Connect two sites that run."""
        self.join(one, other)
        for site, peer in ((one, other), (other, one)):
            self.feed(site, ev.Connected(peer))

    def connect_all(self) -> None:
        """Connect whatever runs and is not connected."""
        for one, other in sorted((min(each), max(each)) for each in self.roads):
            if {one, other} <= self.routers.keys() and not self.is_connected(one, other):
                self.connect(one, other)

    def join(self, one: QksId, other: QksId) -> None:
        """Let messages through between two sites, which know of it already."""
        self._connections[one, other] = self._connections[other, one] = _Connection()

    def is_connected(self, one: QksId, other: QksId) -> bool:
        """Whether there is a connection between two sites."""
        return (one, other) in self._connections

    def cut(self, one: QksId, other: QksId) -> None:
        """End a connection; what is on its way is lost."""
        if not self.is_connected(one, other):
            return
        for site, peer in ((one, other), (other, one)):
            del self._connections[site, peer]
        for site, peer in ((one, other), (other, one)):
            if site in self.routers:
                self.feed(site, ev.Disconnected(peer))

    def set_load(self, one: QksId, other: QksId, load: Load | None) -> None:
        """Have a link hold so much key, or not work at all."""
        if load is None:
            del self.roads[road(one, other)]
        else:
            self.roads[road(one, other)] = load
        for site in (one, other):
            self._publish(site)

    def set_saes(self, site: QksId, saes: Mapping[SaeId, bytes | None]) -> None:
        """Have these SAEs at home at a site. The authority of the simulation states it of those without a statement."""
        self.saes[site] = dict(saes)
        self._publish_saes(site)

    def _publish_saes(self, site: QksId) -> None:
        saes = {sae: state_home(sae, site) if said is None else said for sae, said in self.saes[site].items()}
        self.feed(site, ev.SaesAtHome(saes))

    def _publish(self, site: QksId) -> None:
        if site in self.routers:
            self.feed(site, ev.LinksUp({peer: self.roads[road(site, peer)] for peer in self.peers(site)}))

    # --- time -----------------------------------------------------------------------------------------------------

    def run(self, seconds: float, until: Callable[[], bool] | None = None, every_s: float = 0.005) -> float:
        """Let so much time pass, or less if `until` becomes true; return the time that has passed."""
        began, end = self.now, self.now + seconds
        looked = self.now
        while self._agenda and self._agenda[0][0] <= end:
            if until is not None and self._agenda[0][0] - looked >= every_s:
                looked = self.now
                if until():
                    return self.now - began
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        self.now = end
        return seconds

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay_s, next(self._numbers), act))

    def _tick(self, site: QksId, router: Router) -> None:
        if self.routers.get(site) is router:
            self.feed(site, ev.Tick())
            self._later(TICK_S, partial(self._tick, site, router))

    def feed(self, site: QksId, event: ev.Event) -> None:
        """Let something happen to a site now, and have done what it wants done."""
        try:
            effects = self.routers[site].handle(event, self.now, self.now)
        except RemoteProtocolError as error:
            assert isinstance(event, ev.Received)
            self.breaches.append(f"{site} of {event.peer}: {error}")
            self.cut(site, event.peer)
            return
        for effect in effects:
            if isinstance(effect, ev.Send):
                self._send(site, effect)
            elif isinstance(effect, ev.TableChanged):
                self.routers[site].calculate()
                self.changed_at[site] = self.now
            elif isinstance(effect, ev.Disconnect):
                self._later(0, partial(self.cut, site, effect.peer))

    def _send(self, site: QksId, effect: ev.Send) -> None:
        peer = effect.peer
        connection = self._connections.get((site, peer))
        if connection is None:
            return
        messages = effect.messages
        if self.disturb is not None:
            messages = tuple(each for message in messages for each in self.disturb(site, peer, message))
        arrival = max(self.now + self.weather.delay_s, connection.last_arrival.get(site, 0.0))
        connection.last_arrival[site] = arrival
        for message in messages:
            self.sent[type(message).__name__] += 1
            if isinstance(message, wire.Update):
                self.bytes += sum([len(each.body) for each in message.carried])
            if self.weather.loss and self.dice.random() < self.weather.loss:
                continue
            self._later(arrival - self.now, partial(self._arrive, connection, site, peer, message))

    def _arrive(self, connection: _Connection, site: QksId, peer: QksId, message: wire.Message) -> None:
        if self._connections.get((site, peer)) is connection:
            self.feed(peer, ev.Received(site, message))
