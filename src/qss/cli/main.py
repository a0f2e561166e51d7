"""The root of the `qss` command: which sub-commands there are, and how a failure is told.

Sub-commands are imported when they are called, and not for `--help`, so that the command answers at once.
"""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from qss import __version__
from qss.model.errors import QssError

COMMANDS = {
    "node": ("qss.cli.node", "Run a site: key server, modules and store in one process."),
    "qkd-module": ("qss.cli.qkd_module", "Run a QKD module in a process of its own."),
    "routing": ("qss.cli.routing", "Run a site's routing module in a process of its own."),
    "init": ("qss.cli.init", "Make a site's data folder: its store and its sealed data key."),
    "backup": ("qss.cli.backup", "Copy a site's ledger and sealed data key into a folder, while it runs."),
    "restore": ("qss.cli.restore", "Make a site's data folder of a back-up."),
    "zeroize": ("qss.cli.zeroize", "Destroy a site's data key: its store can never be opened again."),
    "audit": ("qss.cli.audit", "Check and show the audit log of a site."),
    "pki": ("qss.cli.pki", "Make and sign certificates of sites, modules and applications."),
    "key": ("qss.cli.key", "Ask a key server for keys, as an application does."),
    "device": ("qss.cli.device", "Show and change a simulated device while it runs."),
    "module": ("qss.cli.module", "Look at a site's QKD modules, and start and stop their exchange."),
    "sae": ("qss.cli.sae", "Look at the applications of a running site, register and remove them."),
    "route": ("qss.cli.route", "Look at what a site knows of the network."),
    "demo": ("qss.cli.demo", "Run four sites on this machine and exchange keys among them."),
}
"""Each sub-command's module, which holds it as `command`, and what it is for."""

_INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended: 128 + SIGINT


class _Root(click.Group):
    """A group that imports its commands late, and turns a `QssError` into one line on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except QssError as error:
            _fail(f"qss: {error}", 1)
        except KeyboardInterrupt:
            _fail("", _INTERRUPTED)
        except click.Abort as abort:
            if isinstance(abort.__context__, KeyboardInterrupt):  # at a prompt
                _fail("", _INTERRUPTED)
            raise


def _fail(text: str, status: int) -> NoReturn:
    if text:
        click.echo(text, err=True)
    sys.exit(status)


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="qss")
def main() -> None:
    """The Quantum Software Stack: key management for quantum key distribution networks."""


if __name__ == "__main__":
    main()
