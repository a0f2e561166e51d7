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

from qss.cli.demo.exchanges import ALICE, BOB, CAROL, Applications, Results, applications
from qss.cli.demo.network import HOMES, RATE_BPS, SITES, Network
from qss.cli.demo.nodes import Nodes, running_nodes
from qss.cli.demo.report import as_json, commands_to_try, show
from qss.cli.demo.ways import known_ways
from qss.client import KeyServerRefused, KeyServerUnreachable
from qss.model.errors import QssError
from qss.model.identifiers import SaeId

NEEDED_BITS = 300_000
"""Key that each link gathers before the exchange begins."""

PATIENCE_S = 60.0
"""How long the key may take to gather."""

_POLL_S = 0.1
_INTERRUPTED = 130


class NoKey(QssError):
    """Too little key gathered in time."""


@click.command("demo")
@click.option("--once", is_flag=True, help="End when all is done; status 0 only if all keys matched at both ends.")
@click.option("--split", is_flag=True, help="Run each QKD module as a process of its own.")
@click.option("--json", "json_wanted", is_flag=True, help="Print the results as one JSON object and nothing else.")
def command(
    once: bool,  # noqa: FBT001 - click passes a command-line flag so
    split: bool,  # noqa: FBT001
    json_wanted: bool,  # noqa: FBT001
) -> None:
    """Run three sites, A, B and C in a row, on this machine and exchange keys between their applications.

    Each site is a process of its own with a simulated QKD device for each of its links; with --split, each device's
    module is a process too, which registers at its site and is asked for key over ETSI GS QKD 004. Everything is in a
    temporary folder that is removed at the end. In the JSON output, `bits` is the size of each key, `ms` the time of
    the master's request.
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
        on_step("starting three nodes" + (f" and {len(network.modules)} modules" if network.split else ""))
        async with running_nodes(network) as nodes, applications(network) as saes:
            await _gather_key(nodes, saes, progress, on_step)
            on_step(f"waiting until site {SITES[0]} knows all applications")
            routes = await known_ways(network, nodes)
            results = await saes.run_all(on_step)
            progress.stop()  # what follows is no progress
            shown.append(results)
            if json_wanted:
                click.echo(as_json(results, routes))
            else:
                show(results, routes, Console())
            if not once:
                await _stay(network, nodes, console)


async def _gather_key(nodes: Nodes, saes: Applications, progress: Progress, on_step: Callable[[str], None]) -> None:
    """Wait until both links have key, at both of their ends."""
    on_step(f"gathering key from simulated devices of {RATE_BPS // 1000} kbit/s")
    bars = {
        pair: progress.add_task(f"link {HOMES[pair[0]]}-{HOMES[pair[1]]}", total=NEEDED_BITS)
        for pair in ((ALICE, BOB), (BOB, CAROL))
    }
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                nodes.check()
                gathered = {pair: await _gathered_bits(saes, *pair) for pair in bars}
                for pair, bar in bars.items():
                    progress.update(bar, completed=min(gathered[pair], NEEDED_BITS))
                if min(gathered.values()) >= NEEDED_BITS:
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise NoKey(
            f"a link gathered less than {NEEDED_BITS} bits within {PATIENCE_S:g} s: try again when this machine is idle"
        ) from None


async def _gathered_bits(saes: Applications, one: SaeId, other: SaeId) -> int:
    """Return how much key both ends of a link could serve now."""
    try:
        both = [await saes.clients[one].status(other), await saes.clients[other].status(one)]
    except KeyServerUnreachable:
        return 0  # a node that is still starting
    except KeyServerRefused as error:
        if error.status not in (400, 503):
            raise
        return 0  # nobody has told the node yet where the other application is at home
    return min(status.stored_key_count * status.limits.key_size for status in both)


async def _stay(network: Network, nodes: Nodes, console: Console) -> None:
    """Keep the network up until somebody ends the demo, or a node ends."""
    click.echo(f"\n{commands_to_try(network)}\n")
    console.print(f"Everything is in {network.folder}. Ctrl-C ends the sites and removes it.")
    while True:
        nodes.check()
        await asyncio.sleep(1)
