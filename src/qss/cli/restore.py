"""`qss restore`: makes a site's data folder of a back-up, so that nothing that it holds is used before it is burned."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path)


@click.command("restore")
@click.argument("source", metavar="BACKUP", type=_FOLDER)
@click.argument("folder", metavar="DIR", type=_FOLDER)
def command(source: Path, folder: Path) -> None:
    """Make the new data folder DIR of BACKUP, which `qss backup` made.

    All key that the site had gathered is burned, at both ends of every link. The master key is not needed.
    """
    from qss.app.backup import restore
    from qss.app.sae_register import SAES

    folder = folder.absolute()
    found, neighbours = restore(source.absolute(), folder)
    ends = f"at both ends of the links with {', '.join(neighbours)}" if neighbours else "at both ends of every link"
    when = f"{found.made_at:%Y-%m-%d %H:%M:%S %Z}"
    saes = (
        "  Applications that were registered then are at home here again, also those that were removed since: look at\n"
        "  them with `qss sae list`, and remove them again.\n"
        if SAES in found.sha256
        else ""
    )
    click.echo(
        f"Restored site {found.site} in {folder}, as it was at {when} (commit {found.commit_number}).\n"
        "\n"
        "What happens next:\n"
        "  Look whether the master key opens it: `qss node --config FILE --check`. Then start the node.\n"
        f"  All key that the ledger has available or reserved is burned {ends},\n"
        "  before any is used: it may have been delivered since. Keys that were not fetched are not found any more.\n"
        "  The links gather fresh key as soon as the neighbours are there.\n"
        f"{saes}"
        "  The audit log begins anew; its first record names the last one of the old log that the back-up knows of.\n"
        "Leave the anchor as it is, or lost. Never start another copy of this data folder again."
    )
