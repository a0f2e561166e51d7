"""`make torture`: real nodes under kills and network faults, until so many were killed; status 1 for any violation."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from torture.runs import run
from torture.topologies import TOPOLOGIES

_INTERRUPTED = 130
_MOST_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; return the exit status. The run's folder is kept if anything was wrong."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how many times a process is killed (default: 20)")
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() // 1_000_000, help="decides what is broken, and when"
    )
    parser.add_argument(
        "--split", action="store_true", help="run QKD modules as processes of their own, and kill them too"
    )
    parser.add_argument(
        "--topology", choices=TOPOLOGIES, default="row3", help="which network, of so many sites (default: row3)"
    )
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="qss-torture-"))
    status = 1
    try:
        status = asyncio.run(_main(folder, options))
    finally:
        if status in (0, _INTERRUPTED):
            shutil.rmtree(folder)
        else:
            _say(f"the log of deliveries and those of the sites are in {folder}")
    return status


async def _main(folder: Path, options: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    try:
        outcome = await run(folder, options.kills, options.seed, _say, split=options.split, topology=options.topology)
    except asyncio.CancelledError:
        return _INTERRUPTED
    for violation in outcome.violations[:_MOST_SHOWN]:
        _say(f"violation: {violation}")
    if len(outcome.violations) > _MOST_SHOWN:
        _say(f"and {len(outcome.violations) - _MOST_SHOWN} more violations")
    _say(str(outcome))
    return 1 if outcome.violations else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
