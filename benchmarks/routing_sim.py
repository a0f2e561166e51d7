"""Routing in virtual time: a thousand sites after a change, messages, LSAs of a filling buffer, paths, cost of rest.

The cores are the real ones, in one process and on one processor; signatures are fakes there, so what real ones cost is
measured apart, and added where it counts. Virtual times are the same at every run; real ones are this machine's.
The curves are kept in build/routing_curves.json.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.namespaces import ended_by_signals
from benchmarks.results import Line, slope, write_json

from qss.core.routing import Origin, shortest_paths
from qss.core.routing import events as ev
from qss.core.routing.cost import CostWeights, LinkCost, Told
from qss.core.routing.origination import Origination
from qss.core.routing.paths import repaired_paths
from qss.core.routing.router import Router
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Edge, Graph, Load
from qss.pki.folder import PkiFolder
from qss.pki.statements import Judge, Signer
from qss.simulation.routing import FULL_LOAD, Network
from qss.simulation.routing_start import warm
from qss.simulation.routing_truth import Truth
from qss.simulation.topologies import Roads, geant, nsfnet, scattered, tangle
from qss.wire import routing as wire

LARGE = 1000
SIZES = (10, 20, 50, 100, 200, 500, 1000, 2000)
RESTING = {50: 30.0, 200: 8.0, LARGE: 2.0}
"""Sites, and for how many seconds they are watched."""

DEARER = Load(FULL_LOAD.available_bits, FULL_LOAD.capacity_bits, 100)
CURVES = Path("build/routing_curves.json")


async def routing_sim() -> AsyncIterator[Line]:
    """Measure all."""
    with ended_by_signals():  # it never waits: the event loop would not get to see them
        for line in _measured():
            yield line


def _measured() -> Iterator[Line]:
    yield from _large("scattered", scattered(LARGE, 1))
    yield from _large("random", tangle(LARGE, 1))
    yield from _messages("nsfnet", nsfnet())
    yield from _messages("geant", geant())
    yield from _lsa_rate()
    curve = [_paths_point(size) for size in SIZES]
    large = next(point for point in curve if point["n"] == LARGE)
    yield Line("routing_paths_1000", large["full_ms"], "ms")
    yield Line("routing_paths_repaired_1000", large["repaired_ms"], "ms")
    yield Line("routing_paths_slope", slope([(point["n"], point["full_ms"]) for point in curve[2:]]), "", "<= 1.5")
    resting = []
    for size, seconds in RESTING.items():
        point = _rest_point(size, seconds)
        resting.append(point)
        for what, unit in (("core_cpu", "s/min"), ("signatures_cpu", "s/min"), ("kbytes", "kB/min")):
            yield Line(f"routing_rest_{size}_{what}", point[what], unit)
    write_json({"paths": curve, "rest": resting}, CURVES)


# --- a thousand sites ---------------------------------------------------------------------------------------------


def _large(shape: str, roads: Roads) -> Iterable[Line]:
    """Yield how long one change takes, in the network's time and in this machine's, with all tables looked at."""
    began = time.perf_counter()
    network = Network(roads)
    warm(network)
    network.run(1)
    truth = Truth(network)
    down_s = _known_after(network, truth, partial(network.cut, *roads[len(roads) // 2]))
    yield Line(f"routing_{shape}_1000_down", down_s, "s virt.", "<= 1")
    yield Line(f"routing_{shape}_1000_real", time.perf_counter() - began, "s", "<= 60")
    dear_s, waited_s = _dearer_after(network, truth, *roads[len(roads) // 3])
    yield Line(f"routing_{shape}_1000_cost", dear_s, "s virt.", "<= 1")
    yield Line(f"routing_{shape}_1000_tick", waited_s, "s virt.")


def _known_after(network: Network, truth: Truth, change: Callable[[], None]) -> float:
    """Return after how many virtual seconds the last table is another one. All must be right then."""
    network.changed_at.clear()
    began = network.now
    change()
    network.run(3)
    assert truth.wrong() == []
    return max(network.changed_at.values()) - began


def _dearer_after(network: Network, truth: Truth, one: QksId, other: QksId) -> tuple[float, float]:
    """Return how long a higher cost takes from its telling to the last table, and how long its ends wait to tell it."""
    began = network.now
    ends = (network.routers[one], other), (network.routers[other], one)
    before = [router.told_of(peer) for router, peer in ends]
    network.set_load(one, other, DEARER)
    network.run(2, lambda: all(router.told_of(peer) != told for (router, peer), told in zip(ends, before, strict=True)))
    return _known_after(network, truth, lambda: None), network.now - 3 - began


# --- messages -----------------------------------------------------------------------------------------------------


def _messages(shape: str, roads: Roads) -> Iterable[Line]:
    """Yield how many Updates one event costs, for each road."""
    network = Network(roads, lifetime_s=3600)
    warm(network)
    one, other = roads[0]
    events: dict[str, Callable[[], None]] = {
        "sae": lambda: network.set_saes(one, {SaeId("sae:new"): None}),
        "cost": lambda: network.set_load(one, other, DEARER),
        "down": lambda: network.cut(one, other),
        "up": lambda: network.connect(one, other),
    }
    for name, happen in events.items():
        network.run(5)
        network.sent.clear()
        happen()
        network.run(3)
        goal = "<= 2" if name == "sae" else "<= 4"
        yield Line(f"routing_{shape}_{name}", network.sent["Update"] / len(roads), "upd/link", goal)


# --- LSAs of one link -----------------------------------------------------------------------------------------------


def _lsa_rate() -> Iterable[Line]:
    """Yield how many LSAs a minute one end of a link tells whose buffer fills in ten minutes, shaken by requests."""
    damped = _lsas_a_minute(lambda weights, load: LinkCost(weights, load))
    bare = _lsas_a_minute(_Undamped)
    yield Line("routing_lsas_damped", damped, "/min")
    yield Line("routing_lsas_undamped", bare, "/min")
    yield Line("routing_lsas_saved", bare / damped, "x", ">= 10")


class _Undamped:
    """Tells the exact cost, rounded to whole numbers."""

    def __init__(self, weights: CostWeights, load: Load) -> None:
        self._weights = weights
        self._load = load
        self.told = Told(1, load.available_bits)

    def tick(self, load: Load) -> bool:
        before, self._load = self._load, load
        cost = self._weights.exact(load.available_bits, before.available_bits, load.capacity_bits)
        before_told, self.told = self.told, Told(round(cost), load.available_bits)
        return self.told != before_told


def _lsas_a_minute(cost_of: Callable[[CostWeights, Load], LinkCost | _Undamped], minutes: int = 10) -> float:
    dice, capacity, told = random.Random(1), 1 << 20, 0
    origin = Origin(wire.Source("A", "a", 1), wire.Endpoint("a", 2), lifetime_s=3600)
    origination = Origination(origin)
    cost = cost_of(CostWeights(), Load(0, capacity))
    for second in range(60 * minutes):
        level = second / (60 * minutes) + dice.uniform(-0.03, 0.03)
        if cost.tick(Load(round(capacity * min(1.0, max(0.0, level))), capacity)):
            origination.set_links([wire.LinkState("B", cost.told.cost, cost.told.available_bits)])
        told += sum(body.key.type == wire.LsaType.LINKS for body in origination.due(second, second))
    return told / minutes


# --- paths ----------------------------------------------------------------------------------------------------------


def _paths_point(size: int) -> Mapping[str, float]:
    """Return the milliseconds for all paths from a site: anew (the quickest), and after a cost has changed (the mean).

    On a plane paths grow with the root of the number of sites: naming their sites alone has a slope of 1.5.
    """
    dice, edges = random.Random(1), dict[QksId, dict[QksId, Edge]]()
    roads = scattered(size, 1)
    for one, other in roads:
        edges.setdefault(one, {})[other] = edges.setdefault(other, {})[one] = Edge(64 * dice.randint(4, 16), 1)
    graph = Graph(edges, frozenset(edges))
    source = roads[0][0]
    paths = shortest_paths(graph, source)
    full, repaired = list[float](), list[float]()
    for _ in range(50):
        one, other = dice.choice(roads)
        cost = max(64, edges[one][other].cost + dice.choice((-64, 64)))  # costs move by steps
        edges[one][other] = edges[other][one] = Edge(cost, 1)
        full.append(_milliseconds(lambda: shortest_paths(graph, source)))
        before, link = paths, (one, other)
        repaired.append(_milliseconds(partial(repaired_paths, graph, source, before, [link])))
        paths = shortest_paths(graph, source)
    return {"n": size, "full_ms": min(full), "repaired_ms": statistics.fmean(repaired)}


def _milliseconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - began)


# --- rest -----------------------------------------------------------------------------------------------------------


def _rest_point(size: int, seconds: float) -> Mapping[str, float]:
    """Return what a site costs in a minute in which nothing happens: Hellos, and all refresh what they have said."""
    network = Network(scattered(size, 1))
    warm(network, spread_s=network.lifetime_s / 3)
    check_s, authentication = _signature()
    clock = _Clock()
    for router in network.routers.values():
        clock.watch(router)
    told, sent_bytes = set[bytes](), 0

    def weigh(_: QksId, __: QksId, message: wire.Message) -> list[wire.Message]:
        nonlocal sent_bytes
        sent_bytes += len(wire.encode((message,)))
        if isinstance(message, wire.Update):
            sent_bytes += sum(authentication - each.authentication.size for each in message.carried)
            told.update(each.body for each in message.carried)
        return [message]

    network.disturb = weigh
    network.run(seconds)
    in_a_minute = 60 / seconds / size
    return {
        "n": size,
        "core_cpu": clock.seconds * in_a_minute,
        "signatures_cpu": check_s * len(told) * 60 / seconds,
        "kbytes": sent_bytes * in_a_minute / 1000,
        "lsas": len(told) * 60 / seconds,
    }


class _Clock:
    """How much time of the processor routers take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, router: Router) -> None:
        """Count this router's time as well."""
        handle = router.handle

        def timed(event: ev.Event, now: float, wall: float) -> ev.Effects:
            began = time.thread_time()
            effects = handle(event, now, wall)
            self.seconds += time.thread_time() - began
            return effects

        router.handle = timed  # type: ignore[method-assign]


def _signature() -> tuple[float, int]:
    """Return the seconds that it takes to check one, of a site that is known, and its bytes with its certificate."""
    with tempfile.TemporaryDirectory() as folder:
        pki = PkiFolder(Path(folder) / "pki")
        authority = pki.create("benchmark", 2)
        site = QksId("A")
        pair = pki.issue_site(site, ["localhost"], 1)
        signer, judge = Signer(pair.certificate, pair.key), Judge(authority.certificate)
    body = bytes(200)
    signature = signer.sign(body)
    times = [
        _milliseconds(lambda: judge.check(site, body, signer.algorithm, signer.certificates, signature))
        for _ in range(200)
    ]
    size = wire.Authentication(signer.algorithm, signer.certificates, signature).size
    return statistics.median(times) / 1000, size
