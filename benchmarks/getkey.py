"""What a key costs: `Get key` between two neighbouring sites, as ratios to an exchange that reserves nothing.

Three `qss node` processes on this machine, as in the demo; one application asks again and again over a kept connection.
All lines of one run are measured in turns, so that whatever else the machine does touches all alike.

    make bench                  what is printed: the median of each line, and its ratio to the floor
    make bench ARGS="--rounds 500"
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from qss.cli.demo.exchanges import ALICE, BOB, applications
from qss.cli.demo.network import Network
from qss.cli.demo.nodes import running_nodes
from qss.client import KeyServerRefused, KeyServerUnreachable

FLOOR = "Get status: one request over TLS, nothing reserved"


async def measure(rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of every request, by line."""
    with tempfile.TemporaryDirectory(prefix="qss-bench-") as folder:
        network = Network(Path(folder))
        await network.build(lambda _: None)
        async with running_nodes(network), applications(network) as saes:
            alice, bob = saes.clients[ALICE], saes.clients[BOB]
            lines: dict[str, Callable[[], Awaitable[object]]] = {
                FLOOR: lambda: alice.status(BOB),
                "Get key, 1 x 256 bit, at the end that owns the streams": lambda: alice.get_keys(BOB),
                "Get key, 1 x 256 bit, at the other end": lambda: bob.get_keys(ALICE),
                "Get key, 100 x 256 bit, at the end that owns the streams": lambda: alice.get_keys(BOB, 100),
            }
            times: dict[str, list[float]] = {name: [] for name in lines}
            while len(times[FLOOR]) < rounds:
                try:
                    row = [await _milliseconds(ask) for ask in lines.values()]
                except (KeyServerUnreachable, KeyServerRefused):  # starting, or key has to gather
                    await asyncio.sleep(0.1)
                    continue
                for name, one in zip(lines, row, strict=True):
                    times[name].append(one)
            return times


async def _milliseconds(ask: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await ask()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="how often each line is measured")
    times = asyncio.run(measure(parser.parse_args().rounds))
    floor = statistics.median(times[FLOOR])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{median:8.2f} ms  {median / floor:5.2f} x floor  {name}")


if __name__ == "__main__":
    main()
