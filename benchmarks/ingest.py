"""How fast a link's key becomes durable at both ends while keys are asked for, against bare writers of the same bytes.

python -m benchmarks.ingest FOLDER SECONDS      one bare writer: says its bytes per second on stdout
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
from benchmarks.load import Caller, Refused, post, until_served
from benchmarks.results import Line
from benchmarks.sites import TO_BOB, A, B, Sites, link_of, two_sites

from qss.cli.demo.exchanges import ALICE

SECONDS = 60.0
BARE_SECONDS = 15.0
ASKS_PER_SECOND = 50
CALLERS = 10
"""Connections that share the asking, so that one answer that is late does not delay the next ask."""

DEVICE_BPS = 2e9
"""More than any of it can take: the link goes as fast as it can."""

BLOCK_BYTES = 64 * 1024
BLOCKS_AT_ONCE = 16
ONE = post(TO_BOB)


async def ingest() -> AsyncIterator[Line]:
    """Bits per second that are durable at both ends, over a minute in which 50 keys a second are given out."""
    async with two_sites(link_of(DEVICE_BPS, 1 << 40)) as sites:
        alice = await sites.caller(ALICE)
        await until_served(alice, ONE)
        callers = [alice, *[await sites.caller(ALICE) for _ in range(CALLERS - 1)]]
        asking = [asyncio.create_task(_ask(caller)) for caller in callers]
        before, began = await _durable(sites), time.monotonic()
        await asyncio.sleep(SECONDS)
        after, ended = await _durable(sites), time.monotonic()
        for task in asking:
            task.cancel()
        served = await asyncio.gather(*asking)
    mbit_s = (after - before) / (ended - began) / 1e6
    yield Line("ingest_mbit_s", mbit_s, "Mbit/s", ">= 115.8")
    yield Line("ingest_getkey_served", sum(served) / (ended - began), "1/s", ">= 49")
    by_hand = await bare()
    yield Line("ingest_bare_mbit_s", by_hand, "Mbit/s")
    yield Line("ingest_ratio", mbit_s / by_hand, "x", ">= 0.25")


async def _durable(sites: Sites) -> int:
    bits = await asyncio.gather(*(asyncio.to_thread(sites.ingested_bits, site) for site in (A, B)))
    return min(bits)


async def _ask(caller: Caller) -> int:
    """Ask steadily until cancelled; return how often there was an answer."""
    answered, due = 0, time.monotonic()
    try:
        while True:
            due += CALLERS / ASKS_PER_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            with contextlib.suppress(Refused):
                await caller.ask(ONE)
                answered += 1
    except asyncio.CancelledError:
        return answered


async def bare() -> float:
    """Return what each of two bare writers, which run at the same time, makes durable, in Mbit/s."""
    with tempfile.TemporaryDirectory(prefix="qss-bench-") as folder:
        writers = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.ingest", f"{folder}/{number}", str(BARE_SECONDS)),
                stdout=asyncio.subprocess.PIPE,
            )
            for number in range(2)
        ]
        said = await asyncio.gather(*(writer.communicate() for writer in writers))
    return sum(8 * float(out) / 1e6 for out, _ in said) / len(said)


def write_bare(path: Path, seconds: float) -> float:
    """Write blocks as fast as they become durable; return bytes per second."""
    connection = apsw.Connection(str(path))
    for pragma in ("page_size=16384", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE blocks (id INTEGER PRIMARY KEY, sealed BLOB)")
    blocks = [(os.urandom(BLOCK_BYTES),) for _ in range(BLOCKS_AT_ONCE)]
    written, began = 0, time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        with connection:
            connection.executemany("INSERT INTO blocks (sealed) VALUES (?)", blocks)
        written += BLOCK_BYTES * BLOCKS_AT_ONCE
    return written / elapsed


if __name__ == "__main__":
    print(write_bare(Path(sys.argv[1]), float(sys.argv[2])))
