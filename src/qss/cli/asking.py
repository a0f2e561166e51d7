"""What every command that asks a site has: its options, which address and as whom, and the asking itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from qss.client import AdminClient, SyncClient

_FILE = click.Path(path_type=Path, dir_okay=False)

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

KEY_SERVER = "The key server"
STREAM_SERVER = "Where the key server serves key streams"
ADMIN = "The Admin interface of the site"
ADMIN_OF_ROUTING = "The Admin interface of the site, or of its routing module"
ADMIN_OF_MODULE = "The Admin interface of the site with the lower ID of the two, or of its module"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command was told: whom to ask, as whom, and whether to print the answer as JSON."""

    url: str
    cert: Path
    key: Path
    ca: Path
    as_json: bool

    def ask_admin[T](self, ask: Callable[[AdminClient], Awaitable[T]]) -> T:
        """Return what the Admin interface answers. Raises what `AdminClient` does."""
        import asyncio

        from qss.client import AdminClient

        async def answered() -> T:
            async with AdminClient(self.url, self.cert, self.key, self.ca) as client:
                return await ask(client)

        return asyncio.run(answered())

    def key_server(self) -> SyncClient:
        """Return a client of the key server, for an application."""
        from qss.client import SyncClient

        return SyncClient(self.url, self.cert, self.key, self.ca)


def asking(whom: str) -> Decorator:
    """Give a command the options that these commands share; it gets them as an `Asked`, before its own."""
    options: list[Decorator] = [
        click.option("--url", envvar="QSS_URL", required=True, show_envvar=True, help=f"{whom}: https://host:port."),
        _file("--cert", "QSS_CERT", "The caller's certificate (PEM)."),
        _file("--key", "QSS_KEY", "Its private key (PEM)."),
        _file("--ca", "QSS_CA", "The authority that issued the certificate of whoever is asked (PEM)."),
        click.option("--json", "as_json", is_flag=True, help="Print what came as JSON."),
    ]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def called(url: str, cert: Path, key: Path, ca: Path, *, as_json: bool, **own: object) -> None:
            command(Asked(url, cert, key, ca, as_json), **own)

        decorated: Callable[..., Any] = called
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _file(name: str, envvar: str, purpose: str) -> Decorator:
    return click.option(name, envvar=envvar, required=True, show_envvar=True, type=_FILE, help=purpose)
