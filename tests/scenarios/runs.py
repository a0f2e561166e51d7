"""Runs of many seeds, on all processors."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import batched

import structlog

from scenarios.scenario import Outcome, Scenario

_BATCH = 20


def run_seed(seed: int) -> Outcome:
    """Run one seed."""
    return Scenario(seed).run()


def drop_logs() -> None:
    """Have the sites of this process log nothing: outcomes have the events that matter."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def run_seeds(seeds: Iterable[int]) -> Iterator[Outcome]:
    """Run seeds until there are no more, or nobody asks for more; yield what came of each, in order.

    Only outcomes with violations carry their events.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, drop_logs) as pool:
        workers = os.cpu_count() or 1
        for round_of_batches in batched(batched(seeds, _BATCH), workers):
            for outcomes in pool.map(_run_batch, round_of_batches):
                yield from outcomes


def _run_batch(seeds: tuple[int, ...]) -> list[Outcome]:
    outcomes = [run_seed(seed) for seed in seeds]
    for outcome in outcomes:
        if not outcome.violations:
            outcome.events.clear()
    return outcomes


def report(outcome: Outcome) -> str:
    """Return all that a run tells: its events, and what was violated."""
    counts = f"{outcome.deliveries} deliveries, {outcome.relayed} of relayed key, {outcome.faults} faults"
    return "\n".join(
        (
            *outcome.events,
            f"seed {outcome.seed}: {counts}",
            *(f"violation: {violation}" for violation in outcome.violations or ["none"]),
            f'replay: make scenarios ARGS="--seed {outcome.seed}"',
        )
    )


def say(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
