"""The options of every command that asks a site: which address, and as whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

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
