"""`qss node`: runs one site in the foreground (`service`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qss.cli.service import Service, run_service, service_options

if TYPE_CHECKING:
    from qss.app.site_tables import SiteConfiguration


@click.command("node")
@service_options("site", "docs/reference/configuration.md")
def command(
    config: Path,
    check: bool,  # noqa: FBT001 - click passes a command-line flag so
    log_format: str,
) -> None:
    """Run a site: its key server, its QKD modules and its store."""
    run_service(_service, config, check=check, log_format=log_format)


def _service() -> Service[SiteConfiguration]:
    from qss.app.configuration import load
    from qss.app.node import running

    return Service("node", load, lambda configuration: {"site": configuration.site.id}, _check, running)


async def _check(configuration: SiteConfiguration) -> list[str]:
    from datetime import UTC, datetime

    from qss.app.certificate_expiry import expiry_note
    from qss.app.preparation import prepare

    prepared = await prepare(configuration)
    expiry = expiry_note(prepared.certificate_expires, datetime.now(UTC))
    return [*prepared.notes, *([] if expiry is None else [expiry])]
