"""`qss node`: runs one site in the foreground until SIGTERM or Ctrl-C, which drain it and stop it cleanly."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from qss.app.site_tables import SiteConfiguration


@click.command("node")
@click.option(
    "--config",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The site's configuration (docs/reference/configuration.md).",
)
@click.option("--check", is_flag=True, help="Read the configuration, say what is wrong with it, and start nothing.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="json" if not sys.stderr.isatty() else "text",
    help="How the log, on stderr, is written: text at a terminal, JSON lines elsewhere, if not given.",
)
def command(
    config: Path,
    check: bool,  # noqa: FBT001 - click passes a command-line flag so
    log_format: str,
) -> None:
    """Run a site: its key server, its QKD modules and its store."""
    from qss.app.configuration import load, notes
    from qss.app.logs import configure_logs
    from qss.app.process import harden_process

    configuration = load(config)
    if check:
        for note in notes(configuration):
            click.echo(f"note: {note}")
        click.echo(f"{config} can be used")
        return
    configure_logs(log_format)
    harden_process()
    with asyncio.Runner(loop_factory=_event_loop()) as runner:
        runner.run(_run(configuration))


def _event_loop() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


async def _run(configuration: SiteConfiguration) -> None:
    import structlog

    from qss.app.node import running

    log = structlog.get_logger("qss")
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    async with running(configuration) as node:
        log.info(
            "serving",
            site=configuration.site.id,
            northbound=str(node.northbound),
            external=str(node.external),
            admin=str(node.admin),
        )
        node.failed.add_done_callback(lambda _: stopped.set())
        await stopped.wait()
        log.info("stopping", site=configuration.site.id)
        failure = node.failed.exception() if node.failed.done() else None
    if failure is not None:
        raise failure
    log.info("stopped", site=configuration.site.id)
