"""`qss module`: what a site's QKD modules are doing, and starting and stopping their exchange, by way of Admin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qss.cli.asking import ask_admin, asking

if TYPE_CHECKING:
    from qss.client import AdminClient
    from qss.wire.status import PairStatus


@click.group("module")
def command() -> None:
    """Look at a site's QKD modules, and start and stop their exchange.

    --url is that of the site's Admin interface, and the certificate that of the site or of an administrator.
    """


@command.command("list")
@asking
def listing(
    url: str,
    cert: Path,
    key: Path,
    ca: Path,
    as_json: bool,  # noqa: FBT001 - click passes a command-line flag so
) -> None:
    """Show each device pair: its module, and what it is doing."""
    status = ask_admin(url, cert, key, ca, lambda client: client.status())
    if as_json:
        import msgspec

        pairs = [{"peer": link.peer, **msgspec.to_builtins(pair)} for link in status.links for pair in link.pairs]
        click.echo(json.dumps(pairs))
        return
    for link in status.links:
        for pair in link.pairs:
            click.echo(f"{pair.uuid}  to {link.peer}  {pair.name or 'in the node'}  {_doing(pair)}")


@command.command()
@click.argument("module")
@asking
def start(
    module: str,
    url: str,
    cert: Path,
    key: Path,
    ca: Path,
    as_json: bool,  # noqa: FBT001 - click passes a command-line flag so
) -> None:
    """Start the exchange of MODULE: a module's name, such as A/1, or a device pair's UUID."""
    _set(module, url, cert, key, ca, on=True, as_json=as_json)


@command.command()
@click.argument("module")
@asking
def stop(
    module: str,
    url: str,
    cert: Path,
    key: Path,
    ca: Path,
    as_json: bool,  # noqa: FBT001 - click passes a command-line flag so
) -> None:
    """Stop the exchange of MODULE, until it is started or its site's node is: no new key comes of its device pair."""
    _set(module, url, cert, key, ca, on=False, as_json=as_json)


def _set(module: str, url: str, cert: Path, key: Path, ca: Path, *, on: bool, as_json: bool) -> None:
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

    pair = ask_admin(url, cert, key, ca, change)
    if as_json:
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
