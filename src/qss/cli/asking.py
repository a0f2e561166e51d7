"""What every command that asks a site has: its options, which address and as whom; and the asking at Admin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from qss.client import AdminClient

_FILE = click.Path(path_type=Path, dir_okay=False)

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def asking(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that these commands share."""
    options: list[Decorator] = [
        click.option(
            "--url", envvar="QSS_URL", required=True, show_envvar=True, help="The key server: https://host:port."
        ),
        click.option(
            "--cert",
            envvar="QSS_CERT",
            required=True,
            show_envvar=True,
            type=_FILE,
            help="The caller's certificate (PEM).",
        ),
        click.option(
            "--key", envvar="QSS_KEY", required=True, show_envvar=True, type=_FILE, help="Its private key (PEM)."
        ),
        click.option(
            "--ca",
            envvar="QSS_CA",
            required=True,
            show_envvar=True,
            type=_FILE,
            help="The authority that the key server's certificate comes from (PEM).",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print what came as JSON."),
    ]
    for option in reversed(options):
        ask = option(ask)
    return ask


def ask_admin[T](url: str, cert: Path, key: Path, ca: Path, ask: Callable[[AdminClient], Awaitable[T]]) -> T:
    """Return what the Admin interface at `url` answers. Raises what `AdminClient` does."""
    import asyncio

    from qss.client import AdminClient

    async def asked() -> T:
        async with AdminClient(url, cert, key, ca) as client:
            return await ask(client)

    return asyncio.run(asked())
