"""`make bench`: measures what is named, or all; prints a line for each figure and writes build/bench.json.

Each figure is printed and written as soon as it is there: if a later one fails, or somebody ends it, it is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import structlog
from benchmarks import audit, getkey, growth, ingest, relay, routing, routing_sim, southbound, state
from benchmarks.results import Line, write

type Set = Callable[[], AsyncIterator[Line]]

SETS: dict[str, Set] = {
    "getkey": getkey.latency,
    "rate": getkey.throughput,
    "batch": getkey.batch,
    "pair": getkey.pair,
    "ingest": ingest.ingest,
    "memory": state.memory,
    "growth": growth.growth,
}
"""What is measured if nothing is named, in order."""

ON_DEMAND: dict[str, Set] = {
    "audit": audit.audit,
    "relay": relay.relay,
    "southbound": southbound.southbound,
    "routing": routing.routing,
    "routing-sim": routing_sim.routing_sim,
}
"""What is measured only if it is named."""

RESULTS = Path("build/bench.json")
_INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended: 128 + SIGINT


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog='make bench ARGS="…"', description=__doc__)
    known = {**SETS, **ON_DEMAND}
    default = f"(default: all but {', '.join(ON_DEMAND)})"
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(known)} {default}")
    names = parser.parse_args().names or list(SETS)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"there is no {', '.join(unknown)}: choose from {', '.join(known)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        _measure({name: known[name] for name in names})
    except KeyboardInterrupt:
        sys.stderr.write(f"ended: what has been measured is in {RESULTS}\n")
        sys.exit(_INTERRUPTED)


def _measure(sets: Mapping[str, Set]) -> None:
    lines: list[Line] = []
    write(lines, RESULTS)  # those of an earlier run are not of this one
    for name, measured in sets.items():
        began = time.monotonic()
        sys.stderr.write(f"measuring {name} …\n")
        asyncio.run(_keep(measured(), lines))
        sys.stderr.write(f"{name} took {time.monotonic() - began:.0f} s\n")


async def _keep(measured: AsyncIterator[Line], lines: list[Line]) -> None:
    async for line in measured:
        print(line, flush=True)
        lines.append(line)
        write(lines, RESULTS)


if __name__ == "__main__":
    main()
