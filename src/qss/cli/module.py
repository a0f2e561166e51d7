"""`qss module`: what a site's QKD modules are doing, and starting and stopping their exchange, by way of Admin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from qss.cli.asking import ADMIN, Asked, asking

if TYPE_CHECKING:
    from qss.client import AdminClient
    from qss.wire.status import PairStatus


@click.group("module")
def command() -> None:
    """Look at a site's QKD modules, and start and stop their exchange.

    --url is that of the site's Admin interface, and the certificate that of the site or of an administrator.
    """


@command.command("list")
@asking(ADMIN)
def listing(asked: Asked) -> None:
    """Show each device pair: its module, and what it is doing."""
    status = asked.ask_admin(lambda client: client.status())
    if asked.as_json:
        import msgspec

        pairs = [{"peer": link.peer, **msgspec.to_builtins(pair)} for link in status.links for pair in link.pairs]
        click.echo(json.dumps(pairs))
        return
    for link in status.links:
        for pair in link.pairs:
            click.echo(f"{pair.uuid}  to {link.peer}  {pair.name or 'in the node'}  {_doing(pair)}")


@command.command()
@click.argument("module")
@asking(ADMIN)
def start(asked: Asked, module: str) -> None:
    """Start the exchange of MODULE: a module's name, such as A/1, or a device pair's UUID."""
    _set(asked, module, on=True)


@command.command()
@click.argument("module")
@asking(ADMIN)
def stop(asked: Asked, module: str) -> None:
    """Stop the exchange of MODULE, until it is started or its site's node is: no new key comes of its device pair."""
    _set(asked, module, on=False)


def _set(asked: Asked, module: str, *, on: bool) -> None:
    from uuid import UUID

    from qss.model.errors import BadRequest
    from qss.model.identifiers import PairId

    async def change(client: AdminClient) -> str:
        pairs = [pair for link in (await client.status()).links for pair in link.pairs]
        uuid = next((pair.uuid for pair in pairs if module in (pair.name, pair.uuid)), None)
        if uuid is None:
            raise BadRequest(f"there is no module or device pair {module!r} at this site: see `qss module list`")
        await client.set_exchange(PairId.from_uuid(UUID(uuid)), on=on)
        return uuid

    pair = asked.ask_admin(change)
    if asked.as_json:
        click.echo(json.dumps({"pair": pair, "exchange": on}))
    else:
        click.echo(f"exchange of {pair} {'started' if on else 'stopped'}")


def _doing(pair: PairStatus) -> str:
    if not pair.exchange:
        return "stopped"
    if not pair.attached:
        return "not registered"
    doing = "running" if pair.up else "without a key stream"
    return f"{doing}: {pair.trouble}" if pair.trouble else doing
