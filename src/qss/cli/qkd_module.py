"""`qss qkd-module`: runs one QKD module in the foreground, as a process of its own (`service`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qss.cli.service import Service, service_command

if TYPE_CHECKING:
    from qss.app.module_tables import ModuleConfiguration


@service_command("qkd-module", "module", "docs/reference/module.md")
def command() -> Service[ModuleConfiguration]:
    """Run a QKD module: its device, Sync with its peer, and ETSI GS QKD 004 for its key server."""
    from qss.app.module_configuration import load
    from qss.app.module_preparation import prepare_module
    from qss.app.module_process import running

    return Service("module", load, lambda configuration: {"module": configuration.module.id}, prepare_module, running)
