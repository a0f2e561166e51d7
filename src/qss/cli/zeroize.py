"""`qss zeroize`: destroys a site's data key, so that its store can never be opened again. Works while a node runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("zeroize")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(
    folder: Path,
    yes: bool,  # noqa: FBT001 - click passes a command-line flag so
) -> None:
    """Destroy the data key of the data folder, or back-up, DIR: its store can never be opened again.

    If a node runs on it, the data key is destroyed all the same, and the node ends by itself, within seconds.
    """
    from qss.app.zeroize import check_zeroizable, erase_what_it_sealed, zeroize

    folder = folder.absolute()
    check_zeroizable(folder)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask at: give --yes")
        click.confirm(f"Destroy the data key of {folder}, and so all key in its store, for ever?", abort=True, err=True)
    zeroize(folder)
    click.echo(
        f"Destroyed the data key of {folder}.\n"
        "Back-ups have copies of the sealed data key: zeroize those as well, or destroy the master key."
    )
    erase_what_it_sealed(folder)
    click.echo("Erased what it had sealed. The ledger is still there.")
