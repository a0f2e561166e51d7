"""`qss backup`: copies a site's ledger and sealed data key into a folder, also while its node runs."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path)


@click.command("backup")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("destination", metavar="DEST", type=_FOLDER)
def command(folder: Path, destination: Path) -> None:
    """Back up the data folder DIR into the new folder DEST, without its key and its anchor.

    The node may run meanwhile. The master key is not needed.
    """
    from qss.app.audit.segments import AUDIT
    from qss.app.backup import MANIFEST, back_up
    from qss.app.data_folder import LEDGER
    from qss.app.data_key_file import DATA_KEY
    from qss.app.sae_register import SAES

    destination = destination.absolute()
    made = back_up(folder.absolute(), destination)
    saes = f"  {destination / SAES}  the applications that are registered\n" if SAES in made.sha256 else ""
    audit = (
        f"The audit log stays behind (it stood at record {made.audit.seq}): copy {folder.absolute() / AUDIT} as well.\n"
        if made.audit is not None
        else ""
    )
    click.echo(
        f"Backed up site {made.site} to {destination} (commit {made.commit_number}):\n"
        f"  {destination / LEDGER}  the ledger, without key\n"
        f"  {destination / DATA_KEY}  the data key, sealed under the master key\n"
        f"{saes}"
        f"  {destination / MANIFEST}  what the others must be\n"
        "\n"
        f"{audit}"
        "Keep the master key in another place. Leave the anchor where it is: it belongs into no back-up.\n"
        f"Restore it with `qss restore {destination} DIR`."
    )
