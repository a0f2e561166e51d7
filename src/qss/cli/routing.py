"""`qss routing`: runs a site's routing module in the foreground, as a process of its own (`service`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qss.cli.service import Service, service_command

if TYPE_CHECKING:
    from qss.app.routing_tables import RoutingConfiguration


@service_command("routing", "routing module", "docs/reference/routing.md")
def command() -> Service[RoutingConfiguration]:
    """Run a site's routing module: it tells the network of the site, and its key server of the network."""
    from qss.app.routing_process import prepare_routing, running
    from qss.app.routing_tables import load

    return Service(
        "routing module", load, lambda configuration: {"site": configuration.site.id}, prepare_routing, running
    )
