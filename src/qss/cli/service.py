"""A command that runs a process in the foreground until SIGTERM or Ctrl-C, which end it cleanly: node, module, routing.

A hang-up has the process take over what can be changed of its configuration; one that comes while it starts, as soon as
it has started. What ends it otherwise is told in one line: of the log where that is JSON, so that whoever collects it
can read it. Not here: what is run.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from qss.model.errors import QssError

if TYPE_CHECKING:
    from datetime import datetime
    from types import FrameType


class Prepared(Protocol):
    """What a look at all that a start needs has found."""

    @property
    def certificate_expires(self) -> datetime:
        """The end of its certificate."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What is usable and yet odd."""
        ...


class Running[C](Protocol):
    """A process in operation, with a configuration of type `C`."""

    @property
    def failed(self) -> asyncio.Future[None]:
        """Gets an exception when it cannot go on."""
        ...

    def listening(self) -> Mapping[str, str]:
        """Return where it listens, by the interface's name, for the log."""
        ...

    def take_over(self, changed: C, file: Path) -> Mapping[str, int]:
        """Take over what can be changed, and return what came and went. Raises `ConfigurationError`."""
        ...


@dataclass(frozen=True, slots=True)
class Service[C]:
    """A kind of process that runs until it is ended."""

    what: str
    """Its name in the log, such as `node`."""
    load: Callable[[Path], C]
    name: Callable[[C], Mapping[str, str]]
    """Which one it is, for the log."""
    prepare: Callable[[C], Prepared]
    """Look at all that a start needs; raises what would end the start."""
    running: Callable[[C], AbstractAsyncContextManager[Running[C]]]


def service_command(name: str, whose: str, page: str) -> Callable[[Callable[[], Service[Any]]], click.Command]:
    """Return a decorator that makes a command of what returns the service, and imports what takes its time.

    `whose` configuration `page` describes; the docstring is the command's help.
    """

    def decorate(make: Callable[[], Service[Any]]) -> click.Command:
        @click.command(name, help=make.__doc__)
        @click.option(
            "--config",
            required=True,
            metavar="FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"The {whose}'s configuration ({page}).",
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
            if check:
                _check(make(), config)
            else:
                _serve(make, config, log_format)

        return command

    return decorate


def _check(service: Service[Any], config: Path) -> None:
    from datetime import UTC, datetime

    from qss.app.certificate_expiry import expiry_note

    prepared = service.prepare(service.load(config))
    expiry = expiry_note(prepared.certificate_expires, datetime.now(UTC))
    for note in (*prepared.notes, *([] if expiry is None else [expiry])):
        click.echo(f"note: {note}")
    click.echo(f"{config} can be used")


def _serve(make: Callable[[], Service[Any]], config: Path, log_format: str) -> None:
    """Run it. Ends the process if it fails."""
    hung_up = _note_hang_ups()
    from qss.app.logs import configure_logs

    configure_logs(log_format)
    service = make()
    try:
        _start(service, config, hung_up)
    except QssError as error:
        if log_format != "json":
            raise
        _log_the_end(service.what, error)
        sys.exit(1)


def _note_hang_ups() -> list[int]:
    """Have SIGHUP end the process no more, and return the list to which each one is added."""
    noted: list[int] = []

    def note(signum: int, _frame: FrameType | None) -> None:
        noted.append(signum)

    signal.signal(signal.SIGHUP, note)
    return noted


def _start(service: Service[Any], config: Path, hung_up: list[int]) -> None:
    from qss.app.process import harden_process

    configuration = service.load(config)
    harden_process()
    with asyncio.Runner(loop_factory=_event_loop()) as runner:
        runner.run(_run(service, configuration, config, hung_up))


def _log_the_end(what: str, error: QssError) -> None:
    import structlog

    structlog.get_logger("qss").error(f"the {what} cannot go on", error=type(error).__name__, reason=str(error))


def _event_loop() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _reload(service: Service[Any], running: Running[Any], config: Path) -> None:
    """Take over what has changed in the configuration file, or say why not."""
    import structlog

    from qss.app.service_manager import READY, RELOADING, notify

    log = structlog.get_logger("qss")
    notify(RELOADING)
    try:
        changes = running.take_over(service.load(config), config)
    except QssError as error:
        refusal = str(error)
        log.error("the configuration was not taken over: nothing has changed", reason=refusal)  # noqa: TRY400
    else:
        log.warning("the configuration was read anew", audit=True, **changes)
    notify(READY)


async def _run(service: Service[Any], configuration: object, config: Path, hung_up: list[int]) -> None:
    import structlog

    from qss.app.process import settle_memory
    from qss.app.service_manager import READY, STOPPING, notify

    log = structlog.get_logger("qss")
    name = service.name(configuration)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    async with service.running(configuration) as running:
        loop.add_signal_handler(signal.SIGHUP, _reload, service, running, config)
        settle_memory()
        log.info("serving", **name, **running.listening())
        notify(READY)
        if hung_up:  # the configuration may have been edited after this start had read it
            _reload(service, running, config)
        running.failed.add_done_callback(lambda _: stopped.set())
        await stopped.wait()
        notify(STOPPING)
        log.info("stopping", **name)
        failure = running.failed.exception() if running.failed.done() else None
    if failure is not None:
        raise failure
    log.info("stopped", **name)
