"""The course of the demo: make a network, run it, let applications exchange keys, show what came of it.

Ctrl-C (or SIGTERM) ends it at any moment; the nodes are ended and the folder removed first.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from qss.cli.demo.admins import administrators
from qss.cli.demo.exchanges import AMONG_NEIGHBOURS, Results, applications
from qss.cli.demo.gathering import gather_key
from qss.cli.demo.network import Network
from qss.cli.demo.nodes import Nodes, running_nodes
from qss.cli.demo.relays import over_repeaters, round_a_lost_repeater
from qss.cli.demo.report import as_json, commands_to_try, show
from qss.cli.demo.ways import known_ways
from qss.wire.routes import RouteView

_INTERRUPTED = 130


@click.command("demo")
@click.option("--once", is_flag=True, help="End when all is done; status 0 only if all keys matched at both ends.")
@click.option("--split", is_flag=True, help="Run each QKD module as a process of its own.")
@click.option("--json", "json_wanted", is_flag=True, help="Print the results as one JSON object and nothing else.")
def command(
    once: bool,  # noqa: FBT001 - click passes a command-line flag so
    split: bool,  # noqa: FBT001
    json_wanted: bool,  # noqa: FBT001
) -> None:
    """Run four sites, A, B, C and D in a ring, on this machine and exchange keys between their applications.

    Sites that share no link get keys over the sites in between, and still do when one of these is stopped. Each site is
    a process of its own with a simulated QKD device for each of its links; with --split, each device's module is a
    process too, which registers at its site and is asked for key over ETSI GS QKD 004. Everything is in a temporary
    folder that is removed at the end. In the JSON output, `bits` is the size of each key, `ms` the time of the master's
    request, `over` the way that the key came.
    """
    sys.exit(asyncio.run(_main(once=once, split=split, json_wanted=json_wanted)))


async def _main(*, once: bool, split: bool, json_wanted: bool) -> int:
    """Run the demo, and return the exit status."""
    task = asyncio.current_task()
    assert task is not None
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    shown: list[Results] = []
    try:
        with tempfile.TemporaryDirectory(prefix="qss-demo-") as folder:
            await _run(Network(Path(folder), split), shown, once=once, json_wanted=json_wanted)
    except asyncio.CancelledError:
        if not shown:
            return _INTERRUPTED
    return 0 if shown and shown[0].ok else 1


async def _run(network: Network, shown: list[Results], *, once: bool, json_wanted: bool) -> None:
    console = Console(stderr=True)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), console=console) as progress:
        step = progress.add_task("", total=None)

        def on_step(what: str) -> None:
            progress.update(step, description=what)
            if not console.is_terminal:
                console.print(what)

        await network.build(on_step)
        on_step("starting four nodes" + (f" and {len(network.modules)} modules" if network.split else ""))
        async with running_nodes(network) as nodes:
            results, routes = await _exchange(network, nodes, progress, on_step)
            progress.stop()  # what follows is no progress
            shown.append(results)
            if json_wanted:
                click.echo(as_json(results, routes))
            else:
                show(results, routes, Console())
            if not once:
                await _stay(network, nodes, console)


async def _exchange(
    network: Network, nodes: Nodes, progress: Progress, on_step: Callable[[str], None]
) -> tuple[Results, tuple[RouteView, ...]]:
    """Have the applications ask for keys once there are some; return what came, and what the first site knew then."""
    async with administrators(network) as admins, applications(network, on_step) as saes:
        await gather_key(nodes, admins, progress, on_step)
        on_step("waiting until all sites know all applications")
        routes = await known_ways(nodes, admins)
        deliveries = [await saes.deliver(ask) for ask in AMONG_NEIGHBOURS]
        deliveries += await over_repeaters(saes)
        refusals = await saes.refusals()
        deliveries += await round_a_lost_repeater(saes, nodes, on_step)
        return Results(tuple(deliveries), refusals), routes


async def _stay(network: Network, nodes: Nodes, console: Console) -> None:
    """Keep the network up until somebody ends the demo, or a node ends."""
    click.echo(f"\n{commands_to_try(network)}\n")
    console.print(f"Everything is in {network.folder}. Ctrl-C ends the sites and removes it.")
    while True:
        nodes.check()
        await asyncio.sleep(1)
