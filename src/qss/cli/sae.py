"""`qss sae`: which applications are at home at a site; registering and removing them while it runs."""

from __future__ import annotations

from pathlib import Path

import click

from qss.cli.asking import ADMIN, Asked, asking


@click.group("sae")
def command() -> None:
    """Look at the applications of a running site, register and remove them.

    --url is that of the site's Admin interface, and the certificate that of the site or of an administrator.
    """


@command.command("list")
@asking(ADMIN)
def listing(asked: Asked) -> None:
    """Show the applications that are at home at the site."""
    from datetime import UTC, datetime

    from qss.wire.saes import render_saes

    saes = asked.ask_admin(lambda client: client.saes())
    if asked.as_json:
        click.echo(render_saes(saes))
        return
    for sae in saes:
        if sae.leaving:
            click.echo(f"{sae.id}  removed; its keys are being burned")
            continue
        how = "configured" if sae.configured else "registered"
        until = "without a statement: known here alone"
        if sae.stated_until is not None:
            end = datetime.fromtimestamp(sae.stated_until, UTC)
            is_over = end <= datetime.now(UTC)
            until = f"its home {'was' if is_over else 'is'} stated until {end:%Y-%m-%d %H:%M} UTC"
        click.echo(f"{sae.id}  {how}  {until}")


@command.command()
@click.argument("sae_id")
@click.option(
    "--statement",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The authority's statement of the application's home: what `qss pki home` made.",
)
@asking(ADMIN)
def add(asked: Asked, sae_id: str, statement: Path | None) -> None:
    """Register the application SAE_ID at the site, for good. Again, to give it another statement.

    Without a statement other sites serve it only if they have it in their configuration, whatever was given before.
    """
    from qss.app.homes import read_statement
    from qss.model.identifiers import parse_sae_id
    from qss.wire.saes import render_saes

    sae, stated = parse_sae_id(sae_id), None if statement is None else read_statement(statement)
    added = asked.ask_admin(lambda client: client.add_sae(sae, stated))
    if asked.as_json:
        click.echo(render_saes(added))
        return
    alone = "" if stated else ", without a statement: other sites serve it only if they have it configured"
    click.echo(f"{sae} is at home at this site{alone}")


@command.command()
@click.argument("sae_id")
@asking(ADMIN)
def remove(asked: Asked, sae_id: str) -> None:
    """Remove the registered application SAE_ID from the site. Its keys that were not fetched yet are burned."""
    from qss.model.identifiers import parse_qks_id, parse_sae_id
    from qss.wire.saes import render_removed

    sae = parse_sae_id(sae_id)
    bits = asked.ask_admin(lambda client: client.remove_sae(sae))
    if asked.as_json:
        click.echo(render_removed({parse_qks_id(name): burned for name, burned in bits.items()}))
        return
    click.echo(f"{sae} is at home at this site no more")
    for name, burned in sorted(bits.items()):
        here = f"{burned} bits burned here" if burned else "no key was waiting here"
        click.echo(f"link to {name}: {here}; what waits at {name} is burned by {name}, as soon as it is connected")
