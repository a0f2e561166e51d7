"""`qss route`: what a site knows of the network."""

from __future__ import annotations

from pathlib import Path

import click

from qss.cli.asking import ask_admin, asking


@click.group("route")
def command() -> None:
    """Look at what a site knows of the network: where SAEs are at home, and the ways there."""


@command.command()
@asking
def show(
    url: str,
    cert: Path,
    key: Path,
    ca: Path,
    as_json: bool,  # noqa: FBT001 - click passes a command-line flag so
) -> None:
    """Show the routing table, and the links with their cost and the key that they have left."""
    from qss.wire.routes import render_routing

    seen = ask_admin(url, cert, key, ca, lambda client: client.routing())
    if as_json:
        click.echo(render_routing(seen))
        return
    click.echo("SAE_ID  next_hop  dest  cost  length")
    for route in seen.routes:
        way = "no way  " if route.next_hop is None else f"{route.next_hop}  "
        click.echo(f"{route.SAE_ID}  {way}{route.dest}  {route.cost}  {route.length}")
    click.echo("link  cost  bits left")
    for link in seen.links:
        click.echo(f"{link.ends[0]}-{link.ends[1]}  {link.cost}  {link.available_bits}")
    for peer, phase in seen.neighbours.items():
        if phase != "full":
            click.echo(f"the routing module of {peer} is not heard yet ({phase})")
