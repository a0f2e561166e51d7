"""`make scenarios`: replay one seed, or run new ones for as long as is said, until one breaks an invariant."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import count, takewhile

from scenarios.runs import drop_logs, report, run_seed, run_seeds, say

_PROGRESS_S = 10.0


def main() -> int:
    """Run what the command line says; return 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(prog="make scenarios ARGS=…", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seed", type=int, help="replay this seed and print its events")
    what.add_argument("--seconds", type=float, default=60.0, help="how long to run new seeds (default: 60)")
    parser.add_argument("--first", type=int, default=time.time_ns() // 1_000_000, help="the first of the new seeds")
    options = parser.parse_args()
    if options.seed is not None:
        drop_logs()
        outcome = run_seed(options.seed)
        say(report(outcome))
        return bool(outcome.violations)
    return _run_for(options.seconds, options.first)


def _run_for(seconds: float, first: int) -> int:
    began = time.monotonic()
    seeds = takewhile(lambda _: time.monotonic() - began < seconds, count(first))
    runs = deliveries = relayed = faults = 0
    counts = ""
    told = began
    for outcome in run_seeds(seeds):
        if outcome.violations:
            say(report(outcome))
            return 1
        runs, deliveries, faults = runs + 1, deliveries + outcome.deliveries, faults + outcome.faults
        relayed += outcome.relayed
        counts = f"{deliveries} deliveries, {relayed} of relayed key, {faults} faults, 0 violations"
        if time.monotonic() - told > _PROGRESS_S:
            told = time.monotonic()
            say(f"{told - began:6.0f} s: {runs} seeds, {counts}")
    say(f"{runs} seeds from {first} on: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
