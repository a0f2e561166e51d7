"""What keys over repeaters cost: in time, warm and cold, over as many hops as there are; in key of links; and how fast
a stream can be filled.

All links hold key beforehand and their devices stand still, so that nothing but relaying is measured. A stream is
*warm* when its key is there before it is asked for, and *cold* when all that it had was taken the moment before: the
connections stand, and a request waits for what is relayed. The floor of a cold one is a request between neighbours, and
for each hop one round trip and one commit (`benchmarks.floor`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from benchmarks import floor
from benchmarks.getkey import in_turns
from benchmarks.ingest import bare
from benchmarks.load import Caller, get, post, timed, until_served
from benchmarks.results import Line
from benchmarks.sites import Edit, Sites, line_of, link_of, sae_of
from benchmarks.state import fill

from qss.cli.demo.network import Network
from qss.model.identifiers import QksId

SITES = 9
THREE = tuple(map(QksId, "ABC"))
ROUNDS = 500
COLD_ROUNDS = 10
COLD_TURN = 5

FILLED_BITS = 120_000_000
LINK_CAPACITY_BITS = 20_000_000
"""Less than links hold, so that no device runs. Half of it is left by relays that can wait."""

LEAST_BITS = 65_536
"""As much is held ready of a stream in use, however little is used; with this capacity it is never more."""

LARGEST_BITS = 1 << 40
BULK_BITS = 1_200_000_000
BULK_PATIENCE_S = 120.0

KEY_BITS = 256
LARGE_BITS = 8192

_POLL_S = 0.25
"""Not more often: to ask both ends, each time over a new connection, took a twentieth of their processor."""

_QUIET_S = 0.5

ASKED = {"1": 1, "100": 100}

Books = Counter[str]
"""Bits: `relayed` of the source's own link, and what became of those of the stream."""


# --- warm -----------------------------------------------------------------------------------------------------------


