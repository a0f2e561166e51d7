"""Begins a large network where the protocol would have brought it: all adjacencies full, all databases the same.

From cold, a thousand sites tell each other two thousand LSAs over every road: minutes of real time in which nothing is
learnt. Here every router takes from each neighbour what begins an adjacency, by the protocol's own messages (Hello, a
Summary of nothing, Acks of what it says itself), and what all others have said goes straight into its database, as if
the flood had come and gone. What this leaves is what the flood leaves; that is tested, not assumed.
"""

from __future__ import annotations

from collections.abc import Iterable

from qss.core.routing import events as ev
from qss.core.routing.hold import FIRST_HOLD_S
from qss.core.routing.router import Router
from qss.model.identifiers import QksId
from qss.simulation.routing import Network
from qss.wire import routing as wire


def warm(network: Network, spread_s: float = 0.0) -> None:
    """Bring a network in which nothing is connected to rest, at the time `spread_s` and a hold time.

    The sites are started anew at times within `spread_s`, so that they do not refresh their LSAs all at once.
    """
    began = network.now
    for site in network.sites:
        passed_s = network.dice.random() * spread_s
        network.now = began + passed_s
        network.start(site, asleep_s=spread_s + FIRST_HOLD_S - passed_s)
        _meet(network, site)
    network.now = began + spread_s + FIRST_HOLD_S
    said = [instance for router in network.routers.values() for instance in router.database]
    for site, router in network.routers.items():
        told = (instance for instance in said if instance.header.key.origin != site)
        router.seed(told, network.now, network.now)
    for one, other in network.roads:
        network.join(one, other)
    for site, router in network.routers.items():
        for peer in network.peers(site):
            network.feed(site, ev.Received(peer, _hello(network, router.database.digest)))
    network.sent.clear()
    network.changed_at.clear()


def _meet(network: Network, site: QksId) -> None:
    """Let a site find its neighbours, and say all that it has to say of itself."""
    router, now = network.routers[site], network.now
    for peer in network.peers(site):
        for event in (
            ev.Connected(peer),
            ev.Received(peer, _hello(network, bytes(wire.DIGEST_BYTES))),
            ev.Received(peer, wire.Summary((), more=False)),
        ):
            _acknowledge(router, router.handle(event, now, now), now)
    later = now + FIRST_HOLD_S
    _acknowledge(router, router.handle(ev.Tick(), later, later), later)


def _hello(network: Network, digest: bytes) -> wire.Hello:
    return wire.Hello(heard=True, full=True, dead_ms=round(1000 * network.settings.dead_s), digest=digest)


def _acknowledge(router: Router, effects: Iterable[ev.Effect], now: float) -> None:
    """Answer what a router says as its neighbours do once they have it."""
    for effect in effects:
        if not isinstance(effect, ev.Send):
            continue
        for message in effect.messages:
            if isinstance(message, wire.Update):
                headers = [wire.header_of(each.body, wire.decode_body(each.body)) for each in message.carried]
                router.handle(ev.Received(effect.peer, wire.Ack(tuple(headers))), now, now)
