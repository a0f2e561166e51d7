"""`qss device`: shows the settings of a simulated device, and changes them while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from qss.cli.asking import ADMIN_OF_MODULE, Asked, asking

if TYPE_CHECKING:
    from qss.model.simulator_settings import SettingsChange


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
@asking(ADMIN_OF_MODULE)
def command(  # the options of a change are in `change`
    asked: Asked,
    pair: object,
    **change: Any,  # noqa: ANN401 - numbers and flags, by the options above
) -> None:
    """Show the settings of the simulated device of PAIR, and change those that are given.

    PAIR is the device pair's UUID; the only pair of a link may have the link's.

    The certificate is that of the site or of an administrator. Changes are lost with the process.
    """
    from qss.wire.device import render_settings

    given = cast("SettingsChange", {name: value for name, value in change.items() if value is not None})
    if given.get("outage_every_s") == 0:
        given["outage_every_s"] = None

    settings = asked.ask_admin(lambda client: client.adjust_device(str(pair), given))
    if asked.as_json:
        click.echo(render_settings(settings))
        return
    for name in sorted(settings.__slots__):
        value = getattr(settings, name)
        click.echo(f"{name}: {'none' if value is None else value}")
    if settings.trouble:
        click.echo(f"it yields nothing: {settings.trouble}")
