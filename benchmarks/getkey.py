"""What one Get key costs, at either end of a link, above its floor; how many there can be; and keys by the hundred."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from benchmarks import floor
from benchmarks.load import Caller, Target, post, rate, timed, until_served
from benchmarks.results import Line, percentile
from benchmarks.sites import TO_ALICE, TO_BOB, Sites, link_of, two_sites
from benchmarks.state import fill

from qss.cli.demo.exchanges import ALICE, BOB

ROUNDS = 1500
WARM_UP = 100
TURN = 25
ONE = post(TO_BOB)
OTHER = post(TO_ALICE)
HUNDRED = post(TO_BOB, b'{"number": 100, "size": 1024}')
FILLED_BITS = 400_000_000
"""Key that both sites hold before anything is measured; their devices add little to it meanwhile."""

SLOW = link_of(50_000, 1 << 40)


def filled_sites() -> AbstractAsyncContextManager[Sites]:
    """Return two sites that hold key enough."""
    return two_sites(SLOW, lambda network: fill(network, FILLED_BITS))


async def in_turns(asks: Sequence[Callable[[], Awaitable[float]]], rounds: int) -> list[list[float]]:
    """Ask each in turn, so that whatever else the machine does touches all alike.

    A turn is several asks long: one alone would find the caches cold from what was asked before it, and the shortest
    path suffers most from that.
    """
    for ask in asks:
        for _ in range(WARM_UP):
            await ask()
    times: list[list[float]] = [[] for _ in asks]
    for _ in range(rounds // TURN):
        for values, ask in zip(times, asks, strict=True):
            values.extend([await ask() for _ in range(TURN)])
    return times


async def latency() -> AsyncIterator[Line]:
    """One 256-bit key, one client, against the floor: p50 and p99, owner and non-owner apart."""
    async with filled_sites() as sites:
        alice, bob = await sites.caller(ALICE), await sites.caller(BOB)
        size = len(await until_served(alice, ONE))
        await until_served(bob, OTHER)
        folder = sites.network.folder
        async with floor.process("far", folder) as there, floor.process("near", folder, there, size) as port:
            below = await Caller.to(Target.of(sites.network, ALICE, port))
            base, owner, other = await in_turns(
                [lambda: timed(below, ONE), lambda: timed(alice, ONE), lambda: timed(bob, OTHER)], ROUNDS
            )
    yield Line("floor_p50_ms", statistics.median(base), "ms")
    yield Line("floor_p99_ms", percentile(base, 0.99), "ms")
    for who, times in (("owner", owner), ("other", other)):
        p50, p99 = statistics.median(times), percentile(times, 0.99)
        yield Line(f"getkey_p50_ms_{who}", p50, "ms")
        yield Line(f"getkey_p99_ms_{who}", p99, "ms")
        yield Line(f"getkey_floor_ratio_{who}", p50 / statistics.median(base), "x", "<= 1.5")
        yield Line(f"getkey_floor_ratio_p99_{who}", p99 / percentile(base, 0.99), "x", "<= 1.5")


async def throughput() -> AsyncIterator[Line]:
    """How many a second on 32 connections, against a bare server that answers a constant body of the same size."""
    async with filled_sites() as sites:
        alice = await sites.caller(ALICE)
        size = len(await until_served(alice, ONE))
        mine = Target.of(sites.network, ALICE)
        async with floor.process("constant", sites.network.folder, 0, size) as port:
            bare = Target.of(sites.network, ALICE, port)
            ours, theirs = [], []
            for _ in range(4):
                theirs.append(await rate(bare, ONE, 32, 2.0))
                ours.append(await rate(mine, ONE, 32, 2.0))
        ours, theirs = ours[1:], theirs[1:]
    yield Line("bare_server_rate", statistics.median(theirs), "1/s")
    yield Line("getkey_rate", statistics.median(ours), "1/s")
    yield Line("getkey_rate_ratio", statistics.median(ours) / statistics.median(theirs), "x", ">= 0.5")


async def batch() -> AsyncIterator[Line]:
    """A hundred keys of 1,024 bit in one request, against one of 256; and how much key that is at 8 clients."""
    async with filled_sites() as sites:
        alice = await sites.caller(ALICE)
        await until_served(alice, HUNDRED)
        one, hundred = await in_turns([lambda: timed(alice, ONE), lambda: timed(alice, HUNDRED)], 200)
        per_second = await rate(Target.of(sites.network, ALICE), HUNDRED, 8, 2.0)
    p50 = statistics.median(hundred)
    yield Line("batch100_ms", p50, "ms")
    yield Line("batch100_ratio", p50 / statistics.median(one), "x", "<= 3")
    yield Line("batch_mbit_s", per_second * 100 * 1024 / 1e6, "Mbit/s", ">= 30")


async def pair() -> AsyncIterator[Line]:
    """Get key by the master and Get key with key IDs by the slave, one after the other, and many such at once."""
    async with filled_sites() as sites:
        alice, bob = await sites.caller(ALICE), await sites.caller(BOB)
        await until_served(alice, ONE)

        async def both(master: Caller, slave: Caller) -> float:
            began = time.perf_counter()
            (key,) = json.loads(await master.ask(ONE))["keys"]
            body = json.dumps({"key_IDs": [{"key_ID": key["key_ID"]}]}).encode()
            await slave.ask(post(f"/api/v1/keys/{ALICE}/dec_keys", body))
            return 1000 * (time.perf_counter() - began)

        times = [await both(alice, bob) for _ in range(500)]
        pairs = [(await sites.caller(ALICE), await sites.caller(BOB)) for _ in range(16)]
        began, count = time.perf_counter(), 0

        async def go_on(master: Caller, slave: Caller) -> None:
            nonlocal count
            while time.perf_counter() < began + 4.0:
                await both(master, slave)
                count += 1

        await asyncio.gather(*(go_on(*one) for one in pairs))
        per_second = count / (time.perf_counter() - began)
    yield Line("pair_p50_ms", statistics.median(times), "ms")
    yield Line("pair_rate", per_second, "1/s")