async def warm() -> AsyncIterator[Line]:
    """A key of a warm stream over all hops, in turns with one of a neighbour; and the link key that keys cost."""
    async with line_of(SITES, _relaying(8_388_608), _fill) as sites:
        source, neighbour, *afar = sites.network.sites
        caller = await sites.caller(sae_of(source))
        await _until_reached(sites, caller)
        for name, number in ASKED.items():
            fresh, afar = afar[:3], afar[3:]
            spent = [await _overhead_cold(sites, caller, site, number) for site in fresh]
            yield Line(f"relay_overhead_{name}_cold", statistics.median(spent), "bit/bit")
        (far,) = afar
        await until_served(caller, _keys_to(far))
        await _until_quiet(sites, far)
        before = _books(sites, far)
        over, direct = await in_turns([_asking(caller, _keys_to(far)), _asking(caller, _keys_to(neighbour))], ROUNDS)
        await _until_quiet(sites, far)
        yield Line("relay_direct_ms", statistics.median(direct), "ms")
        yield Line(f"relay_warm{SITES - 1}_ms", statistics.median(over), "ms")
        yield Line(f"relay_warm{SITES - 1}_ratio", statistics.median(over) / statistics.median(direct), "x", "<= 1.5")
        yield Line("relay_overhead_1_warm", _overhead(before, _books(sites, far)), "bit/bit", "<= 1.1")
        before = _books(sites, far)
        for _ in range(ROUNDS // 5):
            await until_served(caller, _keys_to(far, 100))
        await _until_quiet(sites, far)
        yield Line("relay_overhead_100_warm", _overhead(before, _books(sites, far)), "bit/bit", "<= 1.1")


async def _overhead_cold(sites: Sites, caller: Caller, far: QksId, number: int) -> float:
    """Return what the first request of a stream costs each link, by the bits that it delivers.

    It is looked at as soon as it is answered, before more is relayed for the next one.
    """
    before = _books(sites, far)["relayed"]
    await until_served(caller, _keys_to(far, number))
    return (_books(sites, far)["relayed"] - before) / (number * KEY_BITS)


def _overhead(before: Books, after: Books) -> float:
    """Return what each link spent by what was delivered or is now held ready."""
    gained = sum(after[state] - before[state] for state in ("delivered", "available"))
    return (after["relayed"] - before["relayed"]) / gained


def _books(sites: Sites, far: QksId) -> Books:
    source, neighbour, *_ = sites.network.sites
    return sites.bits(source, far) | Counter(relayed=sites.bits(source, neighbour)["relayed"])


async def _until_quiet(sites: Sites, far: QksId) -> None:
    """Wait until nothing is relayed any more."""
    before = None
    while (now := _books(sites, far)) != before:
        before = now
        await asyncio.sleep(_QUIET_S)


# --- cold -----------------------------------------------------------------------------------------------------------


async def cold() -> AsyncIterator[Line]:
    """A key of a cold stream over 2 hops and more, in turns with one of a neighbour, and with a bare hop."""
    async with line_of(SITES, _relaying(LEAST_BITS), _fill) as sites, AsyncExitStack() as stack:
        source, neighbour, *afar = sites.network.sites
        caller = await sites.caller(sae_of(source))
        folder = sites.network.folder
        hop = await floor.Hop.to(folder, await stack.enter_async_context(floor.process("far", folder)))
        await _until_reached(sites, caller)
        asks = [hop.timed, _asking(caller, _keys_to(neighbour)), *[_asking_cold(caller, site) for site in afar]]
        times: list[list[float]] = [[] for _ in asks]
        for _ in range(COLD_ROUNDS):
            for values, ask in zip(times, asks, strict=True):
                values += [await ask() for _ in range(COLD_TURN)]
    one_hop, direct, *over = map(statistics.median, times)
    yield Line("relay_floor_hop_ms", one_hop, "ms")
    for hops, ms in enumerate(over, 2):
        yield Line(f"relay_cold_{hops}_ms", ms, "ms")
        yield Line(f"relay_cold_{hops}", ms / (direct + hops * one_hop), "x", "<= 1.5")


def _asking_cold(caller: Caller, far: QksId) -> Callable[[], Awaitable[float]]:
    async def ask() -> float:
        await _drain(caller, far)
        return await timed(caller, _keys_to(far))

    return ask


async def _drain(caller: Caller, far: QksId) -> None:
    """Take all that a stream has."""
    while True:
        told = json.loads(await caller.ask(get(f"/api/v1/keys/{sae_of(far)}/status")))
        large, small = divmod(told["stored_key_count"] * KEY_BITS, LARGE_BITS)
        if not large and not small:
            return
        if large:
            await caller.ask(_keys_to(far, large, LARGE_BITS))
        if small:
            await caller.ask(_keys_to(far, 1, small))


# --- bulk -----------------------------------------------------------------------------------------------------------


async def bulk() -> AsyncIterator[Line]:
    """How fast a stream over one repeater is filled, durable at both ends, against bare writers of the same bytes."""
    *_, last = THREE
    always = f'[[relay.warm]]\nsite = "{last}"\nbits = {LARGEST_BITS}\n'
    async with line_of(
        len(THREE), _relaying(LARGEST_BITS, always), lambda network: fill(network, BULK_BITS * 4 // 3)
    ) as sites:
        before, began = await _until_filled(sites, 1), time.monotonic()
        after = await _until_filled(sites, before + BULK_BITS)
        mbit_s = (after - before) / (time.monotonic() - began) / 1e6
    by_hand = await bare()
    yield Line("relay_bulk_mbit_s", mbit_s, "Mbit/s", ">= 100")
    yield Line("relay_bare_mbit_s", by_hand, "Mbit/s")
    yield Line("relay_bulk_ratio", mbit_s / by_hand, "x", ">= 0.25")


async def _until_filled(sites: Sites, bits: int) -> int:
    """Wait until so many bits of the stream were durable at both ends; return how many there were then."""
    first, _, last = THREE
    async with asyncio.timeout(BULK_PATIENCE_S):
        while True:
            sites.nodes.check()
            with contextlib.suppress(OSError):  # a node that is still starting
                ends = await asyncio.gather(
                    *(asyncio.to_thread(sites.bits, site, peer) for site, peer in ((first, last), (last, first)))
                )
                if (durable := min(end["ingested"] for end in ends)) >= bits:
                    return durable
            await asyncio.sleep(_POLL_S)


# --- all of them ----------------------------------------------------------------------------------------------------


async def relay() -> AsyncIterator[Line]:
    """All of it, each in a network of its own."""
    for part in (warm, cold, bulk):
        async for line in part():
            yield line


def _relaying(capacity_bits: int, at_the_source: str = "") -> Edit:
    """Return an edit that has streams hold so much; with more for the file of the first site, which fills them."""
    links = link_of(50_000, LINK_CAPACITY_BITS)

    def edit(site: QksId, text: str) -> str:
        more = at_the_source if site == THREE[0] else ""
        return f"{links(site, text)}\n[relay]\ncapacity_bits = {capacity_bits}\n{more}"

    return edit


def _fill(network: Network) -> None:
    fill(network, FILLED_BITS)


def _keys_to(site: QksId, number: int = 1, bits: int = KEY_BITS) -> bytes:
    body = json.dumps({"number": number, "size": bits}).encode()
    return post(f"/api/v1/keys/{sae_of(site)}/enc_keys", body)


def _asking(caller: Caller, request: bytes) -> Callable[[], Awaitable[float]]:
    return lambda: timed(caller, request)


async def _until_reached(sites: Sites, caller: Caller) -> None:
    """Wait until the first site knows the ways to all others."""
    for site in sites.network.sites[1:]:
        sites.nodes.check()
        await until_served(caller, get(f"/api/v1/keys/{sae_of(site)}/status"))
    sites.nodes.check()
