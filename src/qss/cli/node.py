"""`qss node`: runs one site in the foreground (`service`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qss.cli.service import Service, service_command

if TYPE_CHECKING:
    from qss.app.site_tables import SiteConfiguration


@service_command("node", "site", "docs/reference/configuration.md")
def command() -> Service[SiteConfiguration]:
    """Run a site: its key server, its QKD modules and its store."""
    from qss.app.configuration import load
    from qss.app.node import running
    from qss.app.preparation import prepare

    return Service(
        "node",
        load,
        lambda configuration: {"site": configuration.site.id},
        lambda configuration: asyncio.run(prepare(configuration)),
        running,
    )
