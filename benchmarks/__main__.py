"""`make bench`: measures what is named, or all; prints a line for each figure and writes build/bench.json."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog
from benchmarks import getkey, growth, ingest, state
from benchmarks.results import Line, write

SETS: dict[str, Callable[[], Coroutine[Any, Any, list[Line]]]] = {
    "getkey": getkey.latency,
    "rate": getkey.throughput,
    "batch": getkey.batch,
    "pair": getkey.pair,
    "ingest": ingest.ingest,
    "memory": state.memory,
    "growth": growth.growth,
}
"""What can be measured, in the order of the default set."""

RESULTS = Path("build/bench.json")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog='make bench ARGS="…"', description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(SETS)} (default: all)")
    names = parser.parse_args().names or list(SETS)
    if unknown := [name for name in names if name not in SETS]:
        parser.error(f"there is no {', '.join(unknown)}: choose from {', '.join(SETS)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    lines: list[Line] = []
    for name in names:
        began = time.monotonic()
        sys.stderr.write(f"measuring {name} …\n")
        for line in asyncio.run(SETS[name]()):
            print(line, flush=True)
            lines.append(line)
        sys.stderr.write(f"{name} took {time.monotonic() - began:.0f} s\n")
    write(lines, RESULTS)


if __name__ == "__main__":
    main()
