"""`qss node`: runs one site in the foreground until SIGTERM or Ctrl-C, which drain it and stop it cleanly.

A hang-up has it take over the rules of its configuration; one that comes while it starts, as soon as it has started.
What ends it otherwise is told in one line: of the log where that is JSON, so that whoever collects it can read it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qss.model.errors import QssError

if TYPE_CHECKING:
    from types import FrameType

    from qss.app.reloading import Rules
    from qss.app.site_tables import SiteConfiguration


@click.command("node")
@click.option(
    "--config",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The site's configuration (docs/reference/configuration.md).",
)
@click.option("--check", is_flag=True, help="Look at all that a start needs, say what is wrong, start nothing.")
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
    if check:
        _check(config)
        return
    hung_up = _note_hang_ups()
    from qss.app.logs import configure_logs

    configure_logs(log_format)
    try:
        _start(config, hung_up)
    except QssError as error:
        if log_format != "json":
            raise
        _log_the_end(error)
        sys.exit(1)


def _check(config: Path) -> None:
    from qss.app.certificate_expiry import expiry_note
    from qss.app.configuration import load
    from qss.app.preparation import prepare

    prepared = asyncio.run(prepare(load(config)))
    for note in (*prepared.notes, expiry_note(prepared.certificate_expires, datetime.now(UTC))):
        if note is not None:
            click.echo(f"note: {note}")
    click.echo(f"{config} can be used")


def _note_hang_ups() -> list[int]:
    """Have SIGHUP end the process no more, and return the list to which each one is added."""
    noted: list[int] = []

    def note(signum: int, _frame: FrameType | None) -> None:
        noted.append(signum)

    signal.signal(signal.SIGHUP, note)
    return noted


def _start(config: Path, hung_up: list[int]) -> None:
    from qss.app.configuration import load
    from qss.app.process import harden_process

    configuration = load(config)
    harden_process()
    with asyncio.Runner(loop_factory=_event_loop()) as runner:
        runner.run(_run(configuration, config, hung_up))


def _log_the_end(error: QssError) -> None:
    import structlog

    structlog.get_logger("qss").error("the node cannot go on", error=type(error).__name__, reason=str(error))


def _event_loop() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _reload(config: Path, rules: Rules) -> None:
    """Take over what has changed of the rules in the configuration file, or say why not."""
    import structlog

    from qss.app.configuration import load
    from qss.app.service_manager import READY, RELOADING, notify

    log = structlog.get_logger("qss")
    notify(RELOADING)
    try:
        changes = rules.take_over(load(config), config)
    except QssError as error:
        refusal = str(error)
        log.error("the configuration was not taken over: nothing has changed", reason=refusal)  # noqa: TRY400
    else:
        log.warning("the configuration was read anew", audit=True, **changes)
    notify(READY)


async def _run(configuration: SiteConfiguration, config: Path, hung_up: list[int]) -> None:
    import structlog

    from qss.app.node import running
    from qss.app.service_manager import READY, STOPPING, notify

    log = structlog.get_logger("qss")
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    async with running(configuration) as node:
        loop.add_signal_handler(signal.SIGHUP, _reload, config, node.rules)
        log.info(
            "serving",
            site=configuration.site.id,
            northbound=str(node.northbound),
            external=str(node.external),
            admin=str(node.admin),
        )
        notify(READY)
        if hung_up:  # the configuration may have been edited after this start had read it
            _reload(config, node.rules)
        node.failed.add_done_callback(lambda _: stopped.set())
        await stopped.wait()
        notify(STOPPING)
        log.info("stopping", site=configuration.site.id)
        failure = node.failed.exception() if node.failed.done() else None
    if failure is not None:
        raise failure
    log.info("stopped", site=configuration.site.id)
