"""The routing module's core: the one place that dispatches events, and what may be asked of it.

Held here: which part of the protocol an event is for. Not here: the steps, which are the parts' own (see
`qss.core.routing`), nor cryptography: `sign`, `verify`, `stated` and a tagger come in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import assert_never

from qss.core.routing import events as ev
from qss.core.routing.adjacency import Act, Adjacency
from qss.core.routing.admission import Admission, Verify
from qss.core.routing.cost import Told
from qss.core.routing.database import Instance, LinkStates
from qss.core.routing.exchange import DatabaseExchange
from qss.core.routing.flooding import Flooding
from qss.core.routing.homes import Homes, Stated
from qss.core.routing.link_tags import LinkTags, TagSetting
from qss.core.routing.links import SiteLinks
from qss.core.routing.neighbour import Neighbour
from qss.core.routing.origination import Origin, Origination
from qss.core.routing.route_calculation import RouteCalculation
from qss.core.routing.shared import RouterSettings, Shared
from qss.core.routing.table import Table
from qss.core.routing.tagging import Direction, NoTagger, Tagger, Tagging
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId, SaeId
from qss.wire import routing as wire

Sign = Callable[[bytes], wire.Authentication]
"""Signs a body as this site."""

TIDY_S = 1.0
"""How often counts that are empty are forgotten."""


class Router:
    """One routing module. `handle` is the way in, effects are the way out; queries change nothing."""

    def __init__(
        self,
        origin: Origin,
        sign: Sign,
        verify: Verify,
        stated: Stated,
        settings: RouterSettings,
        generation: int = 0,
        tagger: Tagger | None = None,
        tags: Mapping[QksId, TagSetting] | None = None,
    ) -> None:
        """Begin with an empty database.

        `stated` knows the authority's signature (Routing 3.4); `generation` is that of the first LSAs, best higher at
        every start. `tags` says with which neighbours to tag (Routing 12); that is `tagger`'s.
        """
        self.here = QksId(origin.source.qks)
        self._sign = sign
        self._shared = Shared(self.here, settings)
        self._database = self._shared.database
        self._neighbours = self._shared.neighbours
        self._links = SiteLinks(settings.weights, settings.cost_tick_s)
        self._homes = Homes(self.here, stated)
        self._calculation = RouteCalculation(self.here, self._homes)
        self._origination = Origination(origin, generation)
        self._admission = Admission(verify, self._database)
        self._flooding = Flooding(self._shared, self._admission, self._origination, self._says_else)
        self._exchange = DatabaseExchange(self._shared, self._tell_links)
        self._tagging = Tagging(self._shared, NoTagger() if tagger is None else tagger, tags or {}, self._tell_links)
        self._full = frozenset[QksId]()
        self._originated: Counter[str] = Counter()
        self._tidied_at = 0.0

    # --- the way in -----------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float, wall: float) -> ev.Effects:
        """Take in what happened at `now` (seconds, never falling) and return what is to be done, in order.

        `wall` is the time since 1970, by which statements of homes end; it also dates what is said. Raises
        `RemoteProtocolError` if the peer broke the protocol (its connection is to be closed, and `Disconnected`
        follows).
        """
        shared = self._shared
        shared.now, shared.wall = now, wall
        shared.effects.clear()
        self._dispatch(event)
        self._originate()
        for peer, neighbour in self._neighbours.items():
            if neighbour.updates or neighbour.acks or neighbour.messages:  # of most there are none at most events
                messages = self._tagging.flush(peer, neighbour)
                if messages:
                    shared.effects.append(ev.Send(peer, messages))
        if self._calculation.take_news(now):
            shared.effects.append(ev.TableChanged())
        return tuple(shared.effects)

    def _dispatch(self, event: ev.Event) -> None:
        match event:
            case ev.Connected(peer):
                self._connected(peer)
            case ev.Disconnected(peer):
                self._disconnected(peer)
            case ev.Received(peer, message):
                self._received(peer, message)
            case ev.Broke(peer):
                self._shared.drop(peer, ev.Reason.PROTOCOL, None)
            case ev.SaesAtHome(saes):
                before = self._origination.untold
                self._origination.set_saes(saes)
                if self._origination.untold != before:
                    self._shared.effects.append(ev.Untold(self._origination.untold))
            case ev.LinksUp(loads):
                self._links.set_up(dict(loads))
                self._tell_links()
            case ev.TagKeyCame():
                self._tagging.key_came(event)
            case ev.NoTagKey(peer):
                self._tagging.no_key(peer)
            case ev.Leave():
                self._origination.leave()
            case ev.Tick():
                self._tick()
            case _:
                assert_never(event)

    def calculate(self) -> Table:
        """Bring the table up to date, as `TableChanged` asks for; nothing else does that."""
        return self._calculation.calculate(self._database)

    def seed(self, instances: Iterable[Instance], now: float, wall: float) -> None:
        """Take in what a network has told long since, unchecked: where a simulation begins, and only there."""
        self._shared.now, self._shared.wall = now, wall
        for instance in instances:
            self._database.install(instance)
            self._says_else(instance.header.key)
        self._homes.look_at_all(now, wall)
        self.calculate()

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def table(self) -> Table:
        """Ways and homes as they were calculated last."""
        return self._calculation.table

    @property
    def is_current(self) -> bool:
        """Whether the table has all that is known."""
        return self._calculation.is_current and self._homes.are_all_seen

    @property
    def has_all_homes(self) -> bool:
        """Whether the table has the home of every SAE that was told of."""
        return self._calculation.has_all_homes and self._homes.are_all_seen

    @property
    def database(self) -> LinkStates:
        """What is known."""
        return self._database

    @property
    def dropped(self) -> Counter[tuple[QksId, ev.Reason]]:
        """How much of each neighbour was dropped, and why."""
        return Counter(self._shared.dropped)

    @property
    def happened(self) -> Counter[tuple[QksId, ev.Happening]]:
        """How often what has happened with each neighbour."""
        return Counter(self._shared.happened)

    @property
    def updates(self) -> Counter[tuple[QksId, Direction, bool]]:
        """How many Updates were exchanged with each neighbour, and whether they had a tag."""
        return Counter(self._tagging.updates)

    def tags(self, peer: QksId) -> LinkTags:
        """Return what is agreed with a neighbour on tags."""
        return self._tagging.of(peer)

    @property
    def originated(self) -> Counter[str]:
        """How many LSAs this site has told, by their type; refreshes are counted, too."""
        return Counter(self._originated)

    @property
    def contested(self) -> Mapping[SaeId, tuple[QksId, ...]]:
        """SAEs with several homes that count, and these homes."""
        return self._homes.contested

    @property
    def untold(self) -> tuple[str, ...]:
        """SAEs at home here that no LSA can tell of."""
        return self._origination.untold

    def told_of(self, peer: QksId) -> Told:
        """Return what is told of a link that works."""
        return self._links.told_of(peer)

    def told_of_all(self) -> Mapping[QksId, Told]:
        """Return what is told of each link that works."""
        return self._links.told_of_all()

    def adjacency(self, peer: QksId) -> Adjacency:
        """Return what is known of a neighbour."""
        neighbour = self._neighbours.get(peer)
        return Adjacency() if neighbour is None else neighbour.adjacency

    # --- neighbours -----------------------------------------------------------------------------------------------

    def _connected(self, peer: QksId) -> None:
        neighbour = self._neighbours.setdefault(peer, Neighbour(tags=self._tagging.of(peer)))
        neighbour.adjacency.connected(self._shared.now, self._shared.settings.dead_s)
        self._tagging.greet(neighbour)
        self._do(peer, neighbour, [Act.HELLO])

    def _disconnected(self, peer: QksId) -> None:
        neighbour = self._neighbours.pop(peer, None)
        if neighbour is None:
            raise LocalProtocolError(f"a connection to {peer} ended that there was not")
        neighbour.adjacency.lost()
        self._tell_links()

    def _received(self, peer: QksId, message: wire.Message) -> None:
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            raise LocalProtocolError(f"a message of {peer} came without a connection")
        adjacency, now = neighbour.adjacency, self._shared.now
        adjacency.came(now)
        if isinstance(message, wire.Hello):
            if self._tagging.admits(peer, neighbour):
                self._hello(peer, neighbour, message)
            return
        if isinstance(message, wire.Tags):
            self._tagging.take(peer, neighbour, message)
            return
        if not adjacency.two_way:
            return  # Routing 4.5: the Hello before it was lost, or never said
        match message:
            case wire.Summary():
                self._exchange.summary(peer, neighbour, message)
            case wire.Request(keys):
                self._exchange.requested(neighbour, keys)
            case wire.Update():
                self._updated(peer, neighbour, self._tagging.plain(peer, neighbour, message))
            case wire.Tagged():
                self._updated(peer, neighbour, self._tagging.opened(peer, neighbour, message))
            case wire.Ack(headers):
                self._flooding.acknowledged(neighbour, headers)
            case _:
                assert_never(message)

    def _hello(self, peer: QksId, neighbour: Neighbour, message: wire.Hello) -> None:
        acts = neighbour.adjacency.take_hello(
            message,
            self._database.digest,
            self._shared.now,
            up_to_date=neighbour.up_to_date,
            waits_for_key=not neighbour.tags.is_ready,
        )
        self._do(peer, neighbour, acts)

    def _updated(self, peer: QksId, neighbour: Neighbour, update: wire.Update | None) -> None:
        if update is not None:
            for each in update.carried:
                self._flooding.update(peer, neighbour, each)
            self._exchange.check(neighbour)

    def _do(self, peer: QksId, neighbour: Neighbour, acts: Iterable[Act]) -> None:
        adjacency, shared = neighbour.adjacency, self._shared
        for act in acts:
            match act:
                case Act.HELLO:
                    hello = adjacency.hello(self._database.digest, shared.settings.dead_s, shared.now)
                    neighbour.messages.append(hello)
                case Act.SUMMARISE:
                    neighbour.summarise(self._database.headers())
                case Act.GIVE_UP:
                    shared.effects.append(ev.Disconnect(peer, f"nothing came for {adjacency.dead_s:g} s"))
                    self._tell_links()
                case _:
                    assert_never(act)

    def _note_full(self) -> None:
        """Note with which neighbours the adjacency has become full, or is so no more."""
        full = frozenset(peer for peer, neighbour in self._neighbours.items() if neighbour.adjacency.full)
        for peer in sorted(full ^ self._full):
            self._shared.note(peer, ev.Happening.FULL if peer in full else ev.Happening.NOT_FULL)
        self._full = full

    # --- this site ------------------------------------------------------------------------------------------------

    def _tell_links(self) -> None:
        """Links may work that did not, or the other way round (Routing 4.4)."""
        self._note_full()
        self._origination.set_links(self._links.told(lambda peer: self.adjacency(peer).full))

    def _originate(self) -> None:
        now = self._shared.now
        for body in self._origination.due(now, self._shared.wall):
            encoded = wire.encode_body(body)
            header = wire.header_of(encoded, body)
            self._originated[header.key.type] += 1
            self._flooding.install(Instance(header, encoded, body, self._sign(encoded), now, now))

    # --- the table ------------------------------------------------------------------------------------------------

    def _says_else(self, key: wire.Key) -> None:
        """An LSA says something else than before, or is no more. Other types mean nothing here (Routing 3.5)."""
        if key.type == wire.LsaType.LINKS:
            self._calculation.note(key)
        elif key.type == wire.LsaType.SAES:
            instance = self._database.get(key)
            body = None if instance is None else instance.body
            saes = body.saes if isinstance(body, wire.Body) else ()
            self._homes.tell(key, saes, self._shared.now, self._shared.wall)

    # --- time -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        shared, settings = self._shared, self._shared.settings
        if self._links.tick(shared.now):
            self._tell_links()
        if shared.now - self._tidied_at >= TIDY_S:
            self._tidied_at = shared.now
            self._admission.tidy(shared.now)
            self._homes.tidy(shared.now)
        for key in self._database.age(shared.now):  # Routing 7.1
            self._says_else(key)
            for neighbour in self._neighbours.values():
                neighbour.drop(key)
        self._homes.tick(shared.now, shared.wall)
        for peer, neighbour in self._neighbours.items():
            acts = neighbour.adjacency.due(shared.now, settings.hello_s, settings.resync_s)
            if Act.SUMMARISE in acts:
                shared.note(peer, ev.Happening.RESYNC)
            self._do(peer, neighbour, acts)
            if neighbour.adjacency.two_way:
                self._exchange.tend(neighbour)
                self._flooding.tend(peer, neighbour)
                self._tagging.tend(peer, neighbour)
