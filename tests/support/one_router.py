"""One routing module, A, whose neighbours are the test: B, who may do anything, and C, who is honest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from qss.core.routing import Origin, Router, RouterSettings
from qss.core.routing import events as ev
from qss.core.routing.adjacency import Phase
from qss.core.routing.admission import Verify
from qss.core.routing.homes import Stated
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load
from qss.simulation.routing import has_stated, sign_as, state_home, verify
from qss.wire import routing as wire

A, B, C = QksId("A"), QksId("B"), QksId("C")
FULL_LOAD = Load(1 << 20, 1 << 20)
START = 1e9
"""Where the wall clock begins, in seconds since 1970."""


def saes_of(origin: str, sequence: int = 1, *names: str, part: int = 0, lifetime_s: int = 90) -> wire.Body:
    """Return a body of type S, with statements."""
    return wire.Body(
        wire.VERSION,
        wire.LsaType.SAES,
        wire.Source(origin, "h", 1),
        wire.Endpoint("h", 2),
        part,
        0,
        sequence,
        lifetime_s,
        withdrawn=False,
        transit=True,
        links=(),
        saes=tuple(wire.SaeState(name, state_home(SaeId(name), QksId(origin))) for name in names),
        timestamp=1_795_000_000,
    )


def header_of(body: wire.Body) -> wire.Header:
    """Return which instance a body is."""
    return wire.header_of(wire.encode_body(body), body)


def carried(
    body: wire.Body | bytes, by: QksId = B, *, age_ms: int = 0, said: wire.Authentication | None = None
) -> wire.Carried:
    """Return a body on its way, signed by its origin if nothing else is `said`."""
    encoded = body if isinstance(body, bytes) else wire.encode_body(body)
    if said is None:
        assert not isinstance(body, bytes), "who would have signed that?"
        said = sign_as(QksId(body.source.qks))(encoded)
    return wire.Carried(by, age_ms, encoded, said)


UNSIGNED = wire.Authentication("simulated", (), b"")


class OneRouter:
    """A, and what it sends and does."""

    def __init__(self, check: Verify = verify, stated: Stated = has_stated) -> None:
        """Connect A with B and C, both of whom know nothing and are full."""
        self.now = 0.0
        self.checks = 0
        """Signatures that were looked at."""
        self.lines: list[tuple[QksId, ev.Reason]] = []
        """What the shell is told to log as dropped."""
        self.tables = 0
        """How often the shell was told to have the table calculated."""
        self.sent: dict[QksId, list[wire.Message]] = {B: [], C: []}
        self._check = check
        origin = Origin(wire.Source(A, "h", 1), wire.Endpoint("h", 2))
        self.router = Router(origin, sign_as(A), self._verify, stated, RouterSettings())
        self.feed(ev.SaesAtHome({SaeId("sae:a"): None}))
        self.feed(ev.LinksUp({B: FULL_LOAD, C: FULL_LOAD}))
        for peer in (B, C):
            self.connect(peer)
            self.hello(peer)
            self.tell(peer, wire.Summary((), more=False))
            assert self.phase(peer) is Phase.FULL
        self.run(1)  # the hold time of what was told first
        self.acknowledge(B, C)

    def _verify(self, site: QksId, body: bytes, said: wire.Authentication) -> None:
        self.checks += 1
        self._check(site, body, said)

    def phase(self, peer: QksId) -> Phase:
        """Return how far the adjacency with a neighbour has come."""
        return self.router.adjacency(peer).phase

    @property
    def dropped(self) -> Counter[tuple[QksId, ev.Reason]]:
        """What was dropped."""
        return self.router.dropped

    def knows(self, name: str) -> QksId | None:
        """Return where A sees an SAE at home."""
        return self.router.calculate().homes.get(SaeId(name))

    # --- what happens -------------------------------------------------------------------------------------------------

    def feed(self, event: ev.Event) -> None:
        """Let something happen."""
        for effect in self.router.handle(event, self.now, START + self.now):
            if isinstance(effect, ev.Send):
                self.sent[effect.peer] += effect.messages
            elif isinstance(effect, ev.Dropped):
                self.lines.append((effect.peer, effect.reason))
            elif isinstance(effect, ev.TableChanged):
                self.tables += 1
                self.router.calculate()

    def connect(self, peer: QksId) -> None:
        """Connect a neighbour."""
        self.feed(ev.Connected(peer))

    def disconnect(self, peer: QksId) -> None:
        """End its connection."""
        self.feed(ev.Disconnected(peer))

    def tell(self, peer: QksId, *messages: wire.Message) -> list[wire.Message]:
        """Let messages of a neighbour come; return what it is sent for them."""
        before = len(self.sent[peer])
        for message in messages:
            self.feed(ev.Received(peer, message))
        return self.sent[peer][before:]

    def hello(self, peer: QksId) -> None:
        """Let an honest neighbour's Hello come, that knows what A knows."""
        self.tell(peer, wire.Hello(heard=True, full=True, dead_ms=4000, digest=self.router.database.digest))

    def send(self, peer: QksId, *lsas: wire.Carried) -> list[wire.Message]:
        """Let a neighbour send these LSAs, each in an Update of its own; return what it is sent for them."""
        return self.tell(peer, *(wire.Update((msgspec.structs.replace(lsa, forwarder=peer),)) for lsa in lsas))

    def acknowledge(self, *peers: QksId) -> None:
        """Let neighbours acknowledge all that they were sent."""
        for peer in peers:
            updates = [message for message in self.sent[peer] if isinstance(message, wire.Update)]
            for message in updates:
                decoded = [(each.body, wire.decode_body(each.body)) for each in message.carried]
                self.tell(peer, wire.Ack(tuple(wire.header_of(encoded, body) for encoded, body in decoded)))
            self.sent[peer].clear()

    def run(self, seconds: float, step_s: float = 0.05, alive: Sequence[QksId] = (B, C)) -> None:
        """Let time pass, in which these neighbours say Hello every second."""
        steps = round(seconds / step_s)
        for number in range(1, steps + 1):
            self.now += step_s
            self.feed(ev.Tick())
            if number % round(1 / step_s) == 0:
                for peer in alive:
                    self.hello(peer)


def acks(messages: Sequence[wire.Message]) -> list[wire.Header]:
    """Return what is acknowledged by these."""
    return [header for message in messages if isinstance(message, wire.Ack) for header in message.headers]


def lsas(messages: Sequence[wire.Message]) -> list[wire.Body]:
    """Return the bodies that these carry."""
    updates = (message for message in messages if isinstance(message, wire.Update))
    bodies = (wire.decode_body(each.body) for message in updates for each in message.carried)
    return [body for body in bodies if isinstance(body, wire.Body)]
