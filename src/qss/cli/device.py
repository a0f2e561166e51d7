"""`qss device`: shows the settings of a simulated device, and changes them while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from qss.cli.asking import asking

if TYPE_CHECKING:
    from qss.model.simulator_settings import SettingsChange, SimulatorSettings


@click.command("device")
@click.argument("pair", metavar="PAIR", type=click.UUID)
@click.option("--rate-bps", type=float, help="Secret bits per second.")
@click.option("--qber", type=float, help="The quantum bit error rate that it reports, 0 to 1.")
@click.option("--qber-limit", type=float, help="With a QBER above this it yields nothing.")
@click.option("--jitter", type=float, help="By how much of its mean a block's time differs, 0 to 1.")
@click.option("--buffer-bits", type=int, help="What it keeps while nobody reads it.")
@click.option("--start-up-s", type=float, help="How long it yields nothing after the next start, in seconds.")
@click.option("--outage-every-s", type=float, help="Mean time between outages, in seconds; 0: none.")
@click.option("--outage-s", type=float, help="Mean length of an outage, in seconds.")
@click.option("--off/--on", default=None, help="An outage from now on, until --on.")
@asking
def command(  # the options of a change are in `change`
    pair: object,
    url: str,
    cert: Path,
    key: Path,
    ca: Path,
    as_json: bool,  # noqa: FBT001 - click passes a command-line flag so
    **change: Any,  # noqa: ANN401 - numbers and flags, by the options above
) -> None:
    """Show the settings of the simulated device of PAIR, and change those that are given.

    PAIR is the device pair's UUID; the only pair of a link may have the link's.

    --url is that of the Admin interface of the site with the lower ID of the two, or of its module if that is a process
    of its own; the certificate is that of the site or of an administrator. Changes are lost with the process.
    """
    import asyncio

    from qss.client import AdminClient
    from qss.wire.device import render_settings

    given = cast("SettingsChange", {name: value for name, value in change.items() if value is not None})
    if given.get("outage_every_s") == 0:
        given["outage_every_s"] = None

    async def adjust() -> SimulatorSettings:
        async with AdminClient(url, cert, key, ca) as client:
            return await client.adjust_device(str(pair), given)

    settings = asyncio.run(adjust())
    if as_json:
        click.echo(render_settings(settings))
        return
    for name in sorted(settings.__slots__):
        value = getattr(settings, name)
        click.echo(f"{name}: {'none' if value is None else value}")
    if settings.trouble:
        click.echo(f"it yields nothing: {settings.trouble}")
