"""Stores that hold much key already: how long a node takes to start on one, and how much memory it needs."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.load import post, until_served
from benchmarks.results import Line
from benchmarks.sites import TO_BOB, A, B, Sites, link_of, two_sites

from qss.app.catalogue import anchor_of, keyring_of
from qss.app.configuration import load
from qss.app.data_folder import open_store
from qss.cli.demo.exchanges import ALICE
from qss.cli.demo.network import Network
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.records import StreamRecord
from qss.ports.store import PutKey, PutStream, SealedChange

TEN_MILLION_KEYS_BITS = 10_000_000 * 256
_PIECE_BYTES = 64 * 1024
_PIECES_AT_ONCE = 64
_SLOW = link_of(50_000, 1 << 40)


def fill(network: Network, bits: int) -> None:
    """Put so much key of one stream for each link into both ends' stores, through the barrier, as a link would have."""
    for number, (one, other) in enumerate(network.links):
        for site, peer in ((one, other), (other, one)):
            asyncio.run(_fill(network, site, peer, bits // 8, number))


async def _fill(network: Network, site: QksId, peer: QksId, length: int, number: int) -> None:
    configuration = load(network.configuration(site))
    store = await open_store(configuration.site.data, site, keyring_of(configuration.keyring))
    fence = (await store.start()).incarnation
    stream, same = StreamId(b"\x5a" * 15 + bytes([number])), random.Random(number)
    record = StreamRecord(stream, peer, 1024, version=1, mark=length, closed=True, opened_at=time.time())
    commit = await store.commit([PutStream(record)], fence)
    at = 0
    while at < length:
        batch: list[SealedChange] = []
        while at < length and len(batch) < _PIECES_AT_ONCE:
            piece = same.randbytes(min(_PIECE_BYTES, length - at))
            batch.append(PutKey(stream, at, KeyMaterial(piece)))
            at += len(piece)
        commit = await store.commit(batch, fence)
    await store.close()
    anchor_of(configuration.site).write(commit)


async def start(sites: Sites) -> float:
    """Start both nodes; return the seconds until A has given out a key."""
    began = time.monotonic()
    for site in (B, A):
        await sites.nodes.start(site)
    alice = await sites.caller(ALICE)
    await until_served(alice, post(TO_BOB, b'{"size": 64}'))
    seconds = time.monotonic() - began
    await alice.close()
    return seconds


def memory_mb(pid: int) -> float:
    """Return a process' resident memory."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


async def memory() -> AsyncIterator[Line]:
    """Memory and start with ten million keys' worth of stream."""
    async with two_sites(_SLOW, lambda network: fill(network, TEN_MILLION_KEYS_BITS), start=False) as sites:
        seconds = await start(sites)
        await asyncio.sleep(3)
        megabytes = memory_mb(sites.nodes.pid(A))
    yield Line("memory_mb", megabytes, "MB", "<= 200")
    yield Line("start_s", seconds, "s", "<= 2")
