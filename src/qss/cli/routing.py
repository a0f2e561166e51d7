"""`qss routing`: runs a site's routing module in the foreground, as a process of its own (`service`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qss.cli.service import Service, run_service, service_options

if TYPE_CHECKING:
    from qss.app.routing_tables import RoutingConfiguration


@click.command("routing")
@service_options("routing module", "docs/reference/routing.md")
def command(
    config: Path,
    check: bool,  # noqa: FBT001 - click passes a command-line flag so
    log_format: str,
) -> None:
    """Run a site's routing module: it tells the network of the site, and its key server of the network."""
    run_service(_service, config, check=check, log_format=log_format)


def _service() -> Service[RoutingConfiguration]:
    from qss.app.routing_process import running
    from qss.app.routing_tables import load

    return Service("routing module", load, lambda configuration: {"site": configuration.site.id}, _check, running)


async def _check(configuration: RoutingConfiguration) -> list[str]:
    from datetime import UTC, datetime

    from qss.app.certificate_expiry import expiry_note
    from qss.app.routing_process import prepare_routing

    expiry = expiry_note(prepare_routing(configuration).certificate_expires, datetime.now(UTC))
    return [] if expiry is None else [expiry]
