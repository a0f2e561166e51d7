"""`qss qkd-module`: runs one QKD module in the foreground, as a process of its own (`service`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qss.cli.service import Service, run_service, service_options

if TYPE_CHECKING:
    from qss.app.module_tables import ModuleConfiguration


@click.command("qkd-module")
@service_options("module", "docs/reference/module.md")
def command(
    config: Path,
    check: bool,  # noqa: FBT001 - click passes a command-line flag so
    log_format: str,
) -> None:
    """Run a QKD module: its device, Sync with its peer, and ETSI GS QKD 004 for its key server."""
    run_service(_service, config, check=check, log_format=log_format)


def _service() -> Service[ModuleConfiguration]:
    from qss.app.module_configuration import load
    from qss.app.module_process import running

    return Service("module", load, lambda configuration: {"module": configuration.module.id}, _check, running)


async def _check(configuration: ModuleConfiguration) -> list[str]:
    from datetime import UTC, datetime

    from qss.app.certificate_expiry import expiry_note
    from qss.app.module_preparation import prepare_module

    prepared = prepare_module(configuration)
    expiry = expiry_note(prepared.certificate_expires, datetime.now(UTC))
    return [*prepared.notes, *([] if expiry is None else [expiry])]
