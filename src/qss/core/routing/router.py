"""The routing module's core: the one place that dispatches events, and what its parts share.

Held here: which message is answered by what (Routing 4 to 6), and what of the site is told when. Not here: states and
lists, which are their own modules', nor cryptography: `sign` and `verify` come in as functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import assert_never

from qss.core.routing import events as ev
from qss.core.routing.adjacency import Adjacency, Step
from qss.core.routing.cost import CostWeights, LinkCost, Told
from qss.core.routing.database import Database, Instance, Standing
from qss.core.routing.judging import Judging, Verify
from qss.core.routing.neighbour import Neighbour
from qss.core.routing.origination import Origin, Origination
from qss.core.routing.table import HomeJudge, Table
from qss.core.routing.upkeep import Upkeep
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import QksId
from qss.model.network import Load
from qss.wire import routing as wire

Sign = Callable[[bytes], wire.Authentication]
"""Signs a body as this site."""


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Times in seconds (Routing 4 and 5)."""

    hello_s: float = 1.0
    dead_s: float = 4.0
    request_s: float = 5.0
    resync_s: float = 5.0
    cost_tick_s: float = 1.0
    weights: CostWeights = field(default_factory=CostWeights)


class Router:
    """One routing module. `handle` is its only way in, effects its only way out; queries change nothing."""

    def __init__(
        self,
        origin: Origin,
        sign: Sign,
        verify: Verify,
        counts: HomeJudge,
        settings: RouterSettings,
        generation: int = 0,
    ) -> None:
        """Begin with an empty database.

        `counts` judges homes (Routing 3.4); `generation` is that of the first LSAs, best higher at every start.
        """
        self.here = QksId(origin.source.qks)
        self._sign = sign
        self._upkeep = Upkeep(self.here, counts)
        self._settings = settings
        self._origination = Origination(origin, generation)
        self._database = Database()
        self._judging = Judging(verify, self._database)
        self._neighbours: dict[QksId, Neighbour] = {}
        self._loads: dict[QksId, Load] = {}
        self._costs: dict[QksId, LinkCost] = {}
        self._cost_at = 0.0
        self._dropped: Counter[tuple[QksId, ev.Reason]] = Counter()
        self._effects: list[ev.Effect] = []
        self._now = 0.0

    # --- the way in -----------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float, wall: float) -> ev.Effects:
        """Take in what happened at `now` (seconds, never falling) and return what is to be done, in order.

        `wall` is the time since 1970, to date what is said. Raises `RemoteProtocolError` if the peer broke the protocol
        (its connection is to be closed, and `Disconnected` follows).
        """
        self._now = now
        self._effects.clear()
        self._dispatch(event)
        self._originate(wall)
        for peer, neighbour in self._neighbours.items():
            if messages := neighbour.flush(self.here, now):
                self._effects.append(ev.Send(peer, messages))
        if self._upkeep.has_news():
            self._effects.append(ev.TableChanged())
        return tuple(self._effects)

    def _dispatch(self, event: ev.Event) -> None:
        match event:
            case ev.Connected(peer):
                self._connected(peer)
            case ev.Disconnected(peer):
                self._disconnected(peer)
            case ev.Received(peer, message):
                self._received(peer, message)
            case ev.Broke(peer):
                self._drop(peer, ev.Reason.PROTOCOL, None)
            case ev.SaesAtHome(saes):
                self._origination.set_saes(saes)
            case ev.LinksUp(loads):
                self._links_up(dict(loads))
            case ev.HomesJudgedAnew():
                self._upkeep.judge_anew()
            case ev.Leave():
                self._origination.leave()
            case ev.Tick():
                self._tick()
            case _:
                assert_never(event)

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def table(self) -> Table:
        """Ways and homes as this site sees them now."""
        return self._upkeep.table(self._database)

    @property
    def database(self) -> Database:
        """What is known."""
        return self._database

    @property
    def dropped(self) -> Counter[tuple[QksId, ev.Reason]]:
        """How much of each neighbour was dropped, and why."""
        return Counter(self._dropped)

    def told_of(self, peer: QksId) -> Told:
        """Return what is told of a link that works."""
        return self._costs[peer].told

    def adjacency(self, peer: QksId) -> Adjacency:
        """Return what is known of a neighbour."""
        neighbour = self._neighbours.get(peer)
        return Adjacency() if neighbour is None else neighbour.adjacency

    # --- connections ----------------------------------------------------------------------------------------------

    def _connected(self, peer: QksId) -> None:
        neighbour = self._neighbours.setdefault(peer, Neighbour())
        neighbour.adjacency.take(Step.CONNECTED)
        neighbour.adjacency.heard_at = self._now
        neighbour.adjacency.dead_s = self._settings.dead_s
        self._say_hello(neighbour, heard=False)

    def _disconnected(self, peer: QksId) -> None:
        neighbour = self._neighbours.pop(peer, None)
        if neighbour is None:
            raise LocalProtocolError(f"a connection to {peer} ended that there was not")
        if neighbour.adjacency.full:
            self._tell_links()

    def _say_hello(self, neighbour: Neighbour, *, heard: bool) -> None:
        neighbour.adjacency.said_at = self._now
        dead_ms = round(1000 * self._settings.dead_s)
        neighbour.messages.append(wire.Hello(heard, neighbour.adjacency.full, dead_ms, self._database.digest))

    def _received(self, peer: QksId, message: wire.Message) -> None:
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            raise LocalProtocolError(f"a message of {peer} came without a connection")
        adjacency = neighbour.adjacency
        first = not adjacency.heard
        adjacency.heard_at = self._now
        if isinstance(message, wire.Hello):
            self._hello(neighbour, message, first=first)
            return
        if not adjacency.two_way:
            return  # Routing 4.5: the Hello before it was lost, or never said
        match message:
            case wire.Summary():
                self._summary(peer, neighbour, message)
            case wire.Request(keys):
                self._requested(neighbour, keys)
            case wire.Update(carried):
                for each in carried:
                    self._update(peer, neighbour, each)
                self._check_loaded(neighbour)
            case wire.Ack(headers):
                for header in headers:
                    neighbour.unacknowledged.acknowledged(header)
            case _:
                assert_never(message)

    def _hello(self, neighbour: Neighbour, message: wire.Hello, *, first: bool) -> None:
        """Routing 4.1, 4.2 and 4.6."""
        adjacency = neighbour.adjacency
        adjacency.heard = True
        adjacency.dead_s = message.dead_ms / 1000
        if first:
            self._say_hello(neighbour, heard=True)
        if message.heard and not adjacency.two_way:
            adjacency.take(Step.HEARD)
            neighbour.summarise(self._database.headers())
        differs = message.digest != self._database.digest and neighbour.up_to_date
        if not adjacency.two_way or (message.full and not (adjacency.full and differs)):
            adjacency.differs_since = None
        elif adjacency.differs_since is None:
            adjacency.differs_since = self._now

    # --- database exchange ----------------------------------------------------------------------------------------

    def _summary(self, peer: QksId, neighbour: Neighbour, message: wire.Summary) -> None:
        """Routing 5.2."""
        adjacency, exchange = neighbour.adjacency, neighbour.exchange
        exchange.take(message, self._database)
        if message.more:
            return
        found = exchange.complete(self._database, self._now)
        if found is None:
            self._drop(peer, ev.Reason.SUMMARIES, None)
            return
        ask, lacking = found
        neighbour.ask(ask)
        for instance in lacking:
            neighbour.offer(instance)
        if adjacency.phase is adjacency.phase.EXCHANGE:
            adjacency.take(Step.TOLD)
        self._check_loaded(neighbour)

    def _requested(self, neighbour: Neighbour, keys: Iterable[wire.Key]) -> None:
        """Routing 5.3."""
        for key in keys:
            instance = self._database.get(key)
            if instance is not None:
                neighbour.offer(instance)

    def _check_loaded(self, neighbour: Neighbour) -> None:
        """Routing 5.4."""
        adjacency = neighbour.adjacency
        if adjacency.phase is adjacency.phase.LOADING and not neighbour.exchange.asked:
            adjacency.take(Step.LOADED)
            self._tell_links()

    # --- flooding -------------------------------------------------------------------------------------------------

    def _update(self, peer: QksId, neighbour: Neighbour, carried: wire.Carried) -> None:
        """Routing 6.1."""
        if carried.forwarder != peer:
            raise RemoteProtocolError(f"{peer} sent an LSA on in the name of {carried.forwarder}")
        try:
            body = wire.decode_body(carried.body)
        except RemoteProtocolError:
            later = wire.is_of_later_version(carried.body)
            self._drop(peer, ev.Reason.VERSION if later else ev.Reason.MALFORMED, None)
            return
        header = wire.header_of(carried.body, body)
        neighbour.exchange.came(header.key)
        standing = self._database.standing(header)
        if header.key.origin == self.here and standing is not Standing.SAME:
            self._own(peer, neighbour, carried, header)
            return
        heard_at = self._database.heard_at(header, self._now)
        born_at = min(self._now - carried.age_ms / 1000, heard_at)
        instance = Instance(header, carried.body, body, carried.authentication, born_at, heard_at)
        match standing:
            case Standing.SAME:
                self._same(peer, neighbour, instance)
            case Standing.OLDER:
                self._send_back(neighbour, header)
            case Standing.NEWER:
                self._newer(peer, neighbour, instance)

    def _same(self, peer: QksId, neighbour: Neighbour, instance: Instance) -> None:
        """Routing 6.1 and 7.1. A copy that is no younger is acknowledged, and no more."""
        header = instance.header
        known = self._database.get(header.key)
        if header.key.origin == self.here or not self._database.is_younger(instance, self._now):
            self._acknowledge(neighbour, header)
        elif known is None:
            self._newer(peer, neighbour, instance)
        else:
            self._acknowledge(neighbour, header)
            self._install(replace(known, born_at=instance.born_at), but=peer)

    def _send_back(self, neighbour: Neighbour, header: wire.Header) -> None:
        mine = self._database.get(header.key)
        if mine is None:  # it has passed its lifetime here: the neighbour drops it soon
            neighbour.acks.append(header)
        else:
            neighbour.offer(mine)

    def _newer(self, peer: QksId, neighbour: Neighbour, instance: Instance) -> None:
        header = instance.header
        if instance.ends_at() <= self._now:
            self._drop(peer, ev.Reason.EXPIRED, header.key)
            neighbour.acks.append(header)
        elif self._is_admitted(peer, header.key, instance.encoded, instance.authentication):
            self._acknowledge(neighbour, header)
            self._install(instance, but=peer)

    def _own(self, peer: QksId, neighbour: Neighbour, carried: wire.Carried, header: wire.Header) -> None:
        """Routing 6.5 and 7.3: two instances of one sequence are two lives of this site, whichever counts as newer."""
        last = self._database.last(header.key)
        if last is not None and (header.generation, header.sequence) < (last.generation, last.sequence):
            self._send_back(neighbour, header)
        elif self._is_admitted(peer, header.key, carried.body, carried.authentication):
            neighbour.acks.append(header)
            self._origination.heard_own(header)
            if self._origination.is_over(header.key):
                self._drop(peer, ev.Reason.LAST, header.key)

    def _is_admitted(self, peer: QksId, key: wire.Key, body: bytes, said: wire.Authentication) -> bool:
        reason = self._judging.refusal(peer, key, body, said, self._now)
        if reason is not None:
            self._drop(peer, reason, key)
        return reason is None

    def _acknowledge(self, neighbour: Neighbour, header: wire.Header) -> None:
        neighbour.unacknowledged.acknowledged(header)
        neighbour.acks.append(header)

    def _drop(self, peer: QksId, reason: ev.Reason, key: wire.Key | None) -> None:
        self._dropped[peer, reason] += 1
        self._effects.append(ev.Dropped(peer, reason, key))

    def _install(self, instance: Instance, but: QksId | None = None) -> None:
        before = self._database.get(instance.header.key)
        self._database.install(instance)
        if before is None or _says(before.body) != _says(instance.body):
            self._upkeep.note(instance.header.key)
        for peer, neighbour in self._neighbours.items():
            if peer != but and neighbour.adjacency.two_way:
                neighbour.updates[instance.header.key] = instance

    # --- this site ------------------------------------------------------------------------------------------------

    def _links_up(self, loads: dict[QksId, Load]) -> None:
        for peer in self._loads.keys() - loads.keys():
            del self._costs[peer]
        for peer, load in loads.items():
            if peer not in self._costs:
                self._costs[peer] = LinkCost(self._settings.weights, load)
        self._loads = loads
        self._tell_links()

    def _tell_links(self) -> None:
        self._origination.set_links(
            [
                wire.LinkState(peer, cost.told.cost, cost.told.available_bits)
                for peer, cost in self._costs.items()
                if self.adjacency(peer).full
            ]
        )

    def _originate(self, wall: float) -> None:
        for body in self._origination.due(self._now, wall):
            encoded = wire.encode_body(body)
            header, now = wire.header_of(encoded, body), self._now
            self._install(Instance(header, encoded, body, self._sign(encoded), now, now))

    # --- time -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._now - self._cost_at >= self._settings.cost_tick_s:
            self._cost_at = self._now
            changed = [peer for peer, load in self._loads.items() if self._costs[peer].tick(load)]
            if changed:
                self._tell_links()
            self._judging.tidy(self._now)
        for key in self._database.age(self._now):
            self._upkeep.note(key)
            for neighbour in self._neighbours.values():
                neighbour.drop(key)
        for peer, neighbour in self._neighbours.items():
            self._tend(peer, neighbour)

    def _tend(self, peer: QksId, neighbour: Neighbour) -> None:
        adjacency, settings = neighbour.adjacency, self._settings
        if self._now - adjacency.heard_at > adjacency.dead_s:
            self._effects.append(ev.Disconnect(peer, f"nothing came for {adjacency.dead_s:g} s"))
            adjacency.heard_at = self._now  # until the connection has ended: not told again at every tick
            return
        if self._now - adjacency.said_at >= settings.hello_s:
            self._say_hello(neighbour, heard=adjacency.heard)
        neighbour.ask(neighbour.exchange.overdue(self._now, settings.request_s))
        self._check_loaded(neighbour)
        for key in neighbour.unacknowledged.due(self._now):
            instance = self._database.get(key)
            if instance is not None:
                neighbour.updates[key] = instance
        if adjacency.differs_since is not None and self._now - adjacency.differs_since >= settings.resync_s:
            adjacency.differs_since = None
            neighbour.summarise(self._database.headers())


def _says(body: wire.Body) -> object:
    return body.withdrawn, body.transit, body.links, body.saes
